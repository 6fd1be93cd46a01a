use super::*;

/// The host's own address.
const SOURCE: &str = "10.0.0.9";
const GATEWAY: &str = "10.0.0.254";
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn hop(address: &str) -> Hop {
    Hop {
        ifindex: 3,
        address: ip(address),
    }
}

fn via(address: &str) -> Route {
    Route::Via(Way {
        hop: hop(address),
        source: Some(ip(SOURCE)),
        mtu: None,
    })
}

fn link(up: bool) -> Link {
    Link {
        ifindex: 3,
        name: "eth0".to_owned(),
        mac: Some([2, 0, 0, 0, 0, 0xff]),
        up,
        mtu: 1500,
        ..Link::default()
    }
}

fn neighbour(reachability: Reachability) -> Neighbour {
    Neighbour {
        reachability,
        mac: Some(MAC),
        managed: true,
        owner: Owner::Sluice,
    }
}

fn resolved(address: &str, mac: [u8; 6]) -> Event {
    Event::NextHop {
        address: ip(address),
        state: State::Resolved {
            ifindex: 3,
            mac,
            source: Some(ip(SOURCE)),
            mtu: 1500,
        },
    }
}

fn unresolved(address: &str, ifindex: Option<u32>, reason: &str) -> Event {
    Event::NextHop {
        address: ip(address),
        state: State::Unresolved {
            ifindex,
            reason: reason.to_owned(),
            asking: reason.ends_with("is being resolved"),
        },
    }
}

/// A table with `eth0` up, and `addresses` watched, all told already.
fn table(addresses: &[&str]) -> Table {
    let mut table = Table::default();
    table.set_link(link(true));
    table.watch(&addresses.iter().map(|address| ip(address)).collect());
    table.changes();
    table
}

/// As `table`, one address on the link with a neighbour.
fn table_with(neighbour: Neighbour) -> Table {
    let mut table = table(&["10.0.0.1"]);
    table.set_route(ip("10.0.0.1"), via("10.0.0.1"));
    table.set_neighbour(hop("10.0.0.1"), Some(neighbour));
    table
}

#[test]
fn nothing_is_told_before_the_route_is_known() {
    let mut table = table(&["10.0.0.1"]);
    assert_eq!(table.changes(), []);
    table.set_route(ip("10.0.0.1"), via("10.0.0.1"));
    let event = unresolved("10.0.0.1", Some(3), "10.0.0.1 on eth0 is being resolved");
    assert_eq!(table.changes(), [event]);
    assert!(!table.is_changed());
    assert_eq!(table.changes(), []);
}

#[test]
fn every_state_that_the_kernel_would_send_in_counts_as_resolved() {
    for reachability in [
        Reachability::Fixed,
        Reachability::Confirmed,
        Reachability::Stale,
    ] {
        let mut table = table_with(neighbour(reachability));
        assert_eq!(table.changes(), [resolved("10.0.0.1", MAC)]);
    }
}

#[test]
fn a_change_of_reachability_alone_is_no_news() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.changes();
    table.set_neighbour(hop("10.0.0.1"), Some(neighbour(Reachability::Stale)));
    assert_eq!(table.changes(), []);
}

/// Where `10.0.0.1` leads over a link and a route of these MTUs.
fn mtu_of(link_mtu: u32, route_mtu: Option<u32>) -> u32 {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.set_link(Link {
        mtu: link_mtu,
        ..link(true)
    });
    table.set_route(
        ip("10.0.0.1"),
        Route::Via(Way {
            hop: hop("10.0.0.1"),
            source: None,
            mtu: route_mtu,
        }),
    );
    let told = table.changes().into_iter().find_map(|event| match event {
        Event::NextHop {
            state: State::Resolved { mtu, .. },
            ..
        } => Some(mtu),
        _ => None,
    });
    told.expect("it is resolved")
}

#[test]
fn the_smaller_mtu_of_link_and_route_counts() {
    assert_eq!(mtu_of(1500, None), 1500);
    assert_eq!(mtu_of(1500, Some(1400)), 1400);
    assert_eq!(mtu_of(1500, Some(9000)), 1500);
    assert_eq!(mtu_of(65_536, None), 65_535);
}

#[test]
fn another_source_or_mtu_is_news() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    assert_eq!(table.changes().len(), 1);
    let longer = Link {
        mtu: 9000,
        ..link(true)
    };
    table.set_link(longer);
    assert_eq!(table.changes().len(), 2, "the link, and who is behind it");
    let moved = Way {
        hop: hop("10.0.0.1"),
        source: Some(ip("10.0.0.8")),
        mtu: None,
    };
    table.set_route(ip("10.0.0.1"), Route::Via(moved));
    assert_eq!(table.changes().len(), 1);
}

#[test]
fn a_failed_neighbour_is_unresolved_whatever_mac_it_had() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.changes();
    table.set_neighbour(hop("10.0.0.1"), Some(neighbour(Reachability::Failed)));
    let event = unresolved("10.0.0.1", Some(3), "10.0.0.1 on eth0 does not answer");
    assert_eq!(table.changes(), [event]);
}

#[test]
fn a_neighbour_without_an_ethernet_address_is_unresolved() {
    let mut table = table_with(Neighbour {
        mac: None,
        ..neighbour(Reachability::Fixed)
    });
    let event = unresolved("10.0.0.1", Some(3), "10.0.0.1 on eth0 has no mac address");
    assert_eq!(table.changes(), [event]);
}

#[test]
fn all_addresses_behind_a_gateway_follow_it() {
    let mut table = table(&["10.1.0.1", "10.1.0.2"]);
    for address in ["10.1.0.1", "10.1.0.2"] {
        table.set_route(ip(address), via(GATEWAY));
    }
    table.set_neighbour(hop(GATEWAY), Some(neighbour(Reachability::Confirmed)));
    assert_eq!(
        table.changes(),
        [resolved("10.1.0.1", MAC), resolved("10.1.0.2", MAC)]
    );
    let moved = Neighbour {
        mac: Some(OTHER_MAC),
        ..neighbour(Reachability::Confirmed)
    };
    table.set_neighbour(hop(GATEWAY), Some(moved));
    assert_eq!(
        table.changes(),
        [
            resolved("10.1.0.1", OTHER_MAC),
            resolved("10.1.0.2", OTHER_MAC)
        ]
    );
}

#[test]
fn neighbours_that_nobody_needs_change_nothing() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.changes();
    table.set_neighbour(hop("10.0.0.2"), Some(neighbour(Reachability::Confirmed)));
    assert!(!table.is_changed());
}

#[test]
fn a_link_without_carrier_takes_its_next_hops_along() {
    let mut table = table_with(neighbour(Reachability::Fixed));
    table.changes();
    assert!(table.set_link(link(false)));
    assert_eq!(
        table.changes(),
        [
            Event::Link {
                link: link(false),
                removed: false
            },
            unresolved("10.0.0.1", Some(3), "interface eth0 is down"),
        ]
    );
    assert!(!table.set_link(link(false)), "the same again is no news");
}

#[test]
fn a_removed_link_is_told_of_once_and_its_neighbours_are_gone() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.changes();
    assert!(table.remove_link(3));
    assert_eq!(
        table.changes(),
        [
            Event::Link {
                link: link(true),
                removed: true
            },
            unresolved("10.0.0.1", Some(3), "interface 3 is unknown"),
        ]
    );
    assert!(!table.remove_link(3));
    assert_eq!(table.changes(), []);
    table.set_link(link(true));
    assert_eq!(table.changes().len(), 2, "link, and no neighbour on it");
}

#[test]
fn an_address_watched_again_is_told_of_again() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.changes();
    table.watch(&BTreeSet::new());
    assert_eq!(table.changes(), []);
    let unknown = table.watch(&BTreeSet::from([ip("10.0.0.1")]));
    assert_eq!(unknown, [ip("10.0.0.1")]);
    table.set_route(ip("10.0.0.1"), via("10.0.0.1"));
    assert_eq!(table.changes(), [resolved("10.0.0.1", MAC)]);
}

#[test]
fn an_answer_for_an_address_no_longer_watched_is_ignored() {
    let mut table = table(&[]);
    table.set_route(ip("10.0.0.1"), via("10.0.0.1"));
    assert!(!table.is_changed());
}

#[test]
fn a_resync_tells_only_what_is_different() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.changes();
    table.replace_links(vec![link(true)]);
    let known = BTreeMap::from([(hop("10.0.0.1"), neighbour(Reachability::Stale))]);
    table.replace_neighbours(known);
    assert_eq!(table.changes(), []);
    table.replace_neighbours(BTreeMap::new());
    let event = unresolved("10.0.0.1", Some(3), "10.0.0.1 on eth0 is being resolved");
    assert_eq!(table.changes(), [event]);
}

#[test]
fn missing_and_unmanaged_neighbours_are_to_be_managed() {
    let mut table = table(&["10.0.0.1"]);
    table.set_route(ip("10.0.0.1"), via("10.0.0.1"));
    table.changes();
    let manage = [Action::Manage(hop("10.0.0.1"))];
    assert_eq!(table.actions(true), manage);
    for reachability in [
        Reachability::Confirmed,
        Reachability::Stale,
        Reachability::Resolving,
        Reachability::Failed,
    ] {
        let plain = Neighbour {
            managed: false,
            owner: Owner::Nobody,
            ..neighbour(reachability)
        };
        table.set_neighbour(hop("10.0.0.1"), Some(plain));
        assert_eq!(table.actions(true), manage, "{reachability:?}");
    }
    table.installed(hop("10.0.0.1"));
    table.set_neighbour(hop("10.0.0.1"), Some(neighbour(Reachability::Resolving)));
    assert_eq!(table.actions(true), []);
}

#[test]
fn what_others_installed_is_left_alone() {
    for (reachability, owner) in [
        (Reachability::Fixed, Owner::Nobody),
        (Reachability::Fixed, Owner::Sluice),
        (Reachability::Stale, Owner::Other),
        (Reachability::Failed, Owner::Other),
    ] {
        let mut table = table_with(Neighbour {
            managed: false,
            owner,
            ..neighbour(reachability)
        });
        table.changes();
        assert_eq!(table.actions(true), [], "{reachability:?} of {owner:?}");
        assert_eq!(table.actions(false), [], "{reachability:?} of {owner:?}");
    }
}

#[test]
fn without_managed_neighbours_those_that_need_it_are_pushed() {
    let unmanaged = |reachability| Neighbour {
        managed: false,
        ..neighbour(reachability)
    };
    let mut table = table_with(unmanaged(Reachability::Confirmed));
    table.changes();
    assert_eq!(table.actions(false), []);
    for reachability in [
        Reachability::Stale,
        Reachability::Resolving,
        Reachability::Failed,
    ] {
        table.set_neighbour(hop("10.0.0.1"), Some(unmanaged(reachability)));
        assert_eq!(table.actions(false), [Action::Use(hop("10.0.0.1"))]);
    }
}

#[test]
fn nothing_is_asked_of_a_link_that_is_down() {
    let mut table = table(&["10.0.0.1"]);
    table.set_route(ip("10.0.0.1"), via("10.0.0.1"));
    table.set_link(link(false));
    table.changes();
    assert_eq!(table.actions(true), []);
}

#[test]
fn a_hop_that_nobody_needs_any_more_is_released_once() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.changes();
    assert_eq!(table.actions(true), []);
    table.set_route(ip("10.0.0.1"), via(GATEWAY));
    table.set_neighbour(hop(GATEWAY), Some(neighbour(Reachability::Confirmed)));
    table.changes();
    assert_eq!(table.actions(true), [Action::Release(hop("10.0.0.1"))]);
    assert_eq!(table.actions(true), []);
}

#[test]
fn a_hop_that_is_needed_again_at_once_is_not_released() {
    let mut table = table_with(neighbour(Reachability::Confirmed));
    table.changes();
    table.set_route(ip("10.0.0.1"), via(GATEWAY));
    table.changes();
    table.set_route(ip("10.0.0.1"), via("10.0.0.1"));
    table.changes();
    assert_eq!(table.actions(true), []);
}

#[test]
fn entries_that_are_not_ours_are_not_released() {
    let mut table = table_with(Neighbour {
        owner: Owner::Nobody,
        ..neighbour(Reachability::Confirmed)
    });
    table.changes();
    table.watch(&BTreeSet::new());
    table.changes();
    assert_eq!(table.actions(true), []);
}

#[test]
fn only_routes_around_a_watched_address_concern_it() {
    let table = table(&["10.1.2.3", "fd77::80"]);
    for (destination, length, concerned) in [
        ("0.0.0.0", 0, true),
        ("10.1.0.0", 16, true),
        ("10.1.2.3", 32, true),
        ("10.1.2.2", 31, true),
        ("10.1.2.2", 32, false),
        ("10.2.0.0", 16, false),
        ("::", 0, true),
        ("fd77::", 64, true),
        ("fd77::80", 128, true),
        ("fd77::81", 128, false),
        ("fd78::", 16, false),
    ] {
        assert_eq!(
            table.concerns(ip(destination), length),
            concerned,
            "{destination}/{length}"
        );
    }
    assert!(!super::Table::default().concerns(ip("0.0.0.0"), 0));
}

//! The resolver against a real kernel: two namespaces on veth pairs. Needs root.
//!
//! Each test has its own namespaces and a thread that lives in the near one, so they run side by
//! side. Blocking calls of `ip` on that thread stop the resolver meanwhile, which the overrun test
//! makes use of.

#[path = "neighbor/bed.rs"]
mod bed;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use lb_userspace::neighbor::{self, Event, Handle, Link, State};
use tokio::{sync::mpsc, time::timeout};

use self::bed::{Bed, FAR_MAC, FAR_MAC_2, NEAR, NEAR_2, OTHER_MAC};

/// Longer than the kernel's slowest step here, a probe of a managed neighbour.
const PATIENCE: Duration = Duration::from_secs(20);

/// A resolver and what it said.
struct Run {
    handle: Handle,
    events: mpsc::Receiver<Event>,
    /// The last word on each address.
    states: BTreeMap<IpAddr, State>,
}

impl Run {
    fn start(addresses: &[&str]) -> Self {
        let (events_in, events) = mpsc::channel(1024);
        let handle = neighbor::spawn(events_in).expect("spawning the resolver");
        handle.watch(addresses.iter().map(|address| ip(address)).collect());
        Self {
            handle,
            events,
            states: BTreeMap::new(),
        }
    }

    /// Waits for an address to be in a state; the ones before it do not matter.
    async fn until(&mut self, address: &str, wanted: impl Fn(&State) -> bool) {
        let wait = async {
            loop {
                if self.states.get(&ip(address)).is_some_and(&wanted) {
                    return;
                }
                match self.events.recv().await.expect("the resolver runs on") {
                    Event::NextHop { address, state } => {
                        self.states.insert(address, state);
                    }
                    Event::Link { .. } => {}
                }
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("{address} never got there: {:?}", self.states);
        }
    }

    async fn until_resolved(&mut self, address: &str, link: &str, mac: [u8; 6]) {
        let wanted = (ifindex(link).await, mac);
        self.until(address, |state| match state {
            State::Resolved { ifindex, mac, .. } => (*ifindex, *mac) == wanted,
            State::Unresolved { .. } => false,
        })
        .await;
    }

    async fn until_way(&mut self, address: &str, own: &str, most: u32) {
        let wanted = (Some(ip(own)), most);
        self.until(address, |state| match state {
            State::Resolved { source, mtu, .. } => (*source, *mtu) == wanted,
            State::Unresolved { .. } => false,
        })
        .await;
    }

    async fn until_unresolved(&mut self, address: &str, reason: &str) {
        self.until(
            address,
            |state| matches!(state, State::Unresolved { reason: r, .. } if r.contains(reason)),
        )
        .await;
    }

    async fn until_link(&mut self, name: &str, wanted: impl Fn(&Link, bool) -> bool) {
        let wait = async {
            while let Some(event) = self.events.recv().await {
                if let Event::Link { link, removed } = event
                    && link.name == name
                    && wanted(&link, removed)
                {
                    return;
                }
            }
            panic!("the resolver ended");
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("{name} never got there"));
    }
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

async fn ifindex(name: &str) -> u32 {
    let links = neighbor::links().await.expect("listing links");
    let link = links.iter().find(|link| link.name == name);
    link.unwrap_or_else(|| panic!("no {name} in {links:?}"))
        .ifindex
}

/// Polls `ip neigh show` in the near namespace.
async fn until_neighbours(bed: &Bed, filter: &str, wanted: impl Fn(&str) -> bool) {
    let mut shown = String::new();
    let wait = async {
        loop {
            shown = bed.near(&format!("-details neigh show {filter}"));
            if wanted(&shown) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(PATIENCE, wait).await.is_err() {
        panic!("neighbours never got there: {shown}");
    }
}

#[test]
fn an_address_on_the_link_is_resolved_and_kept_so() {
    Bed::run(|bed| async move {
        let mut run = Run::start(&["10.99.1.2", "fd99:1::2"]);
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;
        run.until_resolved("fd99:1::2", NEAR, FAR_MAC).await;
        for address in ["10.99.1.2", "fd99:1::2"] {
            until_neighbours(&bed, address, |shown| {
                shown.contains("managed") && shown.contains("proto 83")
            })
            .await;
        }
    });
}

#[test]
fn an_address_behind_a_gateway_leads_to_the_gateway_in_force() {
    Bed::run(|bed| async move {
        bed.near("route add 10.50.0.0/24 via 10.99.1.2");
        let mut run = Run::start(&["10.50.0.7"]);
        run.until_resolved("10.50.0.7", NEAR, FAR_MAC).await;

        bed.near("route replace 10.50.0.0/24 via 10.99.2.2");
        run.until_resolved("10.50.0.7", NEAR_2, FAR_MAC_2).await;
        // The former gateway is left to itself.
        until_neighbours(&bed, "10.99.1.2", |shown| !shown.contains("managed")).await;

        bed.near("route add 10.50.0.7/32 via 10.99.1.2");
        run.until_resolved("10.50.0.7", NEAR, FAR_MAC).await;

        bed.near("route del 10.50.0.7/32");
        bed.near("route del 10.50.0.0/24");
        run.until_unresolved("10.50.0.7", "no route to 10.50.0.7")
            .await;
    });
}

#[test]
fn the_hosts_address_and_the_room_on_the_way_are_told_and_followed() {
    Bed::run(|bed| async move {
        let mut run = Run::start(&["10.99.1.2", "fd99:1::2", "10.50.0.7", "fd50::7"]);
        run.until_way("10.99.1.2", "10.99.1.1", 1500).await;
        run.until_way("fd99:1::2", "fd99:1::1", 1500).await;

        bed.near("route add 10.50.0.0/24 via 10.99.1.2 src 10.99.2.1 mtu 1400");
        bed.near("route add fd50::/64 via fd99:1::2 src fd99:2::1 mtu 1300");
        run.until_way("10.50.0.7", "10.99.2.1", 1400).await;
        run.until_way("fd50::7", "fd99:2::1", 1300).await;

        bed.near("link set near mtu 1350");
        run.until_way("10.99.1.2", "10.99.1.1", 1350).await;
        run.until_way("fd99:1::2", "fd99:1::1", 1350).await;
        run.until_way("10.50.0.7", "10.99.2.1", 1350).await;
        run.until_way("fd50::7", "fd99:2::1", 1300).await;

        bed.near("route replace 10.50.0.0/24 via 10.99.1.2");
        run.until_way("10.50.0.7", "10.99.1.1", 1350).await;
    });
}

#[test]
fn a_new_mac_address_is_noticed() {
    Bed::run(|bed| async move {
        let mut run = Run::start(&["10.99.1.2"]);
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;
        bed.change_far_mac();
        run.until_resolved("10.99.1.2", NEAR, OTHER_MAC).await;
    });
}

#[test]
fn a_silent_address_is_unresolved_until_it_answers() {
    Bed::run(|bed| async move {
        let mut run = Run::start(&["10.99.1.77"]);
        run.until_unresolved("10.99.1.77", "is being resolved")
            .await;
        run.until_unresolved("10.99.1.77", "does not answer").await;
        bed.far("addr add 10.99.1.77/24 dev far");
        run.until_resolved("10.99.1.77", NEAR, FAR_MAC).await;
        bed.far("addr del 10.99.1.77/24 dev far");
        // The kernel itself finds out: nothing is sent there.
        run.until_unresolved("10.99.1.77", "does not answer").await;
    });
}

#[test]
fn what_leads_nowhere_says_why() {
    Bed::run(|bed| async move {
        bed.near("route add blackhole 10.60.0.0/24");
        bed.near("route add unreachable 10.61.0.0/24");
        let reasons = [
            ("10.99.1.1", "is an address of this host"),
            ("fd99:1::1", "is an address of this host"),
            ("127.0.0.1", "is an address of this host"),
            ("10.99.1.255", "is a broadcast address"),
            ("10.200.0.1", "network is unreachable"),
            ("fd55::1", "network is unreachable"),
            ("10.60.0.1", "no route to 10.60.0.1"),
            ("10.61.0.1", "no route to host"),
        ];
        let mut run = Run::start(&reasons.map(|(address, _)| address));
        for (address, reason) in reasons {
            run.until_unresolved(address, reason).await;
        }
    });
}

#[test]
fn a_link_going_down_and_up_again_is_noticed() {
    Bed::run(|bed| async move {
        let mut run = Run::start(&["10.99.1.2"]);
        run.until_link(NEAR, |link, removed| link.up && !removed)
            .await;
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;
        bed.far("link set far down");
        run.until_unresolved("10.99.1.2", "interface near is down")
            .await;
        bed.far("link set far up");
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;

        bed.near("link set near mtu 1400");
        run.until_link(NEAR, |link, removed| link.mtu == 1400 && !removed)
            .await;
        bed.near("link del near");
        run.until_link(NEAR, |_, removed| removed).await;
    });
}

#[test]
fn links_are_listed() {
    Bed::run(|_bed| async move {
        let wait = async {
            loop {
                // The kernel tells of a new carrier a little later.
                let links = neighbor::links().await.expect("listing links");
                if links.iter().all(|link| link.up) {
                    return links;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let links = timeout(PATIENCE, wait).await.expect("all links up");
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["lo", NEAR, NEAR_2], "{links:?}");
        let [lo, near, _] = links.try_into().expect("three links");
        assert_eq!(lo.mac, None);
        assert_eq!((near.mtu, near.xdp), (1500, None));
        assert_eq!(near.mac, Some(bed::NEAR_MAC));
    });
}

#[test]
fn a_link_tells_its_kind_and_its_parent() {
    Bed::run(|bed| async move {
        bed.near("link add link near name above type macvlan");
        let links = neighbor::links().await.expect("listing links");
        let of = |name: &str| links.iter().find(|link| link.name == name);
        let (near, above) = (of(NEAR).expect("near"), of("above").expect("above"));
        assert_eq!(near.kind.as_deref(), Some("veth"));
        assert_eq!(near.parent, None, "its peer is in another namespace");
        assert_eq!(above.kind.as_deref(), Some("macvlan"));
        assert_eq!(above.parent, Some(near.ifindex));
    });
}

#[test]
fn forgetting_deletes_what_was_installed_and_nothing_else() {
    Bed::run(|bed| async move {
        bed.near("neigh add 10.99.1.50 lladdr 02:00:00:00:00:50 dev near nud permanent");
        bed.near("neigh add 10.99.1.51 lladdr 02:00:00:00:00:51 dev near nud reachable proto 99");
        let mut run = Run::start(&["10.99.1.2", "fd99:1::2", "10.99.1.50", "10.99.1.51"]);
        let permanent = [0x02, 0, 0, 0, 0, 0x50];
        run.until_resolved("10.99.1.50", NEAR, permanent).await;
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;
        run.until_resolved("fd99:1::2", NEAR, FAR_MAC).await;
        until_neighbours(&bed, "proto 83", |shown| shown.lines().count() == 2).await;

        drop(run);
        let count = neighbor::forget_managed().await.expect("forgetting");
        assert_eq!(count, 2);
        let left = bed.near("-details neigh show dev near");
        assert!(!left.contains("proto 83"), "{left}");
        assert!(
            left.contains("10.99.1.50 lladdr 02:00:00:00:00:50 PERMANENT"),
            "{left}"
        );
        assert!(left.contains("10.99.1.51 "), "{left}");
        assert!(!left.contains("managed"), "{left}");
        assert_eq!(neighbor::forget_managed().await.expect("forgetting"), 0);
    });
}

#[test]
fn a_neighbour_deleted_by_somebody_else_is_installed_again() {
    Bed::run(|bed| async move {
        let mut run = Run::start(&["10.99.1.2"]);
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;
        bed.near("neigh del 10.99.1.2 dev near");
        run.until_unresolved("10.99.1.2", "").await;
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;
    });
}

#[test]
fn an_address_no_longer_watched_is_released_and_silent() {
    Bed::run(|bed| async move {
        let mut run = Run::start(&["10.99.1.2"]);
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;
        run.handle.watch(BTreeSet::from([ip("10.99.2.2")]));
        run.until_resolved("10.99.2.2", NEAR_2, FAR_MAC_2).await;
        until_neighbours(&bed, "10.99.1.2", |shown| !shown.contains("managed")).await;

        bed.far("link set far down");
        run.until_link(NEAR, |link, _| !link.up).await;
        assert!(run.events.try_recv().is_err(), "nothing more to tell");
        // Watched again, it is told of again.
        run.handle.watch(BTreeSet::from([ip("10.99.1.2")]));
        run.until_unresolved("10.99.1.2", "interface near is down")
            .await;
    });
}

#[test]
fn an_overrun_of_the_socket_is_mended() {
    Bed::run(|bed| async move {
        let mut run = Run::start(&["10.99.1.2"]);
        run.until_resolved("10.99.1.2", NEAR, FAR_MAC).await;
        // The resolver stands still while `ip` runs: far more notifications than its socket holds.
        bed.flood_near_with_neighbours(30_000);
        bed.near("neigh replace 10.99.1.2 lladdr 02:00:00:00:00:99 dev near nud permanent");
        run.until_resolved("10.99.1.2", NEAR, OTHER_MAC).await;
    });
}

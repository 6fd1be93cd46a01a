use rtnetlink::packet_route::route::RouteNextHop;

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn neighbour_message() -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 3;
    message.header.state = NeighbourState::Stale;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 0, 0, 1].into())),
        NeighbourAttribute::LinkLayerAddress(MAC.to_vec()),
    ];
    message
}

fn link_message() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = 3;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
    message.attributes = vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(MAC.to_vec()),
        LinkAttribute::Mtu(1500),
    ];
    message
}

fn route_message(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.kind = kind;
    message.attributes = attributes;
    message
}

#[test]
fn a_plain_neighbour_belongs_to_nobody() {
    let Entry { hop, neighbour } = entry(&neighbour_message()).expect("an entry");
    assert_eq!((hop.ifindex, hop.address), (3, ip("10.0.0.1")));
    assert_eq!(
        neighbour,
        Neighbour {
            reachability: Reachability::Stale,
            mac: Some(MAC),
            managed: false,
            owner: Owner::Nobody,
        }
    );
}

#[test]
fn our_number_makes_a_neighbour_ours() {
    let mut message = neighbour_message();
    message.attributes.extend([
        NeighbourAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
        NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed),
    ]);
    let Entry { neighbour, .. } = entry(&message).expect("an entry");
    assert_eq!((neighbour.owner, neighbour.managed), (Owner::Sluice, true));
}

#[test]
fn another_number_or_a_control_plane_makes_it_somebody_elses() {
    let mut message = neighbour_message();
    let foreign = NeighbourAttribute::Protocol(RouteProtocol::Zebra);
    message.attributes.push(foreign);
    assert_eq!(
        entry(&message).map(|entry| entry.neighbour.owner),
        Some(Owner::Other)
    );
    let mut message = neighbour_message();
    message.header.flags = NeighbourFlags::ExtLearned;
    let ours = NeighbourAttribute::Protocol(RouteProtocol::Other(PROTOCOL));
    message.attributes.push(ours);
    assert_eq!(
        entry(&message).map(|entry| entry.neighbour.owner),
        Some(Owner::Other)
    );
}

#[test]
fn bridge_entries_and_proxies_are_no_neighbours() {
    let mut message = neighbour_message();
    message.header.family = AddressFamily::Bridge;
    assert_eq!(entry(&message), None);
    let mut message = neighbour_message();
    message.header.flags = NeighbourFlags::Proxy;
    assert_eq!(entry(&message), None);
}

#[test]
fn every_kernel_state_has_its_meaning() {
    for (state, meaning) in [
        (NeighbourState::None, Reachability::Resolving),
        (NeighbourState::Incomplete, Reachability::Resolving),
        (NeighbourState::Reachable, Reachability::Confirmed),
        (NeighbourState::Stale, Reachability::Stale),
        (NeighbourState::Delay, Reachability::Confirmed),
        (NeighbourState::Probe, Reachability::Confirmed),
        (NeighbourState::Failed, Reachability::Failed),
        (NeighbourState::Noarp, Reachability::Fixed),
        (NeighbourState::Permanent, Reachability::Fixed),
    ] {
        assert_eq!(reachability(state), meaning, "{state}");
    }
}

#[test]
fn a_link_is_up_only_with_a_carrier() {
    let mut message = link_message();
    let parsed = link(&message).expect("a link");
    assert_eq!(
        parsed,
        Link {
            ifindex: 3,
            name: "eth0".to_owned(),
            mac: Some(MAC),
            up: true,
            mtu: 1500,
            ..Link::default()
        }
    );
    message.header.flags = LinkFlags::Up;
    assert_eq!(link(&message).map(|link| link.up), Some(false));
}

#[test]
fn the_attached_program_is_read_in_every_mode() {
    for (kernel, mode) in [
        (XdpAttached::None, None),
        (XdpAttached::Driver, Some(AttachMode::Native)),
        (XdpAttached::SocketBuffer, Some(AttachMode::Generic)),
        (XdpAttached::Hardware, Some(AttachMode::Offloaded)),
        (XdpAttached::Multiple, Some(AttachMode::Multiple)),
    ] {
        let mut message = link_message();
        message.attributes.push(LinkAttribute::Xdp(vec![
            LinkXdp::Attached(kernel),
            LinkXdp::ProgId(42),
        ]));
        let expected = mode.map(|mode| AttachedXdp { mode, program: 42 });
        assert_eq!(link(&message).map(|link| link.xdp), Some(expected));
    }
}

#[test]
fn leaving_a_bridge_removes_no_link() {
    let mut message = link_message();
    message.header.interface_family = AddressFamily::Bridge;
    assert_eq!(link(&message), None);
}

#[test]
fn a_route_leads_to_the_gateway_or_to_the_address_itself() {
    let address = ip("10.1.0.1");
    let out = RouteAttribute::Oif(3);
    let via = |gateway: &str| {
        Route::Via(Way {
            hop: Hop {
                ifindex: 3,
                address: ip(gateway),
            },
            source: None,
            mtu: None,
        })
    };
    let on_link = route_message(RouteType::Unicast, vec![out.clone()]);
    assert_eq!(route(address, &on_link), via("10.1.0.1"));

    let gateway = RouteAttribute::Gateway(ip("10.0.0.254").into());
    let through = route_message(RouteType::Unicast, vec![out.clone(), gateway]);
    assert_eq!(route(address, &through), via("10.0.0.254"));

    // IPv4 through an IPv6 router, RFC 8950.
    let IpAddr::V6(router) = ip("fe80::1") else {
        unreachable!("an IPv6 address")
    };
    let mixed = RouteAttribute::Via(RouteVia::Inet6(router));
    let through = route_message(RouteType::Unicast, vec![out, mixed]);
    assert_eq!(route(address, &through), via("fe80::1"));
}

#[test]
fn a_route_tells_the_hosts_address_and_its_own_mtu() {
    for (address, source) in [("10.1.0.1", "10.1.0.9"), ("fd77::1", "fd77::9")] {
        let ask = |metrics| {
            let message = route_message(
                RouteType::Unicast,
                vec![
                    RouteAttribute::Oif(3),
                    RouteAttribute::PrefSource(ip(source).into()),
                    RouteAttribute::Metrics(metrics),
                ],
            );
            match route(ip(address), &message) {
                Route::Via(way) => (way.source, way.mtu),
                nowhere => panic!("{nowhere:?}"),
            }
        };
        let metrics = vec![RouteMetric::Lock(4), RouteMetric::Mtu(1400)];
        assert_eq!(ask(metrics), (Some(ip(source)), Some(1400)));
        for none in [
            vec![],
            vec![RouteMetric::Mtu(0)],
            vec![RouteMetric::Hoplimit(9)],
        ] {
            assert_eq!(ask(none), (Some(ip(source)), None));
        }
    }
}

#[test]
fn a_local_route_leads_nowhere() {
    let message = route_message(RouteType::Local, vec![RouteAttribute::Oif(1)]);
    assert_eq!(
        route(ip("10.0.0.2"), &message),
        Route::Nowhere {
            ifindex: Some(1),
            reason: "10.0.0.2 is an address of this host".to_owned(),
        }
    );
}

#[test]
fn a_route_without_an_interface_leads_nowhere() {
    let hops = RouteAttribute::MultiPath(vec![RouteNextHop::default()]);
    let message = route_message(RouteType::Unicast, vec![hops]);
    assert!(matches!(
        route(ip("10.0.0.2"), &message),
        Route::Nowhere { ifindex: None, .. }
    ));
}

#[test]
fn a_notification_without_a_destination_is_about_the_default_route() {
    let message = route_message(RouteType::Unicast, vec![]);
    assert_eq!(
        prefix(&message),
        Some(Prefix {
            address: ip("0.0.0.0"),
            length: 0
        })
    );
    let mut message = message;
    message.header.address_family = AddressFamily::Mpls;
    assert_eq!(prefix(&message), None);
}

#[test]
fn a_link_tells_its_kind_and_what_it_belongs_to() {
    let mut message = link_message();
    message.attributes.extend([
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]),
        LinkAttribute::Link(2),
        LinkAttribute::Controller(9),
    ]);
    let parsed = link(&message).expect("a link");
    assert_eq!(parsed.kind.as_deref(), Some("vlan"));
    assert_eq!((parsed.parent, parsed.controller), (Some(2), Some(9)));
    // The number is another namespace's.
    message.attributes.push(LinkAttribute::LinkNetNsId(0));
    assert_eq!(link(&message).and_then(|link| link.parent), None);
}

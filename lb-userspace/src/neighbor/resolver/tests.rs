use rtnetlink::{
    packet_core::{NetlinkHeader, NetlinkMessage},
    packet_route::{
        AddressFamily,
        address::AddressMessage,
        link::{LinkAttribute, LinkMessage},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
        route::{RouteAttribute, RouteMessage},
    },
};

use super::*;

/// A resolver that watches 10.1.0.1.
fn resolver() -> Resolver {
    let (events, _) = mpsc::channel(1);
    let (_, wanted) = watch::channel(BTreeSet::new());
    let mut resolver = Resolver::new(events, wanted);
    resolver.table.watch(&BTreeSet::from([watched()]));
    resolver
}

fn watched() -> IpAddr {
    [10, 1, 0, 1].into()
}

fn route(destination: [u8; 4], length: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = length;
    let destination = RouteAttribute::Destination(IpAddr::from(destination).into());
    message.attributes.push(destination);
    message
}

fn link(mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = 3;
    message.attributes = vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Mtu(mtu),
    ];
    message
}

#[test]
fn lost_notifications_make_everything_stale() {
    let overrun = NetlinkPayload::Overrun(Vec::new());
    let message = NetlinkMessage::new(NetlinkHeader::default(), overrun);
    assert_eq!(resolver().absorb(message), Stale::All);
}

#[test]
fn only_routes_towards_a_watched_address_are_looked_up_again() {
    let mut resolver = resolver();
    let near = RouteNetlinkMessage::NewRoute(route([10, 1, 0, 0], 16));
    assert_eq!(resolver.absorb(near.into()), Stale::Routes);
    let gone = RouteNetlinkMessage::DelRoute(route([10, 1, 0, 0], 16));
    assert_eq!(resolver.absorb(gone.into()), Stale::Routes);
    let far = RouteNetlinkMessage::NewRoute(route([10, 2, 0, 0], 16));
    assert_eq!(resolver.absorb(far.into()), Stale::Nothing);
    let mut cached = route([10, 1, 0, 1], 32);
    cached.header.flags = RouteFlags::Cloned;
    let cached = RouteNetlinkMessage::NewRoute(cached);
    assert_eq!(resolver.absorb(cached.into()), Stale::Nothing);
}

#[test]
fn a_changed_address_may_change_every_route() {
    let message = RouteNetlinkMessage::NewAddress(AddressMessage::default());
    assert_eq!(resolver().absorb(message.into()), Stale::Routes);
}

#[test]
fn a_link_makes_routes_stale_only_when_it_changed() {
    let mut resolver = resolver();
    let mut absorb =
        |message: LinkMessage| resolver.absorb(RouteNetlinkMessage::NewLink(message).into());
    assert_eq!(absorb(link(1500)), Stale::Routes);
    assert_eq!(absorb(link(1500)), Stale::Nothing);
    assert_eq!(absorb(link(1400)), Stale::Routes);
}

#[test]
fn a_neighbour_makes_no_route_stale() {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    let destination = NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 1, 0, 1].into()));
    message.attributes.push(destination);
    let message = RouteNetlinkMessage::NewNeighbour(message);
    assert_eq!(resolver().absorb(message.into()), Stale::Nothing);
}

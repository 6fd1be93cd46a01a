//! From netlink messages to the table's types. Pure; what does not concern us is `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::{
    AddressFamily,
    link::{
        InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
        XdpAttached,
    },
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteType, RouteVia,
    },
};

use super::{
    AttachMode, AttachedXdp, Link, PROTOCOL,
    table::{Hop, Neighbour, Owner, Reachability, Route, Way},
};

/// A neighbour entry and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hop: Hop,
    pub(super) neighbour: Neighbour,
}

/// `None` for bridge tables and for what the host answers on behalf of others.
pub(super) fn entry(message: &NeighbourMessage) -> Option<Entry> {
    let header = &message.header;
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6)
        || header.flags.contains(NeighbourFlags::Proxy)
    {
        return None;
    }
    let mut address = None;
    let mut neighbour = Neighbour {
        reachability: reachability(header.state),
        mac: None,
        managed: false,
        owner: Owner::Nobody,
    };
    let learned = header.flags.contains(NeighbourFlags::ExtLearned);
    if learned {
        neighbour.owner = Owner::Other;
    }
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => neighbour.mac = mac(bytes),
            NeighbourAttribute::ExtFlags(flags) => {
                neighbour.managed = flags.contains(NeighbourExtFlags::Managed);
            }
            NeighbourAttribute::Protocol(protocol) if !learned => {
                neighbour.owner = owner(*protocol);
            }
            _ => {}
        }
    }
    let hop = Hop {
        ifindex: header.ifindex,
        address: address?,
    };
    Some(Entry { hop, neighbour })
}

/// `None` for messages about an interface's part in a bridge: leaving one is a `RTM_DELLINK` too.
pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    let header = &message.header;
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut link = Link {
        ifindex: header.index,
        up: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        ..Link::default()
    };
    let (mut name, mut elsewhere) = (None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Mtu(value) => link.mtu = *value,
            LinkAttribute::Xdp(values) => link.xdp = attached(values),
            LinkAttribute::LinkInfo(values) => link.kind = kind(values),
            LinkAttribute::Link(index) => link.parent = Some(*index).filter(|index| *index != 0),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            _ => {}
        }
    }
    link.name = name?;
    link.mac = link
        .mac
        .filter(|_| header.link_layer_type == LinkLayerType::Ether);
    // The number is the other namespace's.
    link.parent = link.parent.filter(|_| !elsewhere);
    Some(link)
}

/// The answer to a look-up of `address`.
pub(super) fn route(address: IpAddr, message: &RouteMessage) -> Route {
    let (mut ifindex, mut gateway) = (None, None);
    let (mut source, mut mtu) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(v4))
            | RouteAttribute::Via(RouteVia::Inet(v4)) => gateway = Some(IpAddr::V4(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6))
            | RouteAttribute::Via(RouteVia::Inet6(v6)) => gateway = Some(IpAddr::V6(*v6)),
            RouteAttribute::PrefSource(RouteAddress::Inet(v4)) => source = Some(IpAddr::V4(*v4)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(v6)) => source = Some(IpAddr::V6(*v6)),
            RouteAttribute::Metrics(metrics) => mtu = metric_mtu(metrics),
            _ => {}
        }
    }
    let nowhere = |reason: &str| Route::Nowhere {
        ifindex,
        reason: format!("{address} {reason}"),
    };
    match message.header.kind {
        RouteType::Unicast => match ifindex {
            Some(ifindex) => Route::Via(Way {
                hop: Hop {
                    ifindex,
                    address: gateway.unwrap_or(address),
                },
                source,
                mtu,
            }),
            None => nowhere("has a route without an interface"),
        },
        RouteType::Local => nowhere("is an address of this host"),
        RouteType::Broadcast => nowhere("is a broadcast address"),
        RouteType::Multicast => nowhere("is a multicast address"),
        RouteType::Anycast => nowhere("is an anycast address of this host"),
        RouteType::BlackHole => nowhere("has a blackhole route"),
        RouteType::Unreachable => nowhere("has an unreachable route"),
        RouteType::Prohibit => nowhere("has a prohibit route"),
        _ => nowhere("has a route of an unknown type"),
    }
}

/// What a route notification is about; the default route has no destination attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) address: IpAddr,
    pub(super) length: u8,
}

/// `None` for families other than IP.
pub(super) fn prefix(message: &RouteMessage) -> Option<Prefix> {
    let all = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let named = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
            _ => None,
        });
    Some(Prefix {
        address: named.unwrap_or(all),
        length: message.header.destination_prefix_length,
    })
}

/// The route's own MTU; 0 stands for none.
fn metric_mtu(metrics: &[RouteMetric]) -> Option<u32> {
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu).filter(|mtu| *mtu > 0),
        _ => None,
    })
}

fn reachability(state: NeighbourState) -> Reachability {
    match state {
        NeighbourState::Permanent | NeighbourState::Noarp => Reachability::Fixed,
        NeighbourState::Reachable | NeighbourState::Delay | NeighbourState::Probe => {
            Reachability::Confirmed
        }
        NeighbourState::Stale => Reachability::Stale,
        NeighbourState::Failed => Reachability::Failed,
        _ => Reachability::Resolving,
    }
}

fn owner(protocol: RouteProtocol) -> Owner {
    match u8::from(protocol) {
        0 => Owner::Nobody,
        PROTOCOL => Owner::Sluice,
        _ => Owner::Other,
    }
}

fn kind(values: &[LinkInfo]) -> Option<String> {
    values.iter().find_map(|value| match value {
        LinkInfo::Kind(kind) => Some(InfoKind::to_string(kind)),
        _ => None,
    })
}

fn attached(values: &[LinkXdp]) -> Option<AttachedXdp> {
    let (mut mode, mut program) = (None, 0);
    for value in values {
        match value {
            LinkXdp::Attached(XdpAttached::Driver) => mode = Some(AttachMode::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(AttachMode::Generic),
            LinkXdp::Attached(XdpAttached::Hardware) => mode = Some(AttachMode::Offloaded),
            LinkXdp::Attached(XdpAttached::Multiple) => mode = Some(AttachMode::Multiple),
            LinkXdp::ProgId(id) => program = *id,
            _ => {}
        }
    }
    mode.map(|mode| AttachedXdp { mode, program })
}

fn mac(bytes: &[u8]) -> Option<[u8; 6]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;

//! Backends' answers, turned back into the VIP's (rules 20 to 24).

use std::net::IpAddr;

use super::{
    forward::{egress, hop, sent},
    ipv6::Ipv6,
    link::Link,
    parse::{Ip, Packet},
    verdict::{Reason, Verdict, drop},
    world::{Endpoint, Vip, World},
};

/// Turns a reply back, if it is one.
///
/// # Errors
/// It is none, or cannot be sent.
pub fn turn_back(world: &World, from: u32, packet: Packet) -> Result<(Verdict, Vec<u8>), Verdict> {
    let faces_backends = world
        .interfaces
        .get(&from)
        .is_some_and(|interface| interface.faces_backends);
    if !world.features.dnat || !faces_backends || packet.is_first_fragment {
        return Err(Verdict::Pass);
    }
    let backend = Endpoint {
        address: packet.ip.source(),
        port: packet.transport.source_port(),
        protocol: packet.transport.protocol,
    };
    let vip = *world.replies.get(&backend).ok_or(Verdict::Pass)?;
    let way = world.way(packet.ip.destination()).ok_or(Verdict::Pass)?;
    if packet.ip.length() > way.mtu {
        return Err(drop(Reason::TooBig));
    }
    if packet.ip.hops_left() <= 1 {
        return Err(drop(Reason::TtlExpired));
    }
    let Some(mac) = way.to else {
        if packet.ip.length() > world.punt_max {
            return Err(Verdict::Pass);
        }
        let packet = rewritten(hop(packet), vip);
        let verdict = Verdict::Punt {
            packet: packet.ip_bytes(),
        };
        return Ok((verdict, packet.bytes()));
    };
    let (to, _) = egress(world, Some(way.interface))?;
    let packet = rewritten(hop(packet), vip);
    let link = Link {
        destination: mac,
        source: way.from,
        ..packet.link.clone()
    };
    Ok((sent(from, to), Packet { link, ..packet }.bytes()))
}

/// The packet from the VIP.
fn rewritten(packet: Packet, vip: Vip) -> Packet {
    let Vip { address, port } = vip;
    let Packet { ip, transport, .. } = packet;
    let (ip, transport) = match (ip, address) {
        (Ip::V4(header), IpAddr::V4(address)) => {
            let ends = (header.source.octets(), address.octets());
            let transport = transport.from(port, &ends.0, &ends.1);
            (Ip::V4(header.from(address)), transport)
        }
        (Ip::V6(header), IpAddr::V6(address)) => {
            let ends = (header.source.octets(), address.octets());
            let transport = transport.from(port, &ends.0, &ends.1);
            let source = address;
            (Ip::V6(Ipv6 { source, ..header }), transport)
        }
        (ip, _) => (ip, transport),
    };
    Packet {
        ip,
        transport,
        ..packet
    }
}

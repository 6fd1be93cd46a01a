//! Backends' answers, turned back into the VIP's (rules 20 to 24).

use super::{
    forward::{egress, hop, sent},
    link::Link,
    parse::{End, Packet},
    verdict::{Reason, Verdict, drop},
    world::{Endpoint, World},
};

/// Turns a reply back, if it is one.
///
/// # Errors
/// It is none, or cannot be sent.
pub fn turn_back(
    world: &mut World,
    from: u32,
    packet: Packet,
) -> Result<(Verdict, Vec<u8>), Verdict> {
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
        let fits = packet.ip.length() <= world.punt_max && world.punt_room > 0;
        let packet = hop(packet).readdressed(End::Source, vip.address, vip.port);
        if !fits {
            // The kernel may be able to send it on, with the VIP as its source.
            return Ok((Verdict::Pass, packet.bytes()));
        }
        world.punt_room -= 1;
        let verdict = Verdict::Punt {
            packet: packet.ip_bytes(),
        };
        return Ok((verdict, packet.bytes()));
    };
    let (to, _) = egress(world, Some(way.interface))?;
    let packet = hop(packet).readdressed(End::Source, vip.address, vip.port);
    let link = Link {
        destination: mac,
        source: way.from,
        ..packet.link.clone()
    };
    Ok((sent(from, to), Packet { link, ..packet }.bytes()))
}

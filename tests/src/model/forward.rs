//! From the chosen backend to a frame on its way (rules 11, 12, 14 and 19).

use super::{
    link::Link,
    parse::{End, Ip, Packet},
    steer::Choice,
    transport::protocol,
    tunnel,
    verdict::{BackendCount, Counts, Reason, Verdict, drop},
    world::{Forward, Interface, World},
};

/// Sends a packet to the backend chosen for it.
///
/// # Errors
/// Why it cannot be sent.
pub fn forward(
    world: &World,
    from: u32,
    service: usize,
    choice: Choice,
    packet: Packet,
    counts: &mut Counts,
) -> Result<(Verdict, Vec<u8>), Verdict> {
    let Choice {
        backend: number,
        hash,
        remembered,
    } = choice;
    let of = &world.services[service];
    let backend = of.backend(number).expect("it was chosen");
    if packet.ip.hops_left() <= 1 {
        return Err(drop(Reason::TtlExpired));
    }
    let next_hop = backend.next_hop.ok_or(drop(Reason::NoNextHop))?;
    let (to, interface) = egress(world, next_hop.interface)?;

    let bytes = packet.ip.length();
    let opens = match packet.transport.protocol {
        protocol::UDP => remembered,
        _ => packet.transport.opens(),
    };
    let link = Link {
        destination: next_hop.mac,
        source: interface.mac,
        ..packet.link.clone()
    };
    let padding = packet.padding.clone();
    let (ether_type, ip) = match of.forward {
        Forward::Dsr => as_it_is(hop(packet)),
        Forward::Dnat => {
            let port = backend
                .port
                .unwrap_or_else(|| packet.transport.destination_port());
            as_it_is(hop(packet).readdressed(End::Destination, backend.address, port))
        }
        Forward::Ipip | Forward::Gue { .. } => {
            tunnel::check(world, of.forward, backend, bytes)?;
            let traffic_class = packet.ip.traffic_class();
            let inner = tunnel::Inner {
                is_ipv4: matches!(packet.ip, Ip::V4(_)),
                traffic_class,
                packet: hop(packet).ip_bytes(),
            };
            tunnel::wrap(of.forward, backend, hash.secondary, &inner)
        }
    };
    counts.backend = Some(BackendCount {
        service,
        backend: number,
        bytes: bytes as u64,
        new_flow: opens,
    });
    let link = Link { ether_type, ..link };
    let frame = [link.bytes(), ip, padding].concat();
    Ok((sent(from, to), frame))
}

/// The interface that a way leads out of.
///
/// # Errors
/// There is none.
pub(super) fn egress(world: &World, index: Option<u32>) -> Result<(u32, Interface), Verdict> {
    index
        .and_then(|index| Some((index, *world.interfaces.get(&index)?)))
        .ok_or(drop(Reason::NoEgress))
}

/// How a frame leaves that came in by `from`.
pub(super) const fn sent(from: u32, to: u32) -> Verdict {
    if from == to {
        Verdict::Transmit
    } else {
        Verdict::Redirect { to }
    }
}

/// The packet after a hop.
pub(super) fn hop(packet: Packet) -> Packet {
    Packet {
        ip: packet.ip.after_a_hop(),
        ..packet
    }
}

/// EtherType and bytes of an IP packet.
fn as_it_is(packet: Packet) -> (u16, Vec<u8>) {
    (packet.link.ether_type, packet.ip_bytes())
}

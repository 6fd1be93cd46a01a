//! Any bytes: the parser stays inside, and another implementation agrees with what it finds.

use etherparse::{LaxSlicedPacket, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

/// What is read of a frame, whichever its family: offsets of ports and checksum, and the ports.
#[derive(Debug)]
struct Found {
    ports_at: usize,
    checksum_at: usize,
    ports: [u16; 2],
    fragmented: bool,
}

fn found(frame: &mut [u8]) -> Option<Found> {
    let start = frame.as_ptr() as usize;
    let mut cursor = Cursor::new(frame);
    let link = Link::read(&mut cursor, true).ok()?;
    let found = |transport: &Transport<'_>, fragmented| {
        let [ports, checksum] = transport.ranges();
        Found {
            ports_at: ports.start as usize - start,
            checksum_at: checksum.start as usize - start,
            ports: [transport.source_port(), transport.destination_port()].map(|port| port.get()),
            fragmented,
        }
    };
    if link.ether_type.is(V4::ETHER_TYPE) {
        let packet = parse::<V4>(cursor, link, EVERYTHING).ok()?;
        Some(found(&packet.transport, packet.fragmented))
    } else if link.ether_type.is(V6::ETHER_TYPE) {
        let packet = parse::<V6>(cursor, link, EVERYTHING).ok()?;
        Some(found(&packet.transport, packet.fragmented))
    } else {
        None
    }
}

/// Bytes that look like a frame of IPv4 or IPv6 up to where they do not.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..160);
    let tags = prop_oneof![4 => Just(0_usize), 1 => 1..4_usize];
    let next = prop_oneof![Just(6), Just(17), Just(0), Just(43), Just(44), Just(60)];
    (bytes, tags, any::<bool>(), next, any::<u8>(), 0..3_u8).prop_map(
        |(mut bytes, tags, ipv6, next, length, how)| {
            if how == 0 {
                return bytes;
            }
            for tag in 0..tags {
                if let Some(at) = bytes.get_mut(12 + 4 * tag..14 + 4 * tag) {
                    at.copy_from_slice(&[0x81, 0]);
                }
            }
            let ip = 14 + 4 * tags;
            if bytes.len() < ip + 48 {
                return bytes;
            }
            let announced = if ipv6 { [0x86, 0xdd] } else { [8, 0] };
            bytes[ip - 2..ip].copy_from_slice(&announced);
            if ipv6 {
                bytes[ip] = 0x60;
                // Not 0, which the other implementation takes for "up to the frame's end".
                bytes[ip + 4..ip + 7].copy_from_slice(&[0, length.max(1), next]);
                // Extension headers that are short, and lead somewhere.
                for at in (ip + 40..bytes.len() - 1).step_by(8) {
                    bytes[at] = [6, 17, 43, 44, 60, 6, 17, 6][usize::from(bytes[at] & 7)];
                    bytes[at + 1] &= 1;
                }
            } else {
                bytes[ip] = 0x45;
                bytes[ip + 2..ip + 4].copy_from_slice(&[0, length]);
                bytes[ip + 9] = if next == 6 { 6 } else { 17 };
                if how == 2 {
                    bytes[ip + 6] &= 0x60;
                    bytes[ip + 7] = 0;
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_read_outside_the_frame(mut frame in plausible()) {
        let length = frame.len();
        if let Some(Found { ports_at, checksum_at, .. }) = found(&mut frame) {
            prop_assert!(ports_at >= IP && ports_at + 4 <= checksum_at);
            prop_assert!(checksum_at + 2 <= length);
        }
    }

    #[test]
    fn another_implementation_finds_the_same_ports(mut frame in plausible()) {
        let copy = frame.clone();
        if let Some(Found { ports, fragmented, ports_at, .. }) = found(&mut frame) {
            let lax = LaxSlicedPacket::from_ethernet(&copy).unwrap();
            let payload = lax.ip_payload().unwrap();
            prop_assert_eq!(payload.fragmented, fragmented);
            let at = payload.payload.as_ptr() as usize - copy.as_ptr() as usize;
            prop_assert_eq!(at, ports_at);
            match lax.transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    prop_assert_eq!(ports, [tcp.source_port(), tcp.destination_port()]);
                }
                Some(TransportSlice::Udp(udp)) => {
                    prop_assert_eq!(ports, [udp.source_port(), udp.destination_port()]);
                }
                // It reads no transport header of a fragment.
                _ => prop_assert!(fragmented || payload.ip_number.0 == TCP),
            }
        }
    }

    /// The other way round: what a strict implementation accepts as a whole packet, we do.
    #[test]
    fn what_another_implementation_accepts_is_a_packet(mut frame in plausible()) {
        let copy = frame.clone();
        let Ok(packet) = SlicedPacket::from_ethernet(&copy) else { return Ok(()) };
        let whole = !packet.is_ip_payload_fragmented();
        let ours = matches!(packet.transport, Some(TransportSlice::Tcp(_) | TransportSlice::Udp(_)));
        let plain = match &packet.net {
            Some(NetSlice::Ipv4(_)) => true,
            Some(NetSlice::Ipv6(ip)) => ip.extensions().is_empty(),
            _ => false,
        };
        if whole && ours && plain && packet.vlan_ids().len() <= 2 {
            prop_assert!(found(&mut frame).is_some());
        }
    }
}

//! `ipip` and `gue`: the packet as it came, but for its time to live, behind an outer header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use lb_common::{
    abi::{
        backend::Backend,
        counters::{Counter, DropReason},
    },
    endian::Be128,
    wire::tcp::Flags,
};
use lb_userspace::plan::Write;
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, Extension, Fixture, Outcome, Outer, Segment, Setup, Side, Unknown, Way},
};

/// `enum xdp_action` of linux/bpf.h.
const DROP: u32 = 1;
const REDIRECT: u32 = 4;

/// A segment goes its way behind an outer header that is not the usual one.
fn with_outer(name: &'static str, bed: &Bed, segment: &Segment, way: Way, outer: Outer) -> Fixture {
    let frame = way.wrapped(bed, segment, Side::Back, &outer);
    way.becomes(name, segment, Outcome::Redirect, frame)
}

#[test]
fn every_packet_reaches_the_backend_in_its_tunnel() -> Result<()> {
    for way in Way::tunnels() {
        let Some(mut bed) = Bed::new(&way.services())? else {
            return Ok(());
        };
        let segment = |flags| way.segment(&bed, flags);
        let ack = segment(Flags::ACK);
        let mut options = ack.clone();
        if way.inner == Family::Ipv4 {
            options.options = vec![1; 40];
        } else {
            options.flow_label = 0xa_bcde;
            options = options.extensions(&[
                Extension::sized(Extension::HOP_BY_HOP, 8),
                Extension::fragment(0, false),
            ]);
        }
        let fixtures = [
            way.fixture("a SYN is a new flow", &bed, &segment(Flags::SYN))?,
            way.fixture("an ACK is not", &bed, &ack)?,
            way.fixture("an odd payload", &bed, &ack.clone().payload(b"odd"))?,
            way.fixture("options", &bed, &options)?,
            way.fixture("the last hop", &bed, &ack.clone().ttl(2))?,
            way.fixture("the farthest", &bed, &ack.clone().ttl(255))?,
            way.fixture("a datagram", &bed, &way.datagram(&bed, b"a question"))?,
            way.fixture("an empty datagram", &bed, &way.datagram(&bed, b""))?,
            Fixture::dropped(
                "expired",
                ack.clone().ttl(1).bytes(),
                DropReason::TtlExpired,
            ),
            Fixture::dropped(
                "SYN and FIN",
                segment(Flags::SYN | Flags::FIN).bytes(),
                DropReason::Malformed,
            ),
        ];
        fixtures
            .iter()
            .try_for_each(|fixture| fixture.check(&mut bed))?;
    }
    Ok(())
}

#[test]
fn what_is_inside_is_not_looked_at() -> Result<()> {
    for way in Way::tunnels() {
        let Some(mut bed) = Bed::new(&way.services())? else {
            return Ok(());
        };
        let datagram = way.datagram(&bed, b"whatever the checksum says");
        let fixture = way.fixture("a wrong checksum", &bed, &datagram)?;
        let behind = datagram.payload.len() + 2;
        for checksum in [[0, 0], [0xff, 0xff], [0x12, 0x34]] {
            let mut fixture = fixture.clone();
            let at = fixture.packet.len() - behind;
            fixture.packet[at..at + 2].copy_from_slice(&checksum);
            if let Some(frame) = &mut fixture.expect.frame {
                let at = frame.len() - behind;
                frame[at..at + 2].copy_from_slice(&checksum);
            }
            fixture.check(&mut bed)?;
        }
        // Padding stays behind the outer packet, which does not count it.
        let mut padded = fixture;
        padded.packet.extend([0xee; 6]);
        if let Some(frame) = &mut padded.expect.frame {
            frame.extend([0xee; 6]);
        }
        padded.check(&mut bed)?;
    }
    Ok(())
}

/// RFC 6040, section 4.1, normal mode: the outer header has the inner one's ECN field, and as much of its
/// DSCP (RFC 2983, uniform model).
#[test]
fn the_outer_header_has_the_inner_ones_dscp_and_ecn() -> Result<()> {
    for way in Way::tunnels() {
        let Some(mut bed) = Bed::new(&way.services())? else {
            return Ok(());
        };
        for dscp in [0, 0b00_0001, 0b10_1110, 0b11_1111] {
            for ecn in 0..4 {
                let class = dscp << 2 | ecn;
                let segment = way.segment(&bed, Flags::ACK).traffic_class(class);
                let outer = way.outer(&bed, &segment, Side::Back)?;
                assert_eq!(outer.traffic_class, class);
                way.fixture("DSCP and ECN", &bed, &segment)?
                    .check(&mut bed)?;
            }
        }
    }
    Ok(())
}

/// RFC 6438 and the GUE draft, section 5.6: routers that look at the outer header alone must see flows.
#[test]
fn the_outer_header_tells_flows_apart() -> Result<()> {
    for way in Way::tunnels() {
        let Some(mut bed) = Bed::new(&way.services())? else {
            return Ok(());
        };
        let (mut ports, mut labels) = (Vec::new(), Vec::new());
        for port in 0..256 {
            let mut segment = way.segment(&bed, Flags::ACK);
            segment.source.set_port(40_000 + port);
            let outer = way.outer(&bed, &segment, Side::Back)?;
            way.fixture("one of many flows", &bed, &segment)?
                .check(&mut bed)?;
            ports.extend(outer.ports.map(|[source, _]| source));
            labels.push(outer.flow_label);
        }
        for mut seen in [ports.iter().map(|port| u32::from(*port)).collect(), labels] {
            seen.sort_unstable();
            seen.dedup();
            assert!(seen.is_empty() || seen.len() > 240, "{way:?}: {seen:?}");
        }
        assert!(ports.iter().all(|port| *port >= 0xc000), "{ports:?}");
    }
    Ok(())
}

#[test]
fn a_configured_source_has_the_hash_behind_its_prefix_with_ipip_alone() -> Result<()> {
    let (v4, v6) = (
        Ipv4Addr::new(100, 64, 3, 1),
        "fd00:64::a:1".parse::<Ipv6Addr>()?,
    );
    for (prefix_ipv4, prefix_ipv6) in [(8, 8), (16, 64), (24, 96), (31, 127), (32, 128), (9, 97)] {
        let daemon = format!(
            "tunnel_source_ipv4 = \"{v4}/{prefix_ipv4}\"\ntunnel_source_ipv6 = \"{v6}/{prefix_ipv6}\""
        );
        for way in Way::tunnels() {
            let services = way.services();
            let Some(mut bed) = Bed::with(&Setup {
                services: &services,
                daemon: &daemon,
                // What the kernel would say does not matter.
                unknown: Unknown::Source,
                ..Setup::default()
            })?
            else {
                return Ok(());
            };
            for port in [1, 40_000, 65_535] {
                let mut segment = way.segment(&bed, Flags::SYN);
                segment.source.set_port(port);
                let hashed = bed.hash(&segment)?.secondary();
                let mut outer = way.outer(&bed, &segment, Side::Back)?;
                outer.source = match (way.forward, way.outer) {
                    (Forward::Ipip, Family::Ipv4) => {
                        let kept = u32::MAX.checked_shl(32 - prefix_ipv4).unwrap_or(0);
                        IpAddr::V4((v4.to_bits() & kept | hashed & !kept).into())
                    }
                    (Forward::Ipip, Family::Ipv6) => {
                        let kept = u128::MAX.checked_shl(128 - prefix_ipv6).unwrap_or(0);
                        // Of the hash there are only 32 bits.
                        let kept = kept | u128::MAX << 32;
                        IpAddr::V6((v6.to_bits() & kept | u128::from(hashed) & !kept).into())
                    }
                    (_, Family::Ipv4) => IpAddr::V4(v4),
                    (_, Family::Ipv6) => IpAddr::V6(v6),
                };
                with_outer("a configured source", &bed, &segment, way, outer).check(&mut bed)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_packet_that_just_fits_the_way_is_sent_and_a_larger_one_dropped() -> Result<()> {
    for way in Way::tunnels() {
        let Some(mut bed) = Bed::new(&way.services())? else {
            return Ok(());
        };
        for (mtu, inner) in [
            (1500, way.segment(&bed, Flags::ACK)),
            (1280, way.datagram(&bed, b"")),
        ] {
            bed.set_mtu(mtu)?;
            let outer = way.outer(&bed, &inner, Side::Back)?.length() as u64;
            let room = u64::from(mtu) - outer - inner.ip_length();
            let fits = inner.clone().payload(&vec![0x5a; room as usize]);
            way.fixture("it fits", &bed, &fits)?.check(&mut bed)?;
            let large = inner.payload(&vec![0x5a; room as usize + 1]);
            let too_big = DropReason::TunnelTooBig;
            Fixture::dropped("one byte too many", large.bytes(), too_big).check(&mut bed)?;
            // What Ethernet padded is not too large for it.
            let mut padded = way.fixture("padding", &bed, &fits)?;
            padded.packet.push(0);
            if let Some(frame) = &mut padded.expect.frame {
                frame.push(0);
            }
            padded.check(&mut bed)?;
        }
    }
    Ok(())
}

#[test]
fn a_way_of_which_too_little_is_known_is_none() -> Result<()> {
    for unknown in [Unknown::Source, Unknown::Mtu] {
        for way in Way::tunnels() {
            let services = way.services();
            let Some(mut bed) = Bed::with(&Setup {
                services: &services,
                unknown,
                ..Setup::default()
            })?
            else {
                return Ok(());
            };
            let packet = way.segment(&bed, Flags::SYN).bytes();
            Fixture::dropped("no source known", packet, DropReason::NoBackend).check(&mut bed)?;
        }
    }
    Ok(())
}

#[test]
fn gue_goes_to_the_port_that_is_configured() -> Result<()> {
    for way in Way::tunnels() {
        if way.forward != Forward::Gue {
            continue;
        }
        let forward = "forward = \"gue\"";
        let services = way
            .services()
            .replace(forward, &format!("{forward}\ngue_port = 65535"));
        let Some(mut bed) = Bed::new(&services)? else {
            return Ok(());
        };
        let segment = way.segment(&bed, Flags::SYN);
        let mut outer = way.outer(&bed, &segment, Side::Back)?;
        outer.ports = outer.ports.map(|[source, _]| [source, 65_535]);
        with_outer("another port", &bed, &segment, way, outer).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_backend_on_the_clients_side_is_reached_by_the_same_interface() -> Result<()> {
    for way in Way::tunnels() {
        let Some(mut bed) = Bed::new(&way.services_at(Side::Front))? else {
            return Ok(());
        };
        let segment = way.segment(&bed, Flags::SYN);
        let out = way.sent(&bed, &segment, Side::Front)?;
        way.becomes("sent back", &segment, Outcome::Transmit, out)
            .check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn answers_of_tunnelled_backends_are_left_alone() -> Result<()> {
    for way in Way::tunnels() {
        let Some(mut bed) = Bed::new(&way.services())? else {
            return Ok(());
        };
        let answer = Segment {
            source: way.inner.vip(),
            ..way.answer(&bed, Some(Flags::ACK), b"from the VIP itself")
        };
        Fixture::passed("an answer", Side::Back, answer.bytes()).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn one_service_has_backends_of_both_families() -> Result<()> {
    for inner in [Family::Ipv4, Family::Ipv6] {
        for forward in [Forward::Ipip, Forward::Gue] {
            let ways = [Family::Ipv4, Family::Ipv6].map(|outer| Way {
                forward,
                inner,
                outer,
            });
            // The TCP service gets the other family's backend beside its own.
            let services = ways[0].services().replacen(
                "[[service.backend]]\nname = \"t1\"",
                "[[service.backend]]\nname = \"t2\"\naddress = \"fd77:2::11\"\n\
                 [[service.backend]]\nname = \"t1\"",
                1,
            );
            let Some(mut bed) = Bed::new(&services)? else {
                return Ok(());
            };
            let mut sent = [0; 2];
            for port in 0..64 {
                let mut segment = ways[0].segment(&bed, Flags::ACK);
                segment.source.set_port(40_000 + port);
                let (number, backend) = match bed.chosen(&segment)? {
                    "t1" => (0, "t1"),
                    _ => (1, "t2"),
                };
                let mut fixture = ways[number].fixture("either family", &bed, &segment)?;
                fixture.expect.counted = fixture
                    .expect
                    .counted
                    .map(|(_, counted)| (backend, counted));
                fixture.check(&mut bed)?;
                sent[number] += 1;
            }
            assert!(sent.iter().all(|count| *count > 10), "{sent:?}");
        }
    }
    Ok(())
}

/// A test run leaves as much room before a frame as most drivers (256 bytes), more than any tunnel needs,
/// and no kernel lets it have less. So the backend is the VIP itself, which no configuration may say, and
/// the packet goes round through the same frame until it has no more room.
#[test]
fn a_driver_without_room_for_an_outer_header_is_told() -> Result<()> {
    let way = Way {
        forward: Forward::Gue,
        inner: Family::Ipv4,
        outer: Family::Ipv4,
    };
    let vip = way.inner.vip().ip();
    let services = format!(
        "[[service]]\nname = \"round\"\nlisten = [\"udp://{vip}:6080\"]\nforward = \"gue\"\n\
         [[service.backend]]\nname = \"u1\"\naddress = \"10.77.2.11\"\n"
    );
    let Some(mut bed) = Bed::new(&services)? else {
        return Ok(());
    };
    let index = bed.index("u1")?;
    let entry = Backend {
        address: Be128::from_leading(Ipv4Addr::new(10, 77, 0, 80).into()),
        ..*bed.image().backend(index).context("no backend")?
    };
    let entry = Box::new(entry);
    bed.force(vec![Write::Backend { index, entry }])?;
    let mut datagram = way.datagram(&bed, b"round and round");
    datagram.destination.set_port(6080);
    let mut packet = datagram.packet();
    let mut rounds = 0;
    loop {
        rounds += 1;
        let ran = bed.run_again(Side::Front, &datagram.bytes(), rounds)?;
        if ran.action != REDIRECT {
            let no_headroom = Counter::dropped(DropReason::NoHeadroom);
            let redirected = u64::from(rounds) - 1;
            assert_eq!(ran.action, DROP);
            let counted = [(Counter::REDIRECT, redirected), (no_headroom, 1)];
            assert_eq!(ran.counters, counted.into());
            assert_eq!(ran.backends["u1"].packets, redirected);
            break;
        }
        packet = around_again(&bed, &datagram, &packet)?;
        assert!(
            ran.frame[14..] == packet,
            "round {rounds}: {:02x?}, not {packet:02x?}",
            &ran.frame[14..]
        );
    }
    // 256 bytes, less what the kernel keeps at their beginning: up to 64.
    assert!((6..=9).contains(&(rounds - 1)), "{rounds} rounds");
    Ok(())
}

/// A GUE packet for the VIP, inside another.
fn around_again(bed: &Bed, first: &Segment, packet: &[u8]) -> Result<Vec<u8>> {
    let header = etherparse::Ipv4HeaderSlice::from_slice(packet)?;
    let mut older = header.to_header();
    older.time_to_live -= 1;
    older.header_checksum = older.calc_header_checksum();
    let behind = &packet[usize::from(header.ihl()) * 4..];
    let (udp, _) = etherparse::UdpHeader::from_slice(behind)?;
    let flow = Segment {
        source: (header.source_addr(), udp.source_port).into(),
        ..first.clone()
    };
    let entropy = bed.hash(&flow)?.secondary();
    let outer = Outer {
        source: Side::Back.network(1).into(),
        destination: first.destination.ip(),
        traffic_class: 0,
        options: Vec::new(),
        flow_label: 0,
        ports: Some([0xc000 | (entropy & 0x3fff) as u16, 6080]),
    };
    let inner = [older.to_bytes().as_slice(), behind].concat();
    Ok(outer.around(&inner))
}

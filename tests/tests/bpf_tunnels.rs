//! `ipip` and `gue`: the packet as it came, but for its time to live, behind an outer header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use lb_common::{abi::counters::DropReason, wire::tcp::Flags};
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, Extension, Fixture, Outcome, Outer, Segment, Setup, Side, Way},
};

/// A segment goes its way behind an outer header that is not the usual one.
fn with_outer(
    name: &'static str,
    bed: &Bed,
    segment: &Segment,
    way: Way,
    outer: &Outer,
) -> Fixture {
    let frame = way.wrapped(bed, segment, Side::Back, outer);
    way.becomes(name, segment, Outcome::Redirect, frame)
}

#[test]
fn every_packet_reaches_the_backend_in_its_tunnel() -> Result<()> {
    Way::each(Way::tunnels(), &Setup::PLAIN, |bed, way| {
        let segment = |flags| way.segment(bed, flags);
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
            way.fixture("a SYN is a new flow", bed, &segment(Flags::SYN))?,
            way.fixture("an ACK is not", bed, &ack)?,
            way.fixture("an odd payload", bed, &ack.clone().payload(b"odd"))?,
            way.fixture("options", bed, &options)?,
            way.fixture("the last hop", bed, &ack.clone().ttl(2))?,
            way.fixture("the farthest", bed, &ack.clone().ttl(255))?,
            way.fixture("a datagram", bed, &way.datagram(bed, b"a question"))?,
            way.fixture("an empty datagram", bed, &way.datagram(bed, b""))?,
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
        fixtures.iter().try_for_each(|fixture| fixture.check(bed))?;
        Ok(())
    })
}

#[test]
fn what_is_inside_is_not_looked_at() -> Result<()> {
    Way::each(Way::tunnels(), &Setup::PLAIN, |bed, way| {
        let datagram = way.datagram(bed, b"whatever the checksum says");
        let behind = datagram.payload.len() + 2;
        for checksum in [[0, 0], [0xff, 0xff], [0x12, 0x34]] {
            way.fixture("a wrong checksum", bed, &datagram)?
                .replaced(behind, &checksum)
                .check(bed)?;
        }
        // Padding stays behind the outer packet, which does not count it.
        way.fixture("padding", bed, &datagram)?
            .padded(&[0xee; 6])
            .check(bed)
    })
}

/// RFC 6040, section 4.1, normal mode: the outer header has the inner one's ECN field, and as much of its
/// DSCP (RFC 2983, uniform model).
#[test]
fn the_outer_header_has_the_inner_ones_dscp_and_ecn() -> Result<()> {
    Way::each(Way::tunnels(), &Setup::PLAIN, |bed, way| {
        for dscp in [0, 0b00_0001, 0b10_1110, 0b11_1111] {
            for ecn in 0..4 {
                let class = dscp << 2 | ecn;
                let segment = way.segment(bed, Flags::ACK).traffic_class(class);
                let outer = way.outer(bed, &segment, Side::Back)?;
                assert_eq!(outer.traffic_class, class);
                way.fixture("DSCP and ECN", bed, &segment)?.check(bed)?;
            }
        }
        Ok(())
    })
}

/// RFC 6438 and the GUE draft, section 5.6: routers that look at the outer header alone must see flows.
#[test]
fn the_outer_header_tells_flows_apart() -> Result<()> {
    Way::each(Way::tunnels(), &Setup::PLAIN, |bed, way| {
        let (mut ports, mut labels) = (Vec::new(), Vec::new());
        for port in 0..256 {
            let mut segment = way.segment(bed, Flags::ACK);
            segment.source.set_port(40_000 + port);
            let outer = way.outer(bed, &segment, Side::Back)?;
            way.fixture("one of many flows", bed, &segment)?
                .check(bed)?;
            ports.extend(outer.ports.map(|[source, _]| source));
            labels.push(outer.flow_label);
        }
        for mut seen in [ports.iter().map(|port| u32::from(*port)).collect(), labels] {
            seen.sort_unstable();
            seen.dedup();
            assert!(seen.is_empty() || seen.len() > 240, "{way:?}: {seen:?}");
        }
        assert!(ports.iter().all(|port| *port >= 0xc000), "{ports:?}");
        Ok(())
    })
}

#[test]
fn a_configured_source_has_the_hash_behind_its_prefix_with_ipip_alone() -> Result<()> {
    let (v4, v6) = (
        Ipv4Addr::new(100, 64, 3, 1),
        "fd00:64::a:1".parse::<Ipv6Addr>()?,
    );
    for (prefix_ipv4, prefix_ipv6) in [(8, 8), (16, 97), (31, 127)] {
        let daemon = format!(
            "tunnel_source_ipv4 = \"{v4}/{prefix_ipv4}\"\ntunnel_source_ipv6 = \"{v6}/{prefix_ipv6}\""
        );
        let setup = Setup {
            daemon: &daemon,
            // What the kernel would say does not matter.
            knows_source: false,
            ..Setup::PLAIN
        };
        Way::each(Way::tunnels(), &setup, |bed, way| {
            for port in [1, 40_000, 65_535] {
                let mut segment = way.segment(bed, Flags::SYN);
                segment.source.set_port(port);
                let hashed = bed.hash(&segment)?.secondary();
                let mut outer = way.outer(bed, &segment, Side::Back)?;
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
                with_outer("a configured source", bed, &segment, way, &outer).check(bed)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn gue_goes_to_the_port_that_is_configured() -> Result<()> {
    for way in Way::of(Forward::Gue) {
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
        with_outer("another port", &bed, &segment, way, &outer).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_backend_on_the_clients_side_is_reached_by_the_same_interface() -> Result<()> {
    let setup = Setup {
        backend: Side::Front,
        ..Setup::PLAIN
    };
    Way::each(Way::tunnels(), &setup, |bed, way| {
        let segment = way.segment(bed, Flags::SYN);
        let out = way.sent(bed, &segment, Side::Front)?;
        let sent_back = way.becomes("sent back", &segment, Outcome::Transmit, out);
        sent_back.check(bed)
    })
}

#[test]
fn answers_of_tunnelled_backends_are_left_alone() -> Result<()> {
    Way::each(Way::tunnels(), &Setup::PLAIN, |bed, way| {
        let answer = Segment {
            source: way.inner.vip(),
            ..way.answer(bed, Some(Flags::ACK), b"from the VIP itself")
        };
        Fixture::passed("an answer", Side::Back, answer.bytes()).check(bed)
    })
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

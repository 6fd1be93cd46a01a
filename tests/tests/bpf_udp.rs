//! Datagrams: to a backend and back, by their own checksum rules.

use anyhow::Result;
use lb_common::abi::counters::{BackendCounters, DropReason};
use testbed::packets::{Bed, CLIENT_MAC, Expect, Fixture, Outcome, Segment, Side, backend_mac};

const DNS: &str = r#"
[[service]]
name = "dns"
listen = ["udp://10.77.0.80:53"]
[[service.backend]]
name = "b1"
address = "10.77.2.11:5353"
"#;

/// Where the UDP checksum stands in a frame without IP options.
const CHECKSUM: usize = 14 + 20 + 6;

fn question(bed: &Bed, payload: &[u8]) -> Segment {
    Segment::datagram("10.77.1.10:40000", "10.77.0.80:53", payload)
        .link(CLIENT_MAC, bed.mac(Side::Front))
}

fn forwarded(bed: &Bed, segment: &Segment) -> Segment {
    let mut out = segment
        .clone()
        .link(bed.mac(Side::Back), backend_mac(11))
        .ttl(63);
    out.destination = "10.77.2.11:5353".parse().expect("an address");
    out
}

fn to_backend(name: &'static str, bed: &Bed, segment: &Segment) -> Fixture {
    let counted = BackendCounters {
        packets: 1,
        bytes: segment.ip_length(),
        new_flows: 0,
    };
    Fixture {
        name,
        from: Side::Front,
        packet: segment.bytes(),
        expect: Expect {
            outcome: Outcome::Redirect,
            frame: Some(forwarded(bed, segment).bytes()),
            counted: Some(("b1", counted)),
        },
    }
}

#[test]
fn a_datagram_reaches_the_backend() -> Result<()> {
    let Some(mut bed) = Bed::new(DNS)? else {
        return Ok(());
    };
    for payload in [&b""[..], b"q", b"a question", &[0x5a; 1472]] {
        let segment = question(&bed, payload);
        to_backend("a datagram", &bed, &segment).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn checksums_stay_right_and_never_become_none() -> Result<()> {
    let Some(mut bed) = Bed::new(DNS)? else {
        return Ok(());
    };
    let mut all_ones = 0;
    // Two bytes of payload walk through every checksum, the one that comes out as zero, too.
    for payload in 0..=u16::MAX {
        let mut segment = question(&bed, &payload.to_be_bytes());
        let out = forwarded(&bed, &segment).bytes();
        if out[CHECKSUM..CHECKSUM + 2] == [0xff, 0xff] {
            all_ones += 1;
        } else if payload % 97 != 0 {
            continue;
        }
        segment.ttl = 64;
        to_backend("a walk over checksums", &bed, &segment).check(&mut bed)?;
    }
    assert_eq!(all_ones, 1);
    Ok(())
}

#[test]
fn a_datagram_without_a_checksum_stays_without() -> Result<()> {
    let Some(mut bed) = Bed::new(DNS)? else {
        return Ok(());
    };
    let segment = question(&bed, b"a question");
    let mut fixture = to_backend("no checksum", &bed, &segment);
    fixture.packet[CHECKSUM..CHECKSUM + 2].fill(0);
    if let Some(frame) = &mut fixture.expect.frame {
        frame[CHECKSUM..CHECKSUM + 2].fill(0);
    }
    fixture.check(&mut bed)
}

#[test]
fn an_answer_leaves_with_the_vip_as_its_source() -> Result<()> {
    let Some(mut bed) = Bed::new(DNS)? else {
        return Ok(());
    };
    let segment = Segment::datagram("10.77.2.11:5353", "10.77.1.10:40000", b"an answer")
        .link(backend_mac(11), bed.mac(Side::Back));
    let mut out = segment
        .clone()
        .link(bed.mac(Side::Front), CLIENT_MAC)
        .ttl(63);
    out.source = "10.77.0.80:53".parse()?;
    let expect = Expect {
        outcome: Outcome::Redirect,
        frame: Some(out.bytes()),
        counted: None,
    };
    Fixture {
        name: "an answer",
        from: Side::Back,
        packet: segment.bytes(),
        expect,
    }
    .check(&mut bed)
}

#[test]
fn a_datagram_that_lies_about_its_length_is_malformed() -> Result<()> {
    let Some(mut bed) = Bed::new(DNS)? else {
        return Ok(());
    };
    let frame = question(&bed, b"a question").bytes();
    for (name, length) in [
        ("shorter than its header", 7),
        ("longer than its packet", 19),
    ] {
        let mut packet = frame.clone();
        packet[14 + 20 + 5] = length;
        let expect = Expect::untouched(Outcome::Drop(DropReason::Malformed));
        Fixture {
            name,
            from: Side::Front,
            packet,
            expect,
        }
        .check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn the_same_port_of_the_other_protocol_passes() -> Result<()> {
    let Some(mut bed) = Bed::new(DNS)? else {
        return Ok(());
    };
    let packet = Segment::new("10.77.1.10:40000", "10.77.0.80:53", 2)
        .link(CLIENT_MAC, bed.mac(Side::Front))
        .bytes();
    let expect = Expect::untouched(Outcome::Pass);
    Fixture {
        name: "TCP",
        from: Side::Front,
        packet,
        expect,
    }
    .check(&mut bed)
}

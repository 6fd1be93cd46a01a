//! IPv6: to a backend, and what is not for one.

use anyhow::Result;
use lb_common::{
    abi::counters::{BackendCounters, DropReason},
    wire::tcp::Flags,
};
use lb_userspace::model::Health;
use testbed::{
    mode::{Family, Forward},
    packets::{
        Bed, CLIENT_MAC, Expect, Fixture, Outcome, Segment, Setup, Side, WEB, Way, backend_mac,
    },
};

const DNAT: Way = Way {
    forward: Forward::Dnat,
    inner: Family::Ipv6,
    outer: Family::Ipv6,
};
const DSR: Way = Way {
    forward: Forward::Dsr,
    ..DNAT
};

/// Where the UDP checksum stands in a frame without extension headers.
const UDP_CHECKSUM: usize = 14 + 40 + 6;

fn check_all(bed: &mut Bed, fixtures: &[Fixture]) -> Result<()> {
    fixtures.iter().try_for_each(|fixture| fixture.check(bed))
}

#[test]
fn every_segment_of_a_connection_reaches_the_backend() -> Result<()> {
    Way::each([DNAT, DSR], &Setup::PLAIN, |bed, way| {
        let segment = |flags| way.segment(bed, flags);
        let ack = segment(Flags::ACK);
        let mut label = ack.clone().traffic_class(0xb9);
        label.flow_label = 0xa_bcde;
        let mut every_bit = ack.clone().traffic_class(0xff);
        every_bit.flow_label = 0xf_ffff;
        let fixtures = [
            way.fixture("a SYN is a new flow", bed, &segment(Flags::SYN))?,
            way.fixture("an ACK is not", bed, &ack)?,
            way.fixture("a payload", bed, &ack.clone().payload(b"GET / HTTP/1.1"))?,
            way.fixture("an odd payload", bed, &ack.clone().payload(b"odd"))?,
            way.fixture("a full packet", bed, &ack.clone().payload(&[0xa5; 1440]))?,
            way.fixture("a FIN", bed, &segment(Flags::FIN | Flags::ACK))?,
            way.fixture("a RST", bed, &segment(Flags::RST))?,
            way.fixture("no flag at all", bed, &segment(0))?,
            way.fixture("the last hop", bed, &ack.clone().ttl(2))?,
            way.fixture("the farthest", bed, &ack.ttl(255))?,
            way.fixture("traffic class and flow label stay", bed, &label)?,
            way.fixture("all of their bits", bed, &every_bit)?,
        ];
        check_all(bed, &fixtures)?;
        Ok(())
    })
}

#[test]
fn padding_is_kept_and_not_counted() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let segment = DNAT.segment(&bed, Flags::SYN);
    DNAT.fixture("padded", &bed, &segment)?
        .padded(&[0xee; 9])
        .check(&mut bed)
}

#[test]
fn checksums_stay_right_whatever_the_ports_and_bytes_are() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    // Walks through sums that carry once, twice and not at all.
    for step in 0..256_u16 {
        let payload = step.wrapping_mul(257).to_be_bytes();
        let mut segment = DNAT.segment(&bed, Flags::ACK).payload(&payload);
        segment.source.set_port(1 + step.wrapping_mul(251));
        DNAT.fixture("a walk over checksums", &bed, &segment)?
            .check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_datagrams_checksum_stays_right_and_never_becomes_none() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let mut all_ones = 0;
    // Two bytes of payload walk through every checksum, the one that comes out as zero, too.
    for payload in 0..=u16::MAX {
        let segment = DNAT.datagram(&bed, &payload.to_be_bytes());
        let out = DNAT.sent(&bed, &segment, Side::Back)?;
        if out[UDP_CHECKSUM..UDP_CHECKSUM + 2] == [0xff, 0xff] {
            all_ones += 1;
        } else if payload % 997 != 0 {
            continue;
        }
        DNAT.fixture("a walk over checksums", &bed, &segment)?
            .check(&mut bed)?;
    }
    assert_eq!(all_ones, 1);
    Ok(())
}

/// No sender may leave it out over IPv6 (RFC 8200, section 8.1) but for tunnels (RFC 6935); whether a
/// receiver takes it is the receiver's matter.
#[test]
fn a_datagram_without_a_checksum_stays_without() -> Result<()> {
    Way::each([DNAT, DSR], &Setup::PLAIN, |bed, way| {
        let datagram = way.datagram(bed, b"a question");
        way.fixture("no checksum", bed, &datagram)?
            .replaced(b"a question".len() + 2, &[0, 0])
            .check(bed)
    })
}

#[test]
fn every_port_of_the_vip_reaches_the_backend_as_it_is() -> Result<()> {
    let services = r#"
[[service]]
name = "everything"
listen = ["tcp://[fd77::80]:0"]
forward = "dsr"
[[service.backend]]
name = "t1"
address = "fd77:2::11"
[[service]]
name = "datagrams"
listen = ["udp://[fd77::80]:0"]
forward = "dsr"
[[service.backend]]
name = "u1"
address = "fd77:2::11"
"#;
    let Some(mut bed) = Bed::new(services)? else {
        return Ok(());
    };
    for port in [1, 22, 80, 65_535] {
        let mut segment = DSR.segment(&bed, Flags::SYN);
        segment.destination.set_port(port);
        let mut datagram = DSR.datagram(&bed, b"data");
        datagram.destination.set_port(port);
        let fixtures = [
            DSR.fixture("TCP", &bed, &segment)?,
            DSR.fixture("UDP", &bed, &datagram)?,
        ];
        check_all(&mut bed, &fixtures)?;
    }
    let mut other = DSR.segment(&bed, Flags::SYN);
    other.destination.set_ip("fd77::81".parse()?);
    Fixture::passed("another address", Side::Front, other.bytes()).check(&mut bed)
}

#[test]
fn a_backend_on_the_clients_side_is_reached_by_the_same_interface() -> Result<()> {
    let setup = Setup {
        backend: Side::Front,
        ..Setup::PLAIN
    };
    Way::each([DNAT, DSR], &setup, |bed, way| {
        let segment = way.segment(bed, Flags::SYN);
        let out = way.sent(bed, &segment, Side::Front)?;
        let sent_back = way.becomes("sent back", &segment, Outcome::Transmit, out);
        sent_back.check(bed)
    })
}

#[test]
fn a_source_that_no_client_can_have_is_a_martian() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let from = |source: &str| -> Result<Segment> {
        let mut segment = DNAT.segment(&bed, Flags::SYN);
        segment.source.set_ip(source.parse()?);
        Ok(segment)
    };
    let (mut martians, mut others) = (Vec::new(), Vec::new());
    for source in [
        "::",
        "::1",
        "::ffff:10.77.1.10",
        "::ffff:0:0",
        "fe80::1",
        "febf:ffff::1",
        "ff00::",
        "ff02::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fd77::80",
    ] {
        martians.push(Fixture::dropped(
            "a martian source",
            from(source)?.bytes(),
            DropReason::MartianSource,
        ));
    }
    for source in [
        "::2",
        "::fffe:10.77.1.10",
        "::1:ffff:10.77.1.10",
        "0:0:0:1::1",
        "2001:db8::1",
        "fe7f::1",
        "fec0::1",
        "feff::1",
        "fd77::81",
        "1::fd77:80",
    ] {
        others.push(DNAT.fixture("any other source", &bed, &from(source)?)?);
    }
    check_all(&mut bed, &martians)?;
    check_all(&mut bed, &others)
}

#[test]
fn what_no_client_has_reason_to_send_is_dropped() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let segment = |flags| DNAT.segment(&bed, flags);
    let fixtures = [
        Fixture::dropped(
            "SYN and FIN",
            segment(Flags::SYN | Flags::FIN).bytes(),
            DropReason::Malformed,
        ),
        Fixture::dropped(
            "SYN and RST",
            segment(Flags::SYN | Flags::RST).bytes(),
            DropReason::Malformed,
        ),
        Fixture::dropped(
            "hop limit 0",
            segment(Flags::ACK).ttl(0).bytes(),
            DropReason::TtlExpired,
        ),
        Fixture::dropped(
            "hop limit 1",
            segment(Flags::ACK).ttl(1).bytes(),
            DropReason::TtlExpired,
        ),
    ];
    let packet = segment(Flags::SYN).bytes();
    check_all(&mut bed, &fixtures)?;
    bed.set_health(Health::Down)?;
    Fixture::dropped("nobody alive", packet, DropReason::NoBackend).check(&mut bed)
}

#[test]
fn what_is_not_for_a_vip_passes() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let to = |destination: &str| {
        Segment::new("[fd77:1::10]:40000", destination, Flags::SYN)
            .link(CLIENT_MAC, bed.mac(Side::Front))
    };
    let fixtures = [
        ("this host", to("[fd77:1::1]:80")),
        ("another host", to("[2001:db8::9]:80")),
        ("another port of the VIP", to("[fd77::80]:81")),
        ("another half of the VIP", to("[fd77::1:0:0:80]:80")),
        ("the VIP's neighbour", to("[fd77::81]:80")),
        ("a backend by its own address", to("[fd77:2::11]:8080")),
        ("a multicast group", to("[ff02::1]:80")),
        ("expired, but not ours", to("[fd77:1::1]:80").ttl(1)),
    ]
    .map(|(name, segment)| Fixture::passed(name, Side::Front, segment.bytes()));
    check_all(&mut bed, &fixtures)
}

#[test]
fn a_family_that_no_service_listens_on_passes() -> Result<()> {
    let mapped = |vip: &str, client: &str, mac| {
        Segment::new(client, vip, Flags::SYN)
            .link(CLIENT_MAC, mac)
            .bytes()
    };
    let (v4, v6) = (
        ("10.77.0.80:80", "10.77.1.10:1"),
        ("[fd77::80]:80", "[fd77:1::10]:1"),
    );
    // An IPv4 address may not be mistaken for the IPv6 one that it is mapped to.
    let confusing = ("[::ffff:10.77.0.80]:80", "[2001:db8::1]:1");
    for (services, others) in [
        (WEB.to_owned(), &[v6, confusing][..]),
        (DNAT.services(), &[v4]),
        (WEB.to_owned() + &DSR.services(), &[confusing]),
    ] {
        let Some(mut bed) = Bed::new(&services)? else {
            return Ok(());
        };
        for (vip, client) in others {
            let packet = mapped(vip, client, bed.mac(Side::Front));
            Fixture::passed("another family", Side::Front, packet).check(&mut bed)?;
        }
    }
    Ok(())
}

#[test]
fn services_of_both_families_stand_side_by_side() -> Result<()> {
    let services = WEB.to_owned() + &DNAT.services();
    let Some(mut bed) = Bed::new(&services)? else {
        return Ok(());
    };
    let segment = DNAT.segment(&bed, Flags::SYN);
    DNAT.fixture("IPv6", &bed, &segment)?.check(&mut bed)?;

    let segment = Segment::new("10.77.1.10:40000", "10.77.0.80:80", Flags::SYN)
        .link(CLIENT_MAC, bed.mac(Side::Front));
    let mut out = segment
        .clone()
        .link(bed.mac(Side::Back), backend_mac(11))
        .ttl(63);
    out.destination = "10.77.2.11:8080".parse()?;
    let counted = BackendCounters {
        packets: 1,
        bytes: segment.ip_length(),
        new_flows: 1,
    };
    Fixture {
        name: "IPv4",
        from: Side::Front,
        packet: segment.bytes(),
        expect: Expect {
            outcome: Outcome::Redirect,
            frame: Some(out.bytes()),
            counted: Some(("b1", counted)),
        },
    }
    .check(&mut bed)
}

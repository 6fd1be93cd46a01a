//! An IPv6 backend's answer on its way back: the VIP's again, or left alone.

use anyhow::{Context as _, Result};
use lb_common::{abi::counters::DropReason, wire::tcp::Flags};
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, CLIENT_MAC, Extension, Fixture, Segment, Side, Way},
};

const DNAT: Way = Way {
    forward: Forward::Dnat,
    inner: Family::Ipv6,
    outer: Family::Ipv6,
};

/// Where the UDP checksum stands in a frame without extension headers.
const UDP_CHECKSUM: usize = 14 + 40 + 6;

fn answer(bed: &Bed, flags: u8) -> Segment {
    DNAT.answer(bed, Some(flags), b"")
}

fn dropped(name: &'static str, answer: &Segment, reason: DropReason) -> Fixture {
    Fixture::dropped(name, answer.bytes(), reason).coming_from(Side::Back)
}

#[test]
fn an_answer_leaves_with_the_vip_as_its_source() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let data = answer(&bed, Flags::ACK).payload(b"HTTP/1.1 200 OK\r\n\r\n");
    let mut label = data.clone().traffic_class(0xb9);
    label.flow_label = 0xa_bcde;
    let extensions = [
        Extension::sized(Extension::HOP_BY_HOP, 8),
        Extension::sized(Extension::DESTINATION, 40),
        Extension::fragment(0, false),
    ];
    let answers = [
        ("a SYN and ACK", answer(&bed, Flags::SYN | Flags::ACK)),
        ("a payload", data.clone()),
        ("a full packet", data.clone().payload(&[7; 1440])),
        ("a RST", answer(&bed, Flags::RST)),
        ("traffic class and flow label", label),
        ("extension headers", data.clone().extensions(&extensions)),
        ("the last hop", data.ttl(2)),
        ("a datagram", DNAT.answer(&bed, None, b"an answer")),
        ("an empty datagram", DNAT.answer(&bed, None, b"")),
    ];
    for (name, answer) in answers {
        DNAT.reply(name, &bed, &answer).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn an_answers_checksum_stays_right_and_never_becomes_none() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let mut all_ones = 0;
    for payload in 0..=u16::MAX {
        let answer = DNAT.answer(&bed, None, &payload.to_be_bytes());
        let fixture = DNAT.reply("a walk over checksums", &bed, &answer);
        let out = fixture.expect.frame.as_ref().context("a frame")?;
        if out[UDP_CHECKSUM..UDP_CHECKSUM + 2] == [0xff, 0xff] {
            all_ones += 1;
        } else if payload % 997 != 0 {
            continue;
        }
        fixture.check(&mut bed)?;
    }
    assert_eq!(all_ones, 1);
    let answer = DNAT.answer(&bed, None, b"an answer");
    DNAT.reply("no checksum", &bed, &answer)
        .replaced(b"an answer".len() + 2, &[0, 0])
        .check(&mut bed)
}

#[test]
fn what_is_no_answer_to_a_client_is_left_alone() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let data = answer(&bed, Flags::ACK).payload(&[0; 32]);
    let to = |address: &str| -> Result<Segment> {
        let mut answer = data.clone();
        answer.destination.set_ip(address.parse()?);
        Ok(answer)
    };
    let mut other_port = data.clone();
    other_port.source.set_port(22);
    let mut other_host = data.clone();
    other_host.source.set_ip("fd77:2::12".parse()?);
    let mut other_protocol = data.clone();
    other_protocol.flags = None;
    let first = data.clone().extensions(&[Extension::fragment(0, true)]);
    let fixtures = [
        ("a health check's answer", to("fd77:2::1")?),
        ("to this host's other address", to("fd77:1::1")?),
        ("no route", to("2001:db8::1")?),
        ("a multicast group", to("ff02::1")?),
        ("another port of the backend", other_port),
        ("another host", other_host),
        ("another protocol", other_protocol),
        ("a first fragment", first),
    ];
    for (name, segment) in fixtures {
        Fixture::passed(name, Side::Back, segment.bytes()).check(&mut bed)?;
    }
    let spoofed = data.link(CLIENT_MAC, bed.mac(Side::Front));
    Fixture::passed("from the clients' side", Side::Front, spoofed.bytes()).check(&mut bed)
}

#[test]
fn an_answer_at_its_last_hop_expires() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let expired = answer(&bed, Flags::ACK).ttl(1);
    dropped("expired", &expired, DropReason::TtlExpired).check(&mut bed)
}

#[test]
fn an_answer_larger_than_its_route_allows_is_dropped() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    bed.host().set_mtu("front", 1300)?;
    let fits = answer(&bed, Flags::ACK).payload(&[1; 1300 - 60]);
    DNAT.reply("1300 bytes into 1300", &bed, &fits)
        .check(&mut bed)?;
    let large = answer(&bed, Flags::ACK).payload(&[1; 1301 - 60]);
    dropped("1301 bytes into 1300", &large, DropReason::TooBig).check(&mut bed)
}

#[test]
fn an_answer_to_a_neighbour_not_yet_known_is_handed_to_the_daemon() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let mut punts = bed.dataplane().take_punts().context("given out once")?;
    let mut answer = answer(&bed, Flags::SYN | Flags::ACK);
    answer.destination.set_ip("fd77:1::77".parse()?);
    DNAT.punt("a new neighbour", &bed, &answer)
        .check(&mut bed)?;
    let punted = punts.next().context("one packet")?;
    let packet = DNAT.answered(&bed, &answer).packet();
    assert_eq!(&punted[..packet.len()], packet);
    Ok(())
}

//! IPv6 extension headers and fragments, and headers that contradict themselves.

use anyhow::Result;
use lb_common::{abi::counters::DropReason, wire::tcp::Flags};
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, Extension, Fixture, Segment, Side, Way},
};

const DNAT: Way = Way {
    forward: Forward::Dnat,
    inner: Family::Ipv6,
    outer: Family::Ipv6,
};

/// Where the payload length stands in a frame.
const PAYLOAD_LENGTH: usize = 14 + 4;
/// Where the next header does.
const NEXT_HEADER: usize = 14 + 6;
/// Where the first extension header begins, or what stands in its place.
const PAYLOAD: usize = 14 + 40;

fn sized(number: u8, length: usize) -> Extension {
    Extension::sized(number, length)
}

fn edited(mut frame: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A SYN and a datagram with these headers.
fn both(bed: &Bed, extensions: &[Extension]) -> [Segment; 2] {
    [
        DNAT.segment(bed, Flags::SYN).extensions(extensions),
        DNAT.datagram(bed, b"behind extension headers")
            .extensions(extensions),
    ]
}

#[test]
fn what_stands_before_the_transport_header_is_stepped_over() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let hop_by_hop = sized(Extension::HOP_BY_HOP, 8);
    let destination = sized(Extension::DESTINATION, 8);
    let routing = sized(Extension::ROUTING, 24);
    let atomic = Extension::fragment(0, false);
    let chains = [
        vec![hop_by_hop.clone()],
        vec![destination.clone()],
        vec![routing.clone()],
        // RFC 6946: no fragment at all.
        vec![atomic.clone()],
        // In the order of RFC 8200, section 4.1.
        vec![
            hop_by_hop.clone(),
            destination.clone(),
            routing.clone(),
            atomic.clone(),
            destination.clone(),
        ],
        vec![destination.clone(), routing.clone(), destination.clone()],
        vec![atomic, destination.clone()],
        vec![destination.clone(); 5],
        vec![sized(Extension::HOP_BY_HOP, 16), routing],
        vec![sized(Extension::HOP_BY_HOP, 264)],
        vec![sized(Extension::DESTINATION, 1024)],
        vec![hop_by_hop, sized(Extension::DESTINATION, 1400)],
    ];
    for chain in chains {
        for segment in both(&bed, &chain) {
            DNAT.fixture("extension headers", &bed, &segment)?
                .check(&mut bed)?;
        }
    }
    Ok(())
}

#[test]
fn the_longest_header_is_stepped_over() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let longest = sized(Extension::DESTINATION, 2048);
    for segment in both(&bed, &[longest]) {
        DNAT.fixture("2048 bytes", &bed, &segment)?
            .check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn what_is_not_known_or_too_much_passes() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let hop_by_hop = sized(Extension::HOP_BY_HOP, 8);
    let destination = sized(Extension::DESTINATION, 8);
    let other = |number| Extension {
        number,
        ..sized(Extension::DESTINATION, 8)
    };
    let atomic = Extension::fragment(0, false);
    let chains = [
        ("a sixth header", vec![destination.clone(); 6]),
        ("hop-by-hop twice", vec![hop_by_hop.clone(); 2]),
        (
            "hop-by-hop not first",
            vec![destination.clone(), hop_by_hop.clone()],
        ),
        ("two fragment headers", vec![atomic.clone(); 2]),
        (
            "another fragment header behind options",
            vec![atomic, destination, Extension::fragment(0, true)],
        ),
        ("encryption", vec![other(50)]),
        ("authentication", vec![other(51)]),
        ("mobility", vec![other(135)]),
        ("host identity", vec![hop_by_hop, other(139)]),
        ("shim6", vec![other(140)]),
    ];
    for (name, chain) in chains {
        for segment in both(&bed, &chain) {
            Fixture::passed(name, Side::Front, segment.bytes()).check(&mut bed)?;
        }
    }
    let plain = DNAT.segment(&bed, Flags::SYN).bytes();
    for (name, number) in [
        ("ICMPv6", 58),
        ("no next header", 59),
        ("IPv4 in IPv6", 4),
        ("IPv6 in IPv6", 41),
        ("SCTP", 132),
        ("an unknown protocol", 253),
    ] {
        let packet = edited(plain.clone(), NEXT_HEADER, &[number]);
        Fixture::passed(name, Side::Front, packet).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_first_fragment_for_a_vip_is_dropped_and_others_pass() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let destination = sized(Extension::DESTINATION, 16);
    let first = Extension::fragment(0, true);
    for chain in [
        vec![first.clone()],
        vec![sized(Extension::HOP_BY_HOP, 8), first.clone()],
        vec![first.clone(), destination.clone()],
    ] {
        for segment in both(&bed, &chain) {
            Fixture::dropped("a first fragment", segment.bytes(), DropReason::Fragment)
                .check(&mut bed)?;
            let mut other = segment.clone();
            other.destination.set_port(81);
            Fixture::passed("of another service", Side::Front, other.bytes()).check(&mut bed)?;
        }
    }
    for offset in [1, 0x1fff] {
        for more in [false, true] {
            let later = Extension::fragment(offset, more);
            for chain in [vec![later.clone()], vec![later, destination.clone()]] {
                for segment in both(&bed, &chain) {
                    Fixture::passed("a later fragment", Side::Front, segment.bytes())
                        .check(&mut bed)?;
                }
            }
        }
    }
    // Of a first fragment only the part that is there is judged.
    let tiny = DNAT
        .segment(&bed, Flags::SYN)
        .extensions(std::slice::from_ref(&first))
        .bytes();
    let tiny = edited(tiny, PAYLOAD_LENGTH, &[0, 8 + 19]);
    Fixture::passed("a tiny first fragment", Side::Front, tiny).check(&mut bed)?;
    let mut datagram = DNAT.datagram(&bed, &[7; 16]).extensions(&[first]).bytes();
    let length = PAYLOAD + 8 + 4;
    datagram[length..length + 2].copy_from_slice(&1000_u16.to_be_bytes());
    Fixture::dropped(
        "a datagram larger than its first fragment",
        datagram,
        DropReason::Fragment,
    )
    .check(&mut bed)?;

    let other = DNAT
        .segment(&bed, Flags::SYN)
        .extensions(&[Extension::fragment(0, true)])
        .bytes();
    let icmp = edited(other, PAYLOAD, &[58]);
    Fixture::passed("a first fragment of another protocol", Side::Front, icmp).check(&mut bed)
}

#[test]
fn a_later_fragment_passes_whatever_follows_its_header() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let later = DNAT
        .segment(&bed, Flags::ACK)
        .extensions(&[Extension::fragment(7, true)])
        .bytes();
    for next in [0, 6, 17, 43, 44, 50, 58, 59, 60, 255] {
        // What it announces may be the middle of anything: 0xff as a header's length lies.
        let packet = edited(later.clone(), PAYLOAD, &[next]);
        let packet = edited(packet, PAYLOAD + 8, &[44, 0xff]);
        Fixture::passed("a later fragment", Side::Front, packet).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn headers_that_contradict_themselves_are_malformed() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let ack = DNAT.segment(&bed, Flags::ACK).payload(b"12345678").bytes();
    let options = DNAT
        .segment(&bed, Flags::ACK)
        .extensions(&[sized(Extension::DESTINATION, 16)])
        .bytes();
    let fragment = DNAT
        .segment(&bed, Flags::ACK)
        .extensions(&[Extension::fragment(0, false)])
        .bytes();
    let payload =
        |frame: &[u8], length: u16| edited(frame.to_vec(), PAYLOAD_LENGTH, &length.to_be_bytes());
    let malformed = [
        ("nothing behind the link header", ack[..14].to_vec()),
        ("cut inside the IP header", ack[..PAYLOAD - 1].to_vec()),
        ("cut inside the TCP header", ack[..PAYLOAD + 19].to_vec()),
        ("cut inside the payload", ack[..ack.len() - 1].to_vec()),
        ("version 4", edited(ack.clone(), 14, &[0x45])),
        ("version 0", edited(ack.clone(), 14, &[0x00])),
        ("version 7", edited(ack.clone(), 14, &[0x70])),
        ("a payload length of 0", payload(&ack, 0)),
        ("no room for a TCP header", payload(&ack, 19)),
        ("a payload length beyond the frame", payload(&ack, 29)),
        ("the longest", payload(&ack, 0xffff)),
        ("options that end behind the payload", payload(&options, 15)),
        ("no room behind options", payload(&options, 16 + 19)),
        (
            "options that end behind the frame",
            edited(options.clone(), PAYLOAD + 1, &[0xff]),
        ),
        (
            "cut inside the options' first bytes",
            options[..PAYLOAD + 1].to_vec(),
        ),
        ("cut inside the options", options[..PAYLOAD + 15].to_vec()),
        (
            "options that eat the transport header",
            edited(options, PAYLOAD + 1, &[2]),
        ),
        (
            "a fragment header behind the payload",
            payload(&fragment, 7),
        ),
        (
            "cut inside the fragment header",
            fragment[..PAYLOAD + 7].to_vec(),
        ),
    ];
    for (name, packet) in malformed {
        Fixture::dropped(name, packet, DropReason::Malformed).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_datagram_that_lies_about_its_length_is_malformed() -> Result<()> {
    let Some(mut bed) = Bed::new(&DNAT.services())? else {
        return Ok(());
    };
    let options = sized(Extension::DESTINATION, 8);
    for chain in [vec![], vec![options]] {
        let behind = 8 * chain.len();
        let datagram = DNAT.datagram(&bed, b"a question").extensions(&chain);
        let frame = datagram.bytes();
        for length in [0, 7, 19, 0xffff_u16] {
            let packet = edited(frame.clone(), PAYLOAD + behind + 4, &length.to_be_bytes());
            Fixture::dropped("a lying length", packet, DropReason::Malformed).check(&mut bed)?;
        }
        // Shorter than its packet: what is behind it belongs to nobody, and the checksum is kept right.
        DNAT.fixture("shorter than its packet", &bed, &datagram)?
            .replaced(b"a question".len() + 4, &8_u16.to_be_bytes())
            .check(&mut bed)?;
    }
    Ok(())
}

//! The backend's side of tunnels, packet by packet: what contradicts itself is dropped.

use anyhow::Result;
use lb_common::abi::decap::DecapCounter;
use testbed::packets::{
    DecapBed,
    tunnel::{Encapsulation, around, datagram, with},
};

const LISTED: [&str; 2] = ["10.77.2.1", "fd77:2::1"];

const V4: (&str, &str) = ("192.0.2.7:40000", "203.0.113.80:53");
const V6: (&str, &str) = ("[2001:db8::7]:40000", "[2001:db8:80::1]:53");

#[test]
fn a_frame_cut_anywhere_is_dropped_once_its_source_is_known() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    for inner in [
        datagram(V4.0, V4.1, 0, b"question"),
        datagram(V6.0, V6.1, 0, b"question"),
    ] {
        for tags in 0..3 {
            for (name, mut tunnel) in around(&inner) {
                tunnel.tags = vec![[0x8100, 7]; tags];
                let frame = tunnel.bytes();
                // GUE is known by the first byte of the packet in it.
                let known = match tunnel.encapsulation {
                    Encapsulation::Ipip => tunnel.link_length() + tunnel.outer_length(),
                    Encapsulation::Gue => tunnel.link_length() + tunnel.outer_length() + 1,
                };
                for length in 14..frame.len() {
                    let counter = match length < known {
                        true => DecapCounter::NotATunnel,
                        false => DecapCounter::Malformed,
                    };
                    let name = format!("{name}, {tags} tags, {length} bytes");
                    bed.check_untouched(&name, &frame[..length], counter)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn outer_lengths_that_lie_are_dropped() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    let inner = datagram(V4.0, V4.1, 0, b"question");
    for (name, tunnel) in around(&inner) {
        let frame = tunnel.bytes();
        let (at, of_ip) = match tunnel.source.is_ipv4() {
            true => (16, frame.len() - 14),
            false => (18, frame.len() - 54),
        };
        for (length, counter) in [
            (of_ip + 1, DecapCounter::Malformed),
            (0xffff, DecapCounter::Malformed),
            (of_ip - 1, DecapCounter::InnerMalformed),
        ] {
            // What the inner packet lacks, GUE's own length has too much of.
            let counter = match (counter, tunnel.encapsulation) {
                (DecapCounter::InnerMalformed, Encapsulation::Gue) => DecapCounter::Malformed,
                (counter, _) => counter,
            };
            let lying = with(&frame, at, &u16::try_from(length)?.to_be_bytes());
            bed.check_untouched(&format!("{name}: {length}"), &lying, counter)?;
        }
    }
    for (name, tunnel) in around(&inner) {
        if tunnel.source.is_ipv4() {
            continue;
        }
        // A jumbogram's length, RFC 2675.
        let counter = match tunnel.encapsulation {
            Encapsulation::Ipip => DecapCounter::InnerMalformed,
            Encapsulation::Gue => DecapCounter::Malformed,
        };
        bed.check_untouched(name, &with(&tunnel.bytes(), 18, &[0, 0]), counter)?;
    }
    Ok(())
}

#[test]
fn udp_lengths_that_lie_are_dropped() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    let inner = datagram(V4.0, V4.1, 0, b"question");
    for (name, tunnel) in around(&inner) {
        if tunnel.encapsulation == Encapsulation::Ipip {
            continue;
        }
        let frame = tunnel.bytes();
        let at = frame.len() - inner.len() - 4;
        let of_udp = u16::try_from(8 + inner.len())?;
        for (length, counter) in [
            (0, DecapCounter::Malformed),
            (7, DecapCounter::Malformed),
            (of_udp + 1, DecapCounter::Malformed),
            (0xffff, DecapCounter::Malformed),
            (8, DecapCounter::InnerMalformed),
            (27, DecapCounter::InnerMalformed),
            (of_udp - 1, DecapCounter::InnerMalformed),
        ] {
            let lying = with(&frame, at, &length.to_be_bytes());
            bed.check_untouched(&format!("{name}: {length}"), &lying, counter)?;
        }
        // Its checksum is not looked at.
        let expected = tunnel.taken_off();
        let checked = with(&frame, at + 2, &[0x12, 0x34]);
        bed.check(name, &checked, DecapCounter::GueIpv4, &expected)?;
    }
    Ok(())
}

#[test]
fn inner_headers_that_lie_are_dropped() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    let (v4, v6) = (
        datagram(V4.0, V4.1, 0, b"question"),
        datagram(V6.0, V6.1, 0, b"question"),
    );
    let total = u16::try_from(v4.len())?;
    let payload = u16::try_from(v6.len() - 40)?;
    let mut cases = vec![
        ("a header of 16 bytes", with(&v4, 0, &[0x44])),
        ("a header of none", with(&v4, 0, &[0x40])),
        ("a header beyond the packet", with(&v4, 0, &[0x4f])),
        ("a total length below the header's", with(&v4, 2, &[0, 19])),
        ("a total length of none", with(&v4, 2, &[0, 0])),
        (
            "one byte too long",
            with(&v4, 2, &(total + 1).to_be_bytes()),
        ),
        ("65535 bytes", with(&v4, 2, &[0xff; 2])),
        (
            "one byte too long, IPv6",
            with(&v6, 4, &(payload + 1).to_be_bytes()),
        ),
        ("65535 bytes, IPv6", with(&v6, 4, &[0xff; 2])),
    ];
    for length in [1, 19] {
        cases.push(("cut off within its header", v4[..length].to_vec()));
    }
    for length in [1, 39] {
        cases.push(("cut off within its header, IPv6", v6[..length].to_vec()));
    }
    for (name, inner) in cases {
        for (kind, tunnel) in around(&inner) {
            let name = format!("{name}, {kind}");
            bed.check_untouched(&name, &tunnel.bytes(), DecapCounter::InnerMalformed)?;
            // With bytes behind it that are no part of the outer packet.
            let padded = [tunnel.bytes(), vec![0; 60]].concat();
            bed.check_untouched(&name, &padded, DecapCounter::InnerMalformed)?;
        }
    }
    // A protocol number that announces another version.
    for (name, tunnel) in around(&v4).into_iter().chain(around(&v6)) {
        if tunnel.encapsulation == Encapsulation::Gue {
            continue;
        }
        let frame = tunnel.bytes();
        let at = if tunnel.source.is_ipv4() { 23 } else { 20 };
        let other = if frame[at] == 4 { 41 } else { 4 };
        let lying = with(&frame, at, &[other]);
        bed.check_untouched(name, &lying, DecapCounter::InnerMalformed)?;
    }
    Ok(())
}

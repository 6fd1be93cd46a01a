//! The backend's side of tunnels, packet by packet: what is taken off, and how the packet is then.

use anyhow::Result;
use lb_common::abi::decap::DecapCounter;
use lb_userspace::dataplane::DecapProgram;
use testbed::packets::{
    DecapBed,
    tunnel::{Encapsulation, Tunnel, around, datagram, syn},
};

const SOURCES: [&str; 2] = ["10.77.2.1", "fd77:2::/64"];

/// Ends of the inner packet, in either family.
const INNER: [(&str, &str); 2] = [
    ("192.0.2.7:40000", "203.0.113.80:53"),
    ("[2001:db8::7]:40000", "[2001:db8:80::1]:53"),
];

/// Where tags may be: none, one, a service's and a customer's.
const TAGS: [&[[u16; 2]]; 3] = [
    &[],
    &[[0x8100, 0x6007]],
    &[[0x88a8, 0x2064], [0x8100, 0x0fff]],
];

fn counter(kind: Encapsulation, inner: &[u8]) -> DecapCounter {
    match (kind, inner[0] >> 4) {
        (Encapsulation::Ipip, 4) => DecapCounter::IpipIpv4,
        (Encapsulation::Ipip, _) => DecapCounter::IpipIpv6,
        (Encapsulation::Gue, 4) => DecapCounter::GueIpv4,
        (Encapsulation::Gue, _) => DecapCounter::GueIpv6,
    }
}

/// What `inner` makes for ends of either family, in every kind of tunnel.
fn all_tunnels(inner: impl Fn(&str, &str) -> Vec<u8>) -> Vec<Tunnel> {
    let inner = INNER.map(|(from, to)| inner(from, to));
    let tunnels = inner.iter().flat_map(|inner| around(inner));
    tunnels.map(|(_, tunnel)| tunnel).collect()
}

fn is_taken_off(bed: &mut DecapBed, name: &str, tunnel: &Tunnel) -> Result<()> {
    let counter = counter(tunnel.encapsulation, &tunnel.inner);
    let name = format!("{name}: {tunnel:?}");
    bed.check(&name, &tunnel.bytes(), counter, &tunnel.taken_off())
}

#[test]
fn every_kind_of_tunnel_is_taken_off_and_tags_stay() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&SOURCES)? else {
        return Ok(());
    };
    for tags in TAGS {
        for length in [0, 1, 17, 1200] {
            let payload = vec![0xa5; length];
            for mut tunnel in all_tunnels(|from, to| datagram(from, to, 0, &payload)) {
                tunnel.tags = tags.to_vec();
                is_taken_off(&mut bed, "a datagram", &tunnel)?;
            }
        }
        for mut tunnel in all_tunnels(syn) {
            tunnel.tags = tags.to_vec();
            is_taken_off(&mut bed, "a segment", &tunnel)?;
        }
    }
    Ok(())
}

#[test]
fn options_of_the_outer_header_are_taken_off_with_it() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&SOURCES)? else {
        return Ok(());
    };
    for words in 1..=10 {
        for mut tunnel in all_tunnels(syn) {
            if tunnel.source.is_ipv4() {
                // No operation, as often as it fits.
                tunnel.options = vec![1; 4 * words];
                is_taken_off(&mut bed, "options", &tunnel)?;
            }
        }
    }
    Ok(())
}

#[test]
fn inner_options_and_what_the_kernel_judges_are_left_to_it() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&SOURCES)? else {
        return Ok(());
    };
    let (from, to) = INNER[0];
    let plain = datagram(from, to, 0, b"question");
    let mut cases = Vec::new();
    for (at, value, name) in [
        (8, 0, "an inner time to live of 0"),
        (9, 132, "a protocol that is no matter of the tunnel's"),
        (10, 0xee, "a wrong inner checksum"),
        (6, 0x20, "an inner fragment"),
        (12, 127, "an inner source that is the host's own"),
    ] {
        let mut inner = plain.clone();
        inner[at] = value;
        cases.push((name, inner));
    }
    let mut options = plain.clone();
    options[0] = 0x4f;
    options[3] += 40;
    options.splice(20..20, [1; 40]);
    cases.push(("inner options", options));
    let mut nothing = plain[..20].to_vec();
    nothing[3] = 20;
    cases.push(("nothing but a header", nothing));
    for (name, inner) in cases {
        for (_, tunnel) in around(&inner) {
            is_taken_off(&mut bed, name, &tunnel)?;
        }
    }
    Ok(())
}

#[test]
fn one_tunnel_is_taken_off_and_the_one_within_stays() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&SOURCES)? else {
        return Ok(());
    };
    for within in all_tunnels(syn) {
        let within = &within.bytes()[14..];
        for (name, tunnel) in around(within) {
            is_taken_off(&mut bed, name, &tunnel)?;
        }
    }
    Ok(())
}

/// RFC 6040, section 4.2: inner field, outer field, what the inner packet gets; `None`: it is dropped.
const ECN: [(u8, u8, Option<u8>); 16] = {
    const NOT_ECT: u8 = 0b00;
    const ECT_1: u8 = 0b01;
    const ECT_0: u8 = 0b10;
    const CE: u8 = 0b11;
    [
        (NOT_ECT, NOT_ECT, Some(NOT_ECT)),
        (NOT_ECT, ECT_0, Some(NOT_ECT)),
        (NOT_ECT, ECT_1, Some(NOT_ECT)),
        (NOT_ECT, CE, None),
        (ECT_0, NOT_ECT, Some(ECT_0)),
        (ECT_0, ECT_0, Some(ECT_0)),
        (ECT_0, ECT_1, Some(ECT_1)),
        (ECT_0, CE, Some(CE)),
        (ECT_1, NOT_ECT, Some(ECT_1)),
        (ECT_1, ECT_0, Some(ECT_1)),
        (ECT_1, ECT_1, Some(ECT_1)),
        (ECT_1, CE, Some(CE)),
        (CE, NOT_ECT, Some(CE)),
        (CE, ECT_0, Some(CE)),
        (CE, ECT_1, Some(CE)),
        (CE, CE, Some(CE)),
    ]
};

#[test]
fn congestion_marks_come_out_as_rfc_6040_has_it() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&SOURCES)? else {
        return Ok(());
    };
    // The DSCP of the inner packet stays, whatever the outer one's is.
    let (dscp, outer_dscp) = (0b1011_1000, 0b0010_1000);
    for (inner, outer, after) in ECN {
        let name = format!("{inner:02b} within {outer:02b}");
        for (from, to) in INNER {
            let of_class = |ecn: u8| datagram(from, to, dscp | ecn, b"question");
            let inner = of_class(inner);
            for (kind, mut tunnel) in around(&inner) {
                tunnel.traffic_class = outer_dscp | outer;
                let (counter, expected) = match after {
                    // With the header checksum computed in full.
                    Some(after) => (counter(tunnel.encapsulation, &inner), of_class(after)),
                    None => (DecapCounter::Ecn, inner.clone()),
                };
                let expected = tunnel.with_inner(&expected);
                bed.check(
                    &format!("{name}, {kind}"),
                    &tunnel.bytes(),
                    counter,
                    &expected,
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn bytes_behind_the_inner_packet_stay_behind_it() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&SOURCES)? else {
        return Ok(());
    };
    for tunnel in all_tunnels(syn) {
        // Within the outer packet.
        let mut within = tunnel.clone();
        within.inner.extend([0xcc; 5]);
        is_taken_off(&mut bed, "trailing bytes", &within)?;
        // Behind it, as Ethernet pads short frames.
        let mut frame = tunnel.bytes();
        frame.extend([0; 9]);
        let mut expected = tunnel.taken_off();
        expected.extend([0; 9]);
        let counter = counter(tunnel.encapsulation, &tunnel.inner);
        bed.check("padding", &frame, counter, &expected)?;
    }
    Ok(())
}

#[test]
fn frames_in_several_buffers_are_taken_off_whole() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&SOURCES)? else {
        return Ok(());
    };
    for length in [4_000, 8_900, 30_000] {
        let payload: Vec<_> = (0..length).map(|n: u32| n as u8).collect();
        for tags in TAGS {
            for mut tunnel in all_tunnels(|from, to| datagram(from, to, 0, &payload)) {
                tunnel.tags = tags.to_vec();
                let counter = counter(tunnel.encapsulation, &tunnel.inner);
                let (frame, expected) = (tunnel.bytes(), tunnel.taken_off());
                let name = format!("{length} bytes");
                bed.check_with(DecapProgram::Frags, &name, &frame, counter, &expected)?;

                // One byte of the last buffer is missing.
                let cut = &frame[..frame.len() - 1];
                let malformed = DecapCounter::Malformed;
                bed.check_with(DecapProgram::Frags, &name, cut, malformed, cut)?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_programs_stay_far_from_the_kernels_limits() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&SOURCES)? else {
        return Ok(());
    };
    for which in [DecapProgram::Plain, DecapProgram::Frags] {
        let info = bed.info(which)?;
        // A million is the limit; the next kernel's verifier may need more for the same program.
        let verified = info.verified_instruction_count();
        eprintln!(
            "{which:?} {verified:?} {:?} {}",
            info.size_translated(),
            info.size_jitted()
        );
        assert!(
            verified.is_some_and(|count| count < 100_000),
            "{which:?}: {verified:?}"
        );
    }
    Ok(())
}

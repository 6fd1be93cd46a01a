//! The backend's side of tunnels, packet by packet: whose packets are left to the kernel, and which.

use anyhow::Result;
use lb_common::abi::decap::DecapCounter;
use testbed::packets::{
    DecapBed, Segment,
    tunnel::{Encapsulation, GUE_PORT, Tunnel, around, syn, with},
};

const LISTED: [&str; 5] = [
    "10.77.2.1",
    "10.64.0.0/15",
    "192.0.2.128/25",
    "fd77:2::1",
    "fd64::/17",
];

/// A packet that somebody else has put into a tunnel.
fn inner() -> Vec<u8> {
    syn("192.0.2.7:40000", "203.0.113.80:53")
}

#[test]
fn tunnels_of_others_are_left_to_the_kernel() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    let inner = inner();
    for (source, listed) in [
        ("10.77.2.1", true),
        ("10.77.2.0", false),
        ("10.77.2.2", false),
        ("10.64.0.0", true),
        ("10.65.255.255", true),
        ("10.63.255.255", false),
        ("10.66.0.0", false),
        ("192.0.2.128", true),
        ("192.0.2.127", false),
        ("1.2.77.10", false),
        ("fd77:2::1", true),
        ("fd77:2::2", false),
        ("fd77:3::1", false),
        ("fd64::", true),
        ("fd64:7fff:ffff::ffff", true),
        ("fd64:8000::", false),
        ("::10.77.2.1", false),
    ] {
        let to = if source.contains(':') {
            "fd77:2::11"
        } else {
            "10.77.2.11"
        };
        for (kind, counter) in [
            (Encapsulation::Ipip, DecapCounter::IpipIpv4),
            (Encapsulation::Gue, DecapCounter::GueIpv4),
        ] {
            let tunnel = Tunnel::new(source, to, kind, &inner);
            let frame = tunnel.bytes();
            if listed {
                bed.check(source, &frame, counter, &tunnel.taken_off())?;
            } else {
                bed.check_untouched(source, &frame, DecapCounter::RefusedSource)?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_malformed_is_the_kernels_where_its_source_is_not_listed() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    for source in ["10.77.2.2", "fd77:2::2"] {
        let to = if source.contains(':') {
            "fd77:2::11"
        } else {
            "10.77.2.11"
        };
        let tunnel = Tunnel::new(source, to, Encapsulation::Ipip, &[0x45; 3]);
        bed.check_untouched(source, &tunnel.bytes(), DecapCounter::RefusedSource)?;
        let frame = tunnel.bytes();
        let cut = &frame[..frame.len() - 1];
        bed.check_untouched(source, cut, DecapCounter::RefusedSource)?;
    }
    Ok(())
}

#[test]
fn an_empty_list_of_a_family_has_nobody() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&["fd77:2::1"])? else {
        return Ok(());
    };
    for (name, tunnel) in around(&inner()) {
        if tunnel.source.is_ipv6() {
            continue;
        }
        bed.check_untouched(name, &tunnel.bytes(), DecapCounter::RefusedSource)?;
    }
    Ok(())
}

#[test]
fn what_is_no_tunnel_is_left_to_the_kernel() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    let link = |segment: Segment| segment.link([2; 6], [4; 6]).bytes();
    let (tcp, udp) = ("10.77.2.1:80", "10.77.2.1:53");
    let mut cases = vec![
        ("TCP", link(Segment::new(tcp, "10.77.2.11:6080", 2))),
        (
            "UDP",
            link(Segment::datagram(udp, "10.77.2.11:53", b"\x45 answer")),
        ),
        ("ARP", [&[0xff; 12][..], &[8, 6], &[0; 46]].concat()),
        ("nothing but Ethernet", vec![0; 14]),
    ];
    let gue = Tunnel::new("10.77.2.1", "10.77.2.11", Encapsulation::Gue, &inner());
    for nibble in [0, 1, 2, 3, 5, 7, 8, 15] {
        // Variant 0 has a header of its own, and there are no others.
        let frame = with(&gue.bytes(), 42, &[nibble << 4 | 5]);
        cases.push(("another variant of GUE", frame));
    }
    let other_port = Tunnel {
        port: GUE_PORT + 1,
        ..gue.clone()
    };
    cases.push(("another port", other_port.bytes()));
    let empty = Tunnel {
        inner: Vec::new(),
        ..gue.clone()
    };
    cases.push(("an empty datagram", empty.bytes()));
    let mut tagged = gue.clone();
    tagged.tags = vec![[0x88a8, 1], [0x8100, 2], [0x8100, 3]];
    cases.push(("three tags", tagged.bytes()));
    for (protocol, name) in [
        (47, "GRE"),
        (50, "ESP"),
        (1, "ICMP"),
        (0, "protocol 0"),
        (255, "255"),
    ] {
        cases.push((name, with(&gue.bytes(), 23, &[protocol])));
    }
    for (at, byte, name) in [
        (14, 0x55, "IP version 5"),
        (14, 0x44, "a header of 16 bytes"),
        (14, 0x65, "version 6 behind IPv4's EtherType"),
    ] {
        cases.push((name, with(&gue.bytes(), at, &[byte])));
    }
    cases.push((
        "a total length below the header's",
        with(&gue.bytes(), 16, &[0, 19]),
    ));
    let gue6 = Tunnel::new("fd77:2::1", "fd77:2::11", Encapsulation::Gue, &inner());
    for (at, byte, name) in [
        (14, 0x40, "version 4 behind IPv6's EtherType"),
        (20, 58, "ICMPv6"),
        (20, 59, "no next header"),
        (20, 51, "an authentication header"),
    ] {
        cases.push((name, with(&gue6.bytes(), at, &[byte])));
    }
    for (name, frame) in cases {
        bed.check_untouched(name, &frame, DecapCounter::NotATunnel)?;
    }
    Ok(())
}

#[test]
fn fragments_of_tunnels_are_left_to_the_kernel() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    let inner = inner();
    for (name, tunnel) in around(&inner) {
        if tunnel.source.is_ipv6() {
            continue;
        }
        let refused = Tunnel {
            source: [10, 77, 2, 2].into(),
            ..tunnel.clone()
        };
        for (field, later) in [([0x20, 0], false), ([0x20, 3], true), ([0, 3], true)] {
            let name = format!("{name}, {field:?}");
            let frame = with(&tunnel.bytes(), 20, &field);
            bed.check_untouched(&name, &frame, DecapCounter::Fragment)?;
            // A later one of UDP may be of anything.
            let unknown = later && tunnel.encapsulation == Encapsulation::Gue;
            let counter = match unknown {
                true => DecapCounter::NotATunnel,
                false => DecapCounter::RefusedSource,
            };
            bed.check_untouched(&name, &with(&refused.bytes(), 20, &field), counter)?;
        }
        // Neither of the other two flags makes a fragment.
        let whole = with(&tunnel.bytes(), 20, &[0x80, 0]);
        let counter = match tunnel.encapsulation {
            Encapsulation::Ipip => DecapCounter::IpipIpv4,
            Encapsulation::Gue => DecapCounter::GueIpv4,
        };
        bed.check(name, &whole, counter, &tunnel.taken_off())?;
    }
    let other = Tunnel {
        port: 53,
        ..Tunnel::new("10.77.2.1", "10.77.2.11", Encapsulation::Gue, &inner)
    };
    let first = with(&other.bytes(), 20, &[0x20, 0]);
    bed.check_untouched(
        "a first fragment to another port",
        &first,
        DecapCounter::NotATunnel,
    )
}

#[test]
fn ipv6_extension_headers_are_left_to_the_kernel() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&LISTED)? else {
        return Ok(());
    };
    for (next, counter) in [
        (0, DecapCounter::ExtensionHeader),
        (43, DecapCounter::ExtensionHeader),
        (60, DecapCounter::ExtensionHeader),
        (44, DecapCounter::Fragment),
    ] {
        // Eight bytes of it, then IP in IP: RFC 2473's limit of encapsulations looks like this.
        let inner = [&[4, 0, 4, 1, 4, 1, 0, 0][..], &inner()].concat();
        for (name, tunnel) in around(&inner) {
            if tunnel.source.is_ipv4() {
                continue;
            }
            let frame = with(&tunnel.bytes(), 20, &[next]);
            bed.check_untouched(name, &frame, counter)?;
            let refused = Tunnel {
                source: "fd77:2::2".parse()?,
                ..tunnel
            };
            let frame = with(&refused.bytes(), 20, &[next]);
            bed.check_untouched(name, &frame, DecapCounter::NotATunnel)?;
        }
    }
    Ok(())
}

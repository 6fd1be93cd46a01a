//! What is not for a VIP passes, byte for byte.

use anyhow::Result;
use lb_common::wire::tcp::Flags;
use testbed::packets::{Bed, CLIENT_MAC, Expect, Fixture, Outcome, Segment, Side, WEB};

fn passes(name: &'static str, packet: Vec<u8>) -> Fixture {
    Fixture {
        name,
        from: Side::Front,
        packet,
        expect: Expect::untouched(Outcome::Pass),
    }
}

fn edited(mut frame: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

#[test]
fn other_addresses_and_ports_pass() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let to = |destination| {
        Segment::new("10.77.1.10:40000", destination, Flags::SYN)
            .link(CLIENT_MAC, bed.mac(Side::Front))
            .bytes()
    };
    let fixtures = [
        passes("this host", to("10.77.1.1:80")),
        passes("another host", to("203.0.113.9:80")),
        passes("another port of the VIP", to("10.77.0.80:81")),
        passes("the VIP's neighbour", to("10.77.0.81:80")),
        passes("a backend by its own address", to("10.77.2.11:8080")),
        passes(
            "expired, but not ours",
            edited(to("10.77.1.1:80"), 22, &[1]),
        ),
        passes(
            "SYN and FIN, but not ours",
            edited(to("10.77.1.1:80"), 47, &[3]),
        ),
    ];
    fixtures
        .iter()
        .try_for_each(|fixture| fixture.check(&mut bed))
}

#[test]
fn other_protocols_pass_even_to_the_vip() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let tcp = Segment::new("10.77.1.10:40000", "10.77.0.80:80", Flags::SYN)
        .link(CLIENT_MAC, bed.mac(Side::Front))
        .payload(&[0; 16])
        .bytes();
    let fixtures = [
        passes(
            "UDP, which no service listens on",
            edited(tcp.clone(), 23, &[17]),
        ),
        passes("ICMP", edited(tcp.clone(), 23, &[1])),
        passes("a later fragment", edited(tcp.clone(), 20, &[0, 3])),
        passes(
            "a tiny first fragment",
            edited(edited(tcp.clone(), 20, &[0x20]), 16, &[0, 28]),
        ),
        passes("ARP", edited(tcp.clone(), 12, &[0x08, 0x06])),
        passes("IPv6", edited(tcp.clone(), 12, &[0x86, 0xdd])),
        passes("a VLAN tag", edited(tcp.clone(), 12, &[0x81, 0x00])),
        passes(
            "an unknown ether type",
            edited(tcp.clone(), 12, &[0x12, 0x34]),
        ),
        passes(
            "a bare Ethernet header",
            edited(tcp, 12, &[0x08, 0x06])[..14].to_vec(),
        ),
    ];
    fixtures
        .iter()
        .try_for_each(|fixture| fixture.check(&mut bed))
}

#[test]
fn without_services_everything_passes() -> Result<()> {
    let Some(mut bed) = Bed::new("")? else {
        return Ok(());
    };
    for side in [Side::Front, Side::Back] {
        let packet = Segment::new("10.77.1.10:40000", "10.77.0.80:80", Flags::SYN)
            .link(CLIENT_MAC, bed.mac(side))
            .bytes();
        let expect = Expect::untouched(Outcome::Pass);
        Fixture {
            name: "no service",
            from: side,
            packet,
            expect,
        }
        .check(&mut bed)?;
    }
    Ok(())
}

//! What is dropped, and the reason that each drop is counted under.

use std::collections::BTreeSet;

use anyhow::Result;
use lb_common::{
    abi::{backend::NextHop, counters::DropReason},
    wire::tcp::Flags,
};
use lb_userspace::model::Health;
use testbed::packets::{
    Bed, CLIENT_MAC, Expect, Fixture, Outcome, Segment, Side, WEB, backend_mac,
};

fn segment(bed: &Bed, flags: u8) -> Segment {
    Segment::new("10.77.1.10:40000", "10.77.0.80:80", flags).link(CLIENT_MAC, bed.mac(Side::Front))
}

fn dropped(name: &'static str, packet: Vec<u8>, reason: DropReason) -> Fixture {
    let expect = Expect::untouched(Outcome::Drop(reason));
    Fixture {
        name,
        from: Side::Front,
        packet,
        expect,
    }
}

/// The frame with some bytes replaced, checksums left as they were.
fn edited(mut frame: Vec<u8>, edits: &[(usize, u8)]) -> Vec<u8> {
    for (offset, byte) in edits {
        frame[*offset] = *byte;
    }
    frame
}

#[test]
fn headers_that_contradict_themselves_are_malformed() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let ack = segment(&bed, Flags::ACK).payload(b"12345678").bytes();
    let malformed = |name, packet| dropped(name, packet, DropReason::Malformed);
    let fixtures = [
        malformed("cut inside the IP header", ack[..30].to_vec()),
        malformed("cut inside the TCP header", ack[..50].to_vec()),
        malformed("cut inside the payload", ack[..ack.len() - 1].to_vec()),
        malformed("a header length of 16", edited(ack.clone(), &[(14, 0x44)])),
        malformed(
            "options beyond the packet",
            edited(ack.clone(), &[(14, 0x4f)]),
        ),
        malformed(
            "IP version 6 in an IPv4 frame",
            edited(ack.clone(), &[(14, 0x65)]),
        ),
        malformed(
            "a total length below the header's",
            edited(ack.clone(), &[(16, 0), (17, 19)]),
        ),
        malformed(
            "no room for a TCP header",
            edited(ack.clone(), &[(16, 0), (17, 39)]),
        ),
        malformed(
            "a total length beyond the frame",
            edited(ack, &[(16, 5), (17, 220)]),
        ),
        malformed(
            "SYN and FIN",
            segment(&bed, Flags::SYN | Flags::FIN).bytes(),
        ),
        malformed(
            "SYN and RST",
            segment(&bed, Flags::SYN | Flags::RST).bytes(),
        ),
        malformed("everything", segment(&bed, 0x17).bytes()),
    ];
    fixtures
        .iter()
        .try_for_each(|fixture| fixture.check(&mut bed))
}

#[test]
fn a_source_that_no_client_can_have_is_a_martian() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    for source in [
        "127.0.0.1:1",
        "0.0.0.0:1",
        "0.1.2.3:1",
        "224.0.0.1:1",
        "240.0.0.1:1",
        "255.255.255.255:1",
    ] {
        let packet = Segment::new(source, "10.77.0.80:80", Flags::SYN)
            .link(CLIENT_MAC, bed.mac(Side::Front))
            .bytes();
        dropped("a martian source", packet, DropReason::MartianSource).check(&mut bed)?;
    }
    let land = Segment::new("10.77.0.80:80", "10.77.0.80:80", Flags::SYN)
        .link(CLIENT_MAC, bed.mac(Side::Front))
        .bytes();
    dropped("the VIP itself", land, DropReason::MartianSource).check(&mut bed)
}

#[test]
fn a_packet_at_its_last_hop_expires() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    for ttl in [0, 1] {
        let packet = segment(&bed, Flags::ACK).ttl(ttl).bytes();
        dropped("expired", packet, DropReason::TtlExpired).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_first_fragment_for_a_vip_is_dropped() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let first = edited(
        segment(&bed, Flags::ACK).payload(&[0; 24]).bytes(),
        &[(20, 0x20)],
    );
    dropped("the first fragment", first, DropReason::Fragment).check(&mut bed)
}

#[test]
fn without_a_living_backend_packets_are_dropped_until_one_is_back() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let packet = segment(&bed, Flags::SYN).bytes();
    bed.set_health(Health::Down)?;
    dropped("nobody alive", packet.clone(), DropReason::NoBackend).check(&mut bed)?;
    bed.set_health(Health::Up)?;
    assert_eq!(bed.run(Side::Front, &packet)?.backends["b1"].packets, 1);
    Ok(())
}

#[test]
fn a_service_whose_backends_were_never_well_drops() -> Result<()> {
    let none = "[[service]]\nname = \"web\"\nlisten = [\"tcp://10.77.0.80:80\"]\n";
    let Some(mut bed) = Bed::new(none)? else {
        return Ok(());
    };
    let packet = segment(&bed, Flags::SYN).bytes();
    dropped("no backend configured", packet, DropReason::NoBackend).check(&mut bed)
}

#[test]
fn a_next_hop_that_leads_nowhere_is_told_apart() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let packet = segment(&bed, Flags::SYN).bytes();
    bed.force_next_hop("b1", NextHop::UNRESOLVED)?;
    dropped("no MAC", packet.clone(), DropReason::NoNextHop).check(&mut bed)?;
    bed.force_next_hop("b1", NextHop::new(backend_mac(11), 63))?;
    dropped(
        "a port without a device",
        packet.clone(),
        DropReason::NoEgress,
    )
    .check(&mut bed)?;
    bed.force_next_hop("b1", NextHop::new(backend_mac(11), 64))?;
    dropped("a port beyond the table", packet, DropReason::NoEgress).check(&mut bed)
}

/// Every reason is produced by a fixture of this file, of `bpf_reply.rs` or of `bpf_tunnel_room.rs`: a reason
/// that nothing leads to would be a counter that nobody increments.
#[test]
fn every_reason_is_shown_by_a_fixture() {
    let sources = [
        include_str!("bpf_drops.rs"),
        include_str!("bpf_reply.rs"),
        include_str!("bpf_tunnel_room.rs"),
    ]
    .concat();
    let missing: BTreeSet<_> = DropReason::ALL
        .into_iter()
        .map(|reason| format!("DropReason::{reason:?}"))
        .filter(|name| !sources.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

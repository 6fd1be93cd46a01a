//! Packets on their way to a backend, without a tunnel.

use super::{
    super::{
        BackendCount, Reason, Verdict,
        world::{Forward, HashOver, Hashed, NextHop},
    },
    example::{
        BACK, BACK_MAC, CLIENT, CLIENT6, FRONT, FRONT_MAC, VIP, VIP6, backend_mac, flag,
        from_client, service, tcp, udp, world,
    },
};

#[test]
fn dnat_rewrites_the_destination() {
    for (build, backend) in [
        (tcp(CLIENT, VIP, flag::SYN), "10.77.2.11:8080"),
        (udp(CLIENT, VIP), "10.77.2.11:8080"),
        (tcp(CLIENT6, VIP6, flag::SYN), "[fd77:2::11]:8080"),
        (udp(CLIENT6, VIP6), "[fd77:2::11]:8080"),
    ] {
        let mut world = world(service(Forward::Dnat, build.from.is_ipv4()));
        let outcome = from_client(&mut world, &build.frame());
        let expected = build
            .clone()
            .macs(BACK_MAC, backend_mac(1))
            .to(backend)
            .hops(63);
        assert_eq!(outcome.frame, expected.frame());
        assert_eq!(outcome.verdict, Verdict::Redirect { to: BACK });
        let counted = BackendCount {
            service: 0,
            backend: 1,
            bytes: build.packet().len() as u64,
            new_flow: build.flags.is_some(),
        };
        assert_eq!(outcome.backend, Some(counted));
        assert_eq!(outcome.flow, None);
    }
}

#[test]
fn a_backend_without_a_port_keeps_the_packets() {
    let mut service = service(Forward::Dnat, true);
    service.backends[0].port = None;
    let build = tcp(CLIENT, VIP, flag::ACK);
    let outcome = from_client(&mut world(service), &build.frame());
    let expected = build.macs(BACK_MAC, backend_mac(1)).to("10.77.2.11:80");
    assert_eq!(outcome.frame, expected.hops(63).frame());
}

#[test]
fn dsr_rewrites_nothing_but_the_frame() {
    for is_ipv4 in [true, false] {
        // Whatever family the backend's own address is of.
        let mut world = world(service(Forward::Dsr, is_ipv4));
        for build in [tcp(CLIENT, VIP, flag::ACK), udp(CLIENT6, VIP6)] {
            let outcome = from_client(&mut world, &build.frame());
            let expected = build.macs(BACK_MAC, backend_mac(1)).hops(63);
            assert_eq!(outcome.frame, expected.frame());
        }
    }
}

#[test]
fn what_leaves_where_it_came_in_is_transmitted() {
    let mut service = service(Forward::Dsr, true);
    service.backends[0].next_hop = Some(NextHop {
        mac: backend_mac(1),
        interface: Some(FRONT),
    });
    let build = tcp(CLIENT, VIP, flag::ACK);
    let outcome = from_client(&mut world(service), &build.frame());
    assert_eq!(outcome.verdict, Verdict::Transmit);
    let expected = build.macs(FRONT_MAC, backend_mac(1)).hops(63);
    assert_eq!(outcome.frame, expected.frame());
}

#[test]
fn a_wrong_checksum_stays_as_wrong() {
    let mut world = world(service(Forward::Dnat, true));
    let right = tcp(CLIENT, VIP, flag::ACK).frame();
    let mut wrong = right.clone();
    // The IPv4 header's and TCP's.
    wrong[25] ^= 1;
    wrong[51] ^= 1;
    let [right, wrong] = [right, wrong].map(|frame| from_client(&mut world, &frame).frame);
    let differs: Vec<usize> = (0..right.len())
        .filter(|i| right[*i] != wrong[*i])
        .collect();
    assert_eq!(differs, [25, 51]);
}

#[test]
fn a_udp_checksum_of_none_stays_none() {
    let mut world = world(service(Forward::Dnat, true));
    let mut frame = udp(CLIENT, VIP).frame();
    frame[40..42].fill(0);
    let outcome = from_client(&mut world, &frame);
    assert_eq!(outcome.frame[40..42], [0, 0]);
}

#[test]
fn a_syn_alone_is_a_new_flow() {
    let mut world = world(service(Forward::Dsr, true));
    for (flags, new) in [
        (flag::SYN, true),
        (flag::SYN | flag::ACK, false),
        (flag::ACK, false),
        (flag::RST, false),
    ] {
        let outcome = from_client(&mut world, &tcp(CLIENT, VIP, flags).frame());
        assert_eq!(outcome.backend.unwrap().new_flow, new, "{flags}");
    }
}

#[test]
fn the_hash_is_over_the_flow_or_the_cut_source() {
    use std::sync::{Arc, Mutex};
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut service = service(Forward::Dsr, true);
    let log = Arc::clone(&seen);
    service.table.hash = Arc::new(move |hashed: &Hashed| {
        log.lock().unwrap().push(*hashed);
        0
    });
    let mut world = world(service);
    let prefixes = |prefix_ipv4, prefix_ipv6| HashOver::Source {
        prefix_ipv4,
        prefix_ipv6,
    };
    for (hash, from, to, cut) in [
        (HashOver::FiveTuple, CLIENT, VIP, None),
        (prefixes(24, 0), CLIENT, VIP, Some("10.77.1.0")),
        (prefixes(31, 0), "10.77.1.11:1", VIP, Some("10.77.1.10")),
        (prefixes(0, 128), CLIENT, VIP, Some("0.0.0.0")),
        (prefixes(0, 128), CLIENT6, VIP6, Some("fd77:1::10")),
        (prefixes(32, 17), CLIENT6, VIP6, Some("fd77::")),
    ] {
        world.services[0].table.over = hash;
        from_client(&mut world, &tcp(from, to, flag::ACK).frame());
        let hashed = seen.lock().unwrap().pop().unwrap();
        match (hashed, cut) {
            (Hashed::Source(address), Some(cut)) => assert_eq!(address.to_string(), cut),
            (Hashed::Flow(tuple), None) => {
                let ends = (tuple.source_port, tuple.destination_port, tuple.protocol);
                assert_eq!(ends, (40_000, 80, 6));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_slot_is_the_hashs_share_of_the_table() {
    let mut service = service(Forward::Dsr, true);
    let slots = [1, 2, 3].map(|number| super::super::world::Slot {
        current: number,
        previous: number,
    });
    service.table.slots = slots.to_vec();
    let mut world = world(service);
    for (primary, backend) in [
        (0, 1),
        (0x5555_5555, 1),
        (0x5555_5556, 2),
        (0xaaaa_aaaa, 2),
        (0xaaaa_aaab, 3),
        (0xffff_ffff, 3),
    ] {
        world.services[0].table.hash =
            std::sync::Arc::new(move |_: &Hashed| primary << 32 | 0xffff_ffff);
        let outcome = from_client(&mut world, &tcp(CLIENT, VIP, flag::ACK).frame());
        assert_eq!(outcome.backend.unwrap().backend, backend, "{primary:#x}");
    }
}

#[test]
fn names_of_reasons_are_those_of_the_documents() {
    assert_eq!(Reason::TunnelTooBig.name(), "tunnel_too_big");
    assert_eq!(Reason::NoHeadroom.name(), "no_headroom");
}

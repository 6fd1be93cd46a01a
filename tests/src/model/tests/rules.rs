//! What is looked at, and what is dropped before a backend is chosen.

use super::{
    super::{
        Reason, Verdict,
        world::{Endpoint, Features, Forward},
    },
    example::{
        CLIENT, CLIENT6, FRONT_MAC, VIP, VIP6, address, dropped, flag, from_client, service, tcp,
        udp, verdict, world,
    },
};

fn ours(world: &mut super::super::World, frame: &[u8]) -> bool {
    matches!(
        from_client(world, frame).verdict,
        Verdict::Redirect { .. } | Verdict::Transmit
    )
}

/// The frame with VLAN tags before its IP header.
fn tagged(frame: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

#[test]
fn what_is_not_in_use_passes() {
    let mut world = world(service(Forward::Dsr, true));
    let frames = [
        udp(CLIENT, VIP).frame(),
        tcp(CLIENT6, VIP6, flag::SYN).frame(),
        tagged(&tcp(CLIENT, VIP, flag::SYN).frame(), &[[0x81, 0, 0, 7]]),
    ];
    for frame in &frames {
        assert!(ours(&mut world, frame));
    }
    world.features = Features::default();
    for frame in &frames {
        assert_eq!(verdict(&mut world, frame), Verdict::Pass);
    }
}

#[test]
fn what_is_for_nobody_passes() {
    let mut world = world(service(Forward::Dsr, true));
    for (from, to) in [(CLIENT, "10.77.0.80:81"), (CLIENT, "10.77.0.81:80")] {
        let frame = tcp(from, to, flag::SYN).frame();
        assert_eq!(verdict(&mut world, &frame), Verdict::Pass);
    }
    let mut arp = tcp(CLIENT, VIP, flag::SYN).frame();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(verdict(&mut world, &arp), Verdict::Pass);
}

#[test]
fn every_port_is_asked_after_the_port() {
    let mut world = world(service(Forward::Dsr, true));
    world.services.push(service(Forward::Ipip, true));
    let every = Endpoint {
        address: address("10.77.0.80"),
        port: 0,
        protocol: 6,
    };
    world.listeners.insert(every, 1);
    let service = |frame: Vec<u8>, world: &mut super::super::World| {
        from_client(world, &frame)
            .backend
            .map(|count| count.service)
    };
    let at = |port| tcp(CLIENT, &format!("10.77.0.80:{port}"), flag::SYN).frame();
    assert_eq!(service(at(80), &mut world), Some(0));
    assert_eq!(service(at(81), &mut world), Some(1));
    assert_eq!(service(at(0), &mut world), Some(1));
    assert_eq!(
        service(udp(CLIENT, "10.77.0.80:81").frame(), &mut world),
        None
    );
}

#[test]
fn a_frame_that_is_cut_is_malformed() {
    let mut world = world(service(Forward::Dsr, true));
    for frame in [
        tcp(CLIENT, VIP, flag::SYN).frame(),
        tcp(CLIENT6, VIP6, flag::SYN).frame(),
        udp(CLIENT, VIP).frame(),
    ] {
        for length in 0..frame.len() {
            assert_eq!(
                verdict(&mut world, &frame[..length]),
                dropped(Reason::Malformed),
                "{length} of {}",
                frame.len()
            );
        }
        assert!(ours(&mut world, &frame));
        let padded = [&frame[..], &[0xee; 9]].concat();
        let outcome = from_client(&mut world, &padded);
        assert_eq!(outcome.frame.len(), padded.len());
        assert!(outcome.frame.ends_with(&[0xee; 9]));
    }
}

#[test]
fn headers_are_in_the_first_buffer() {
    let mut world = world(service(Forward::Dsr, true));
    for (frame, headers) in [
        (tcp(CLIENT, VIP, flag::SYN).frame(), 54),
        (tcp(CLIENT6, VIP6, flag::SYN).frame(), 74),
        (udp(CLIENT, VIP).frame(), 42),
    ] {
        world.features.first_buffer = headers;
        assert!(ours(&mut world, &frame));
        assert_eq!(from_client(&mut world, &frame).frame.len(), frame.len());
        let cut = &frame[..frame.len() - 1];
        assert_eq!(verdict(&mut world, cut), dropped(Reason::Malformed));
        for length in 1..headers {
            world.features.first_buffer = length;
            assert_eq!(verdict(&mut world, &frame), dropped(Reason::Malformed));
        }
    }
}

#[test]
fn fragments_are_not_forwarded() {
    let mut world = world(service(Forward::Dsr, true));
    let fragment = |to: &str, field: u16| {
        let mut frame = tcp(CLIENT, to, flag::ACK).frame();
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        verdict(&mut world.clone(), &frame)
    };
    assert_eq!(fragment(VIP, 0x2000), dropped(Reason::Fragment));
    assert_eq!(fragment("10.77.0.81:80", 0x2000), Verdict::Pass);
    assert_eq!(fragment(VIP, 0x2001), Verdict::Pass);
    assert_eq!(fragment(VIP, 0x0001), Verdict::Pass);
    // The first one, too short to say a port.
    let mut short = tcp(CLIENT, VIP, flag::ACK).frame();
    short[20..22].copy_from_slice(&[0x20, 0]);
    short[16..18].copy_from_slice(&39_u16.to_be_bytes());
    assert_eq!(verdict(&mut world, &short), Verdict::Pass);
}

#[test]
fn flags_that_contradict_each_other_are_malformed() {
    let mut world = world(service(Forward::Dsr, true));
    for flags in [flag::SYN | flag::FIN, flag::SYN | flag::RST] {
        let frame = tcp(CLIENT, VIP, flags).frame();
        assert_eq!(verdict(&mut world, &frame), dropped(Reason::Malformed));
        let elsewhere = tcp(CLIENT, "10.77.0.81:80", flags).frame();
        assert_eq!(verdict(&mut world, &elsewhere), Verdict::Pass);
    }
}

#[test]
fn a_martian_is_dropped_at_a_vip_and_passed_elsewhere() {
    let mut world = world(service(Forward::Dsr, true));
    for (from, to) in [
        ("127.0.0.1:1", VIP),
        ("10.77.0.80:80", VIP),
        ("[::1]:1", VIP6),
        ("[fe80::1]:1", VIP6),
    ] {
        let frame = tcp(from, to, flag::SYN).frame();
        assert_eq!(verdict(&mut world, &frame), dropped(Reason::MartianSource));
    }
    let elsewhere = tcp("127.0.0.1:1", "10.77.0.81:80", flag::SYN).frame();
    assert_eq!(verdict(&mut world, &elsewhere), Verdict::Pass);
}

#[test]
fn tags_stay_where_they_are() {
    let mut world = world(service(Forward::Dnat, true));
    let plain = tcp(CLIENT, VIP, flag::SYN).frame();
    let untagged = from_client(&mut world, &plain);
    let tags = [[0x88, 0xa8, 0x20, 0x07], [0x81, 0x00, 0, 9]];
    for count in 1..=2 {
        let frame = tagged(&plain, &tags[..count]);
        let outcome = from_client(&mut world, &frame);
        assert_eq!(outcome.frame, tagged(&untagged.frame, &tags[..count]));
        assert_eq!(outcome.verdict, untagged.verdict);
    }
    let three = tagged(&plain, &[tags[0], tags[1], tags[1]]);
    assert_eq!(verdict(&mut world, &three), Verdict::Pass);
}

#[test]
fn a_slot_at_rest_needs_a_living_backend() {
    let frame = tcp(CLIENT, VIP, flag::ACK).frame();
    let with = |change: &dyn Fn(&mut super::super::world::Service)| {
        let mut service = service(Forward::Dsr, true);
        change(&mut service);
        verdict(&mut world(service), &frame)
    };
    let no_backend = dropped(Reason::NoBackend);
    assert_eq!(with(&|s| s.backends[0].dead = true), no_backend);
    assert_eq!(with(&|s| s.backends[0].in_use = false), no_backend);
    assert_eq!(
        with(&|s| s.table.slots[0] = super::super::world::Slot {
            current: 0,
            previous: 0
        }),
        no_backend
    );
    assert_eq!(with(&|s| s.table.slots.clear()), no_backend);
    assert_eq!(with(&|s| s.backends.clear()), no_backend);
}

#[test]
fn what_cannot_be_sent_is_dropped_in_order() {
    let with = |hops, change: &dyn Fn(&mut super::super::world::Service)| {
        let mut service = service(Forward::Dsr, true);
        change(&mut service);
        let frame = tcp(CLIENT, VIP, flag::ACK).hops(hops).frame();
        verdict(&mut world(service), &frame)
    };
    for hops in [0, 1] {
        let everything_wrong = with(hops, &|s| s.backends[0].next_hop = None);
        assert_eq!(everything_wrong, dropped(Reason::TtlExpired));
    }
    let unresolved = with(2, &|s| s.backends[0].next_hop = None);
    assert_eq!(unresolved, dropped(Reason::NoNextHop));
    for interface in [None, Some(9)] {
        let nowhere = with(2, &|s| {
            s.backends[0].next_hop = Some(super::super::world::NextHop {
                mac: FRONT_MAC,
                interface,
            });
        });
        assert_eq!(nowhere, dropped(Reason::NoEgress));
    }
}

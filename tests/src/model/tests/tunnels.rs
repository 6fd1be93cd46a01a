//! Packets in packets.

use super::{
    super::{Reason, Verdict, world::Forward},
    example::{
        BACK, BACK_MAC, CLIENT, CLIENT6, HASH, VIP, VIP6, address, backend_mac, dropped, flag,
        from_client, service, tcp, udp, verdict, world,
    },
};

const GUE: Forward = Forward::Gue { port: 6080 };

/// Ethernet to the first backend.
fn link(ether_type: [u8; 2]) -> Vec<u8> {
    [&backend_mac(1)[..], &BACK_MAC, &ether_type].concat()
}

#[test]
fn ipip_puts_an_ipv4_header_in_front() {
    let mut world = world(service(Forward::Ipip, true));
    let mut build = tcp(CLIENT, VIP, flag::SYN);
    // DSCP 46 with CE: copied as it is.
    build.traffic_class = 0xbb;
    let outcome = from_client(&mut world, &build.frame());
    let inner = build.hops(63).packet();
    assert_eq!(inner.len(), 47);
    let outer = [
        0x45, 0xbb, 0, 67, 0, 0, 0x40, 0, 64, 4, 0x21, 0x57, 10, 77, 2, 1, 10, 77, 2, 11,
    ];
    let expected = [&link([8, 0])[..], &outer, &inner].concat();
    assert_eq!(outcome.frame, expected);
    assert_eq!(outcome.verdict, Verdict::Redirect { to: BACK });
    assert_eq!(outcome.backend.unwrap().bytes, 47);
}

#[test]
fn ipip_puts_an_ipv6_header_in_front() {
    let mut world = world(service(Forward::Ipip, false));
    for (build, next) in [
        (tcp(CLIENT, VIP, flag::SYN), 4),
        (tcp(CLIENT6, VIP6, flag::SYN), 41),
    ] {
        let outcome = from_client(&mut world, &build.frame());
        let inner = build.hops(63).packet();
        let mut outer = vec![0x60, 0x01, 0x87, 0x65, 0, inner.len() as u8, next, 64];
        for end in ["fd77:2::1", "fd77:2::11"] {
            let std::net::IpAddr::V6(end) = address(end) else {
                unreachable!()
            };
            outer.extend(end.octets());
        }
        assert_eq!(HASH & 0xf_ffff, 0x1_8765, "the flow label");
        let expected = [&link([0x86, 0xdd])[..], &outer, &inner].concat();
        assert_eq!(outcome.frame, expected);
    }
}

#[test]
fn ipip_takes_entropy_behind_the_sources_prefix() {
    let mut service = service(Forward::Ipip, true);
    service.backends[0].tunnel.source = address("10.64.0.1");
    service.backends[0].tunnel.prefix = 16;
    let build = tcp(CLIENT6, VIP6, flag::SYN);
    let mut gue = service.clone();
    gue.forward = GUE;
    let outcome = from_client(&mut world(service), &build.frame());
    assert_eq!(outcome.frame[23], 41);
    assert_eq!(outcome.frame[26..30], [10, 64, 0x87, 0x65]);
    let outcome = from_client(&mut world(gue), &build.frame());
    assert_eq!(outcome.frame[26..30], [10, 64, 0, 1]);
}

#[test]
fn gue_puts_a_udp_header_between() {
    for is_ipv4 in [true, false] {
        let mut world = world(service(GUE, is_ipv4));
        let build = udp(CLIENT6, VIP6);
        let outcome = from_client(&mut world, &build.frame());
        let inner = build.hops(63).packet();
        // 0xc000 and the lower 14 bits of the hash; 6080; the length; no checksum.
        let header = [0xc7, 0x65, 0x17, 0xc0, 0, inner.len() as u8 + 8, 0, 0];
        let (at, protocol) = if is_ipv4 { (34, 23) } else { (54, 20) };
        assert_eq!(outcome.frame[at..], [&header[..], &inner].concat());
        assert_eq!(outcome.frame[protocol], 17);
    }
}

#[test]
fn padding_and_tags_stay() {
    let mut world = world(service(GUE, false));
    let plain = tcp(CLIENT, VIP, flag::SYN).frame();
    let tag = [0x81, 0, 0x20, 7];
    let frame = [&plain[..12], &tag, &plain[12..], &[0xee; 6]].concat();
    let outcome = from_client(&mut world, &frame);
    assert_eq!(outcome.frame.len(), frame.len() + 48);
    assert_eq!(outcome.frame[12..16], tag);
    assert_eq!(outcome.frame[16..18], [0x86, 0xdd]);
    assert!(outcome.frame.ends_with(&[0xee; 6]));
}

#[test]
fn a_tunnel_has_an_mtu() {
    // 47 bytes, and the outer headers.
    for (forward, is_ipv4, outer) in [
        (Forward::Ipip, true, 20),
        (Forward::Ipip, false, 40),
        (GUE, true, 28),
        (GUE, false, 48),
    ] {
        let with = |mtu| {
            let mut service = service(forward, is_ipv4);
            service.backends[0].tunnel.mtu = mtu;
            world(service)
        };
        let frame = tcp(CLIENT, VIP, flag::SYN).frame();
        let outcome = from_client(&mut with(47 + outer), &frame);
        assert_eq!(outcome.verdict, Verdict::Redirect { to: BACK });
        let too_big = verdict(&mut with(47 + outer - 1), &frame);
        assert_eq!(too_big, dropped(Reason::TunnelTooBig));
        let mut crowded = with(1500);
        crowded.headroom = outer - 1;
        let no_headroom = verdict(&mut crowded, &frame);
        assert_eq!(no_headroom, dropped(Reason::NoHeadroom));
    }
}

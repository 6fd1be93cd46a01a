//! TCP over IPv6, without extension headers.

use core::net::Ipv6Addr;

use super::*;
use crate::{
    checksum::Delta,
    endian::{Be16, Be128},
    wire::ipv6::Ipv6,
};

fn be(address: &str) -> Be128 {
    address.parse::<Ipv6Addr>().unwrap().into()
}

#[test]
fn fields_stand_where_another_implementation_put_them() {
    let mut frame = syn_v6(b"hello");
    let packet = read::<V6>(&mut frame).unwrap();
    assert_eq!(packet.ip.source(), be("fd77::10"));
    assert_eq!(packet.ip.destination(), be("fd77::80"));
    assert_eq!(packet.ip.total_length(), 65);
    assert_eq!(packet.transport.source_port(), Be16::new(40_000));
    assert_eq!(packet.transport.destination_port(), Be16::new(80));
    assert!(packet.transport.flags().is_syn());
    assert!(!packet.fragmented);
    let flow = packet.flow();
    assert_eq!(
        (flow.source, flow.destination),
        (be("fd77::10"), be("fd77::80"))
    );
    assert_eq!(flow.protocol, TCP);
}

#[test]
fn a_frame_cut_anywhere_in_its_headers_is_malformed() {
    let whole = syn_v6(&[]);
    for length in IP..whole.len() {
        let cut = whole[..length].to_vec();
        assert_eq!(verdict::<V6>(cut), Err(Unparsed::Malformed), "{length}");
    }
}

#[test]
fn a_length_beyond_the_frame_is_malformed_and_padding_is_not() {
    for high in [0, 0xff] {
        let mut long = with(syn_v6(&[]), IP + 4, high);
        long[IP + 5] += 1;
        assert_eq!(verdict::<V6>(long), Err(Unparsed::Malformed), "{high}");
    }
    let mut padded = syn_v6(&[]);
    padded.resize(100, 0);
    assert_eq!(verdict::<V6>(padded), Ok(()));
}

#[test]
fn a_length_that_leaves_no_room_for_tcp_is_malformed() {
    // 0 is also what a jumbogram (RFC 2675) claims.
    for length in 0..20 {
        let short = with(syn_v6(&[]), IP + 5, length);
        assert_eq!(verdict::<V6>(short), Err(Unparsed::Malformed), "{length}");
    }
}

#[test]
fn another_version_is_malformed() {
    for version in [0, 4, 5, 7, 15] {
        let frame = with(syn_v6(&[]), IP, version << 4);
        assert_eq!(verdict::<V6>(frame), Err(Unparsed::Malformed), "{version}");
    }
}

#[test]
fn what_is_neither_tcp_nor_udp_is_not_ours() {
    // IPIP, IPv6 in IPv6, GRE, ESP, AH, ICMPv6, nothing, SCTP, mobility, HIP, Shim6.
    for protocol in [1, 4, 41, 47, 50, 51, 58, 59, 132, 135, 139, 140, 255] {
        let frame = with(syn_v6(&[]), IP + 6, protocol);
        assert_eq!(verdict::<V6>(frame), Err(Unparsed::NotOurs), "{protocol}");
    }
}

fn header(change: impl FnOnce(&mut Ipv6)) -> Ipv6 {
    let mut frame = syn_v6(&[]);
    let mut header = *read::<V6>(&mut frame).unwrap().ip;
    change(&mut header);
    header
}

#[test]
fn a_source_that_no_client_can_have_is_a_martian() {
    for (source, martian) in [
        ("::", true),
        ("::1", true),
        ("::2", false),
        ("::fffe:ffff:ffff", false),
        ("::ffff:0:0", true),
        ("::ffff:192.0.2.1", true),
        ("::ffff:255.255.255.255", true),
        ("::1:0:0:0", false),
        ("0:0:0:1::1", false),
        ("64:ff9b::192.0.2.1", false),
        ("2001:db8::1", false),
        ("fc00::1", false),
        ("fe7f:ffff::1", false),
        ("fe80::1", true),
        ("fe80:0:0:1::1", true),
        ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("fec0::1", false),
        ("feff::1", false),
        ("ff00::1", true),
        ("ff02::1", true),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("fd77::80", true),
        ("fd77::8", false),
        ("fd77:0:0:1::80", false),
    ] {
        let ip = header(|ip| ip.set_source(be(source)));
        assert_eq!(ip.has_martian_source(), martian, "{source}");
    }
}

#[test]
fn a_hop_costs_one_of_the_limit_and_nothing_else() {
    for limit in [2, 64, 255] {
        let mut frame = with(syn_v6(&[]), IP + 7, limit);
        let packet = read::<V6>(&mut frame).unwrap();
        assert!(!packet.ip.is_expiring());
        packet.ip.forward(Delta::NONE);
        assert_eq!(frame, with(syn_v6(&[]), IP + 7, limit - 1));
    }
    for limit in [0, 1] {
        let mut frame = with(syn_v6(&[]), IP + 7, limit);
        assert!(read::<V6>(&mut frame).unwrap().ip.is_expiring());
    }
}

#[test]
fn addresses_are_written_where_they_are_read() {
    let ip = header(|ip| {
        ip.set_source(be("2001:db8::1:2:3"));
        ip.set_destination(be("2001:db8::4:5:6"));
    });
    assert_eq!(ip.source(), be("2001:db8::1:2:3"));
    assert_eq!(ip.destination(), be("2001:db8::4:5:6"));
    assert_eq!(ip.total_length(), header(|_| {}).total_length());
}

#[test]
fn the_traffic_class_lies_across_two_bytes() {
    let mut frame = syn_v6(&[]);
    frame[IP] = 0x6b;
    frame[IP + 1] = 0x4f;
    let packet = read::<V6>(&mut frame).unwrap();
    assert_eq!(packet.ip.traffic_class(), 0xb4);
    assert_eq!(packet.ip.first_word().get() & 0xf_ffff, 0xf_0000);
}

//! TCP over IPv4.

use network_types::ip::Ipv4Hdr;

use super::*;
use crate::{
    checksum::Delta,
    endian::{Be16, Be32},
};

#[test]
fn fields_stand_where_another_implementation_put_them() {
    let mut frame = syn_v4(b"hello");
    let packet = read::<V4>(&mut frame).unwrap();
    assert_eq!(packet.ip.source(), Be32::new(0x0a4d_010a));
    assert_eq!(packet.ip.destination(), Be32::new(0x0a4d_0050));
    assert_eq!(packet.ip.total_length(), 45);
    assert_eq!(packet.transport.source_port(), Be16::new(40_000));
    assert_eq!(packet.transport.destination_port(), Be16::new(80));
    assert!(packet.transport.flags().is_syn());
    assert!(!packet.fragmented);
    let flow = packet.flow();
    assert_eq!(
        (flow.source, flow.destination_port),
        (Be32::new(0x0a4d_010a), Be16::new(80))
    );
    assert_eq!(flow.protocol, TCP);
}

#[test]
fn a_frame_cut_anywhere_in_its_headers_is_malformed() {
    let whole = syn_v4(&[]);
    for length in IP..whole.len() {
        let cut = whole[..length].to_vec();
        assert_eq!(verdict::<V4>(cut), Err(Unparsed::Malformed), "{length}");
    }
}

#[test]
fn a_length_beyond_the_frame_is_malformed_and_padding_is_not() {
    let mut long = syn_v4(&[]);
    long[17] += 1;
    assert_eq!(verdict::<V4>(long), Err(Unparsed::Malformed));
    let mut padded = syn_v4(&[]);
    padded.resize(60, 0);
    assert_eq!(verdict::<V4>(padded), Ok(()));
}

#[test]
fn lengths_that_contradict_each_other_are_malformed() {
    for (offset, value) in [(14, 0x44), (14, 0x65), (17, 19), (17, 39)] {
        let frame = with(syn_v4(&[]), offset, value);
        let verdict = verdict::<V4>(frame);
        assert_eq!(verdict, Err(Unparsed::Malformed), "{offset} = {value:#x}");
    }
}

#[test]
fn what_is_neither_tcp_nor_udp_is_not_ours() {
    for protocol in [0, 1, 2, 4, 41, 47, 50, 132, 255] {
        let frame = with(syn_v4(&[]), 23, protocol);
        assert_eq!(verdict::<V4>(frame), Err(Unparsed::NotOurs), "{protocol}");
    }
}

#[test]
fn a_later_fragment_is_not_ours() {
    for (offset, value) in [(21, 1), (20, 0x1f), (20, 0x20 | 1)] {
        let frame = with(syn_v4(&[]), offset, value);
        assert_eq!(
            verdict::<V4>(frame),
            Err(Unparsed::NotOurs),
            "{offset} = {value:#x}"
        );
    }
}

#[test]
fn a_first_fragment_is_ours_when_it_has_the_ports() {
    let mut frame = with(syn_v4(&[0; 8]), 20, 0x20);
    assert!(read::<V4>(&mut frame).unwrap().fragmented);
    let tiny = with(frame, 17, 28);
    assert_eq!(verdict::<V4>(tiny), Err(Unparsed::NotOurs));
}

#[test]
fn do_not_fragment_and_the_reserved_flag_mean_nothing() {
    for flags in [0x40, 0x80, 0xc0] {
        let mut frame = with(syn_v4(&[]), 20, flags);
        assert!(!read::<V4>(&mut frame).unwrap().fragmented, "{flags:#x}");
    }
}

#[test]
fn options_are_passed_over() {
    for words in 0..=10_u8 {
        let bytes = words * 4;
        let mut frame = syn_v4(&[]);
        frame[14] += words;
        frame[17] += bytes;
        frame.splice(34..34, vec![1_u8; bytes.into()]);
        let packet = read::<V4>(&mut frame).unwrap();
        assert_eq!(packet.transport.destination_port(), Be16::new(80));
    }
}

fn header(change: impl FnOnce(&mut Ipv4Hdr)) -> Ipv4Hdr {
    let mut frame = syn_v4(&[]);
    let mut header = *read::<V4>(&mut frame).unwrap().ip;
    change(&mut header);
    header
}

#[test]
fn a_source_that_no_client_can_have_is_a_martian() {
    let source = |first| header(|ip| ip.src_addr = [first, 1, 2, 3]);
    for first in 0..=255 {
        let martian = matches!(first, 0 | 127 | 224..=255);
        assert_eq!(source(first).has_martian_source(), martian, "{first}");
    }
    assert!(header(|ip| ip.src_addr = VIP).has_martian_source());
}

#[test]
fn a_forwarded_header_keeps_a_right_checksum() {
    for (ttl, protocol) in [(2, 6), (64, 17), (255, 6)] {
        let mut ip = header(|ip| {
            ip.ttl = ttl;
            ip.proto = protocol;
        });
        assert!(!ip.is_expiring());
        let right = |ip: &Ipv4Hdr| {
            let read = etherparse::Ipv4Header::from_slice(&bytes(ip)).unwrap().0;
            read.calc_header_checksum()
        };
        ip.check = right(&ip).to_be_bytes();
        let new = Be32::new(0x0a4d_020b);
        let delta = Delta::NONE.replace32(ip.destination(), new);
        ip.set_destination(new);
        ip.forward(delta);
        assert_eq!((ip.ttl, ip.dst_addr), (ttl - 1, [10, 77, 2, 11]));
        assert_eq!(u16::from_be_bytes(ip.check), right(&ip));
    }
    for ttl in [0, 1] {
        assert!(header(|ip| ip.ttl = ttl).is_expiring());
    }
}

fn bytes(ip: &Ipv4Hdr) -> [u8; 20] {
    // SAFETY: an IPv4 header is 20 bytes without padding.
    unsafe { core::mem::transmute_copy(ip) }
}

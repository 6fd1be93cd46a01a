//! UDP over either family.

use super::*;
use crate::endian::Be16;

const LENGTH_V4: usize = IP + 20 + 5;
const LENGTH_V6: usize = IP + 40 + 5;

fn datagram_v4(payload: &[u8]) -> Vec<u8> {
    let builder = ethernet().ipv4(CLIENT, VIP, 64).udp(40_000, 53);
    built(|frame| builder.write(frame, payload).unwrap())
}

fn datagram_v6(payload: &[u8]) -> Vec<u8> {
    let [client, vip] = [0x10, 0x80].map(chain::address);
    let builder = ethernet().ipv6(client, vip, 64).udp(40_000, 53);
    built(|frame| builder.write(frame, payload).unwrap())
}

fn is_read_only_where_asked_for<F: Family>(mut frame: Vec<u8>) {
    let packet = read::<F>(&mut frame).unwrap();
    assert_eq!(packet.transport.destination_port(), Be16::new(53));
    assert!(packet.transport.is_udp() && !packet.transport.flags().is_syn());
    assert_eq!(packet.flow().protocol, UDP);
    let tcp_alone = Accept {
        udp: false,
        ..EVERYTHING
    };
    let without = read_with::<F>(&mut frame, tcp_alone);
    assert_eq!(without.err(), Some(Unparsed::NotOurs));
}

#[test]
fn udp_is_read_only_where_it_is_asked_for() {
    is_read_only_where_asked_for::<V4>(datagram_v4(b"question"));
    is_read_only_where_asked_for::<V6>(datagram_v6(b"question"));
}

#[test]
fn a_datagram_that_lies_about_its_length_is_malformed() {
    for length in [0, 7, 17, 255] {
        let lies = with(datagram_v4(b"question"), LENGTH_V4, length);
        assert_eq!(verdict::<V4>(lies), Err(Unparsed::Malformed), "{length}");
        let lies = with(datagram_v6(b"question"), LENGTH_V6, length);
        assert_eq!(verdict::<V6>(lies), Err(Unparsed::Malformed), "{length}");
    }
}

#[test]
fn a_packet_too_short_for_its_datagrams_header_is_malformed() {
    let short = with(datagram_v4(b"question"), IP + 3, 27);
    assert_eq!(verdict::<V4>(short), Err(Unparsed::Malformed));
    let short = with(datagram_v6(b"question"), IP + 5, 7);
    assert_eq!(verdict::<V6>(short), Err(Unparsed::Malformed));
}

#[test]
fn trailing_bytes_are_the_senders_affair() {
    let shorter = with(datagram_v4(b"question"), LENGTH_V4, 12);
    assert_eq!(verdict::<V4>(shorter), Ok(()));
    let shorter = with(datagram_v6(b"question"), LENGTH_V6, 12);
    assert_eq!(verdict::<V6>(shorter), Ok(()));
}

#[test]
fn the_length_of_a_fragmented_datagram_is_that_of_all_fragments() {
    let mut frame = with(datagram_v4(b"question"), LENGTH_V4, 200);
    frame[IP + 6] = 0x20;
    assert!(read::<V4>(&mut frame).unwrap().fragmented);
    let whole = chain::Chain::new().fragment(0, true).datagram(8).frame();
    let mut frame = with(whole, LENGTH_V6 + 8, 200);
    assert!(read::<V6>(&mut frame).unwrap().fragmented);
    let impossible = with(frame, LENGTH_V6 + 8, 7);
    assert_eq!(verdict::<V6>(impossible), Err(Unparsed::Malformed));
}

//! Packets behind VLAN tags.

use super::*;
use crate::endian::Be16;

const TAGS: [&[u16]; 4] = [&[0x8100], &[0x88a8], &[0x88a8, 0x8100], &[0x8100, 0x8100]];

/// The frame with these tags; priority and number are arbitrary.
fn tagged(mut frame: Vec<u8>, tags: &[u16]) -> Vec<u8> {
    for tag in tags.iter().rev() {
        let [high, low] = tag.to_be_bytes();
        frame.splice(12..12, [high, low, 0xaf, 0xff]);
    }
    frame
}

#[test]
fn a_packet_behind_tags_is_the_same_packet() {
    for tags in TAGS {
        let mut frame = tagged(syn_v4(b"hello"), tags);
        let packet = read::<V4>(&mut frame).unwrap();
        assert_eq!(
            packet.flow(),
            read::<V4>(&mut syn_v4(b"hello")).unwrap().flow()
        );
        assert_eq!(packet.link.tags.count as usize, tags.len());
        assert_eq!(packet.ip.total_length(), 45);

        let mut frame = tagged(syn_v6(b"hello"), tags);
        let packet = read::<V6>(&mut frame).unwrap();
        assert_eq!(
            packet.flow(),
            read::<V6>(&mut syn_v6(b"hello")).unwrap().flow()
        );
        assert_eq!(packet.link.length() as usize, IP + 4 * tags.len());
        assert_eq!(packet.transport.destination_port(), Be16::new(80));
    }
}

#[test]
fn a_tagged_frame_cut_anywhere_is_malformed() {
    for tags in TAGS {
        let whole = tagged(syn_v6(&[]), tags);
        for length in 12 + 4 * tags.len() + 2..whole.len() {
            let cut = whole[..length].to_vec();
            assert_eq!(verdict::<V6>(cut), Err(Unparsed::Malformed), "{length}");
        }
    }
}

#[test]
fn tags_count_towards_a_frames_length() {
    for tags in TAGS {
        let mut frame = tagged(syn_v4(b"hello"), tags);
        for (length, expected) in [
            (frame.len(), Ok(())),
            (frame.len() - 1, Err(Unparsed::Malformed)),
        ] {
            let accept = Accept {
                frame_length: Some(length as u32),
                ..EVERYTHING
            };
            assert_eq!(read_with::<V4>(&mut frame, accept).map(|_| ()), expected);
        }
    }
}

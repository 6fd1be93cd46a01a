//! Fragments over IPv6.

use super::{
    chain::{Chain, DESTINATION, HOP_BY_HOP, ROUTING},
    *,
};
use crate::endian::Be16;

#[test]
fn a_first_fragment_is_ours_when_it_has_the_ports() {
    let mut frame = Chain::new().fragment(0, true).syn().frame();
    let packet = read::<V6>(&mut frame).unwrap();
    assert!(packet.fragmented);
    assert_eq!(packet.transport.destination_port(), Be16::new(80));
    for claim in 8..28 {
        let tiny = Chain::new().fragment(0, true).syn().claiming(claim);
        assert_eq!(verdict::<V6>(tiny), Err(Unparsed::NotOurs), "{claim}");
    }
}

#[test]
fn a_later_fragment_is_not_ours_whatever_follows_its_header() {
    for (offset, more) in [(1, true), (1, false), (0x1fff, true), (0x1000, false)] {
        let fragment = Chain::new().fragment(offset, more);
        for frame in [
            fragment.clone().syn().frame(),
            fragment.clone().datagram(0).frame(),
            fragment.clone().payload(6, &[]).frame(),
            fragment.clone().payload(58, &[1; 8]).frame(),
            // No more header than a byte of it.
            fragment.clone().payload(DESTINATION, &[59]).frame(),
            fragment.clone().fragment(0, false).syn().frame(),
        ] {
            let verdict = verdict::<V6>(frame);
            assert_eq!(verdict, Err(Unparsed::NotOurs), "{offset}, {more}");
        }
    }
}

#[test]
fn a_fragment_of_one_is_a_whole_packet() {
    let mut frame = Chain::new().fragment(0, false).syn().frame();
    assert!(!read::<V6>(&mut frame).unwrap().fragmented);
    for claim in 8..28 {
        let tiny = Chain::new().fragment(0, false).syn().claiming(claim);
        assert_eq!(verdict::<V6>(tiny), Err(Unparsed::Malformed), "{claim}");
    }
}

#[test]
fn extension_headers_may_stand_on_either_side_of_a_fragment_header() {
    let chain = Chain::new().extension(HOP_BY_HOP, 1).extension(ROUTING, 3);
    let chain = chain.fragment(0, true).extension(DESTINATION, 2);
    let mut frame = chain.syn().frame();
    assert!(read::<V6>(&mut frame).unwrap().fragmented);
}

#[test]
fn a_second_fragment_header_is_not_ours() {
    for first in [false, true] {
        for second in [false, true] {
            let chain = Chain::new().fragment(0, first).fragment(0, second);
            let frame = chain.syn().frame();
            let verdict = verdict::<V6>(frame);
            assert_eq!(verdict, Err(Unparsed::NotOurs), "{first}, {second}");
        }
    }
}

#[test]
fn a_first_fragment_that_ends_in_an_extension_header_is_malformed() {
    let chain = Chain::new().fragment(0, true).extension(DESTINATION, 2);
    for claim in 8..24 {
        let frame = chain.clone().syn().claiming(claim);
        assert_eq!(verdict::<V6>(frame), Err(Unparsed::Malformed), "{claim}");
    }
}

//! IPv6 extension headers in every order, legal or not.

use proptest::prelude::*;

use super::{
    chain::{Chain, DESTINATION, HOP_BY_HOP, ROUTING},
    *,
};
use crate::endian::Be16;

/// An extension header of a generated packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    Options { number: u8, units: u8 },
    Fragment { offset: u16, more: bool },
}

use Extension::{Fragment as Frag, Options};

const fn options(number: u8) -> Extension {
    Options { number, units: 1 }
}

const HOPS: Extension = options(HOP_BY_HOP);
const ROUTE: Extension = options(ROUTING);
const DEST: Extension = options(DESTINATION);
const ATOMIC: Extension = Frag {
    offset: 0,
    more: false,
};

fn chain(extensions: &[Extension]) -> Chain {
    let add = |chain: Chain, extension: &Extension| match *extension {
        Options { number, units } => chain.extension(number, units),
        Frag { offset, more } => chain.fragment(offset, more),
    };
    extensions.iter().fold(Chain::new(), add)
}

fn syn_behind(extensions: &[Extension]) -> Vec<u8> {
    chain(extensions).syn().frame()
}

#[test]
fn extension_headers_are_stepped_over_in_every_order() {
    for extensions in [
        // As RFC 8200, section 4.1, recommends.
        &[HOPS, DEST, ROUTE, ATOMIC, DEST][..],
        &[HOPS],
        &[ROUTE],
        &[DEST],
        &[ATOMIC],
        &[HOPS, ATOMIC],
        &[ATOMIC, ROUTE],
        &[DEST, DEST, DEST, DEST, DEST],
        &[ROUTE, ATOMIC, ROUTE, DEST, ROUTE],
        &[HOPS, DEST, DEST, DEST, ATOMIC],
    ] {
        let mut frame = syn_behind(extensions);
        let packet = read::<V6>(&mut frame).unwrap();
        assert_eq!(packet.transport.destination_port(), Be16::new(80));
        assert!(packet.transport.flags().is_syn() && !packet.fragmented);
        let length = 60 + 8 * extensions.len();
        assert_eq!(packet.ip.total_length(), length as u32, "{extensions:?}");
    }
}

#[test]
fn a_sixth_extension_header_is_not_ours() {
    let six = [DEST; 6];
    assert_eq!(verdict::<V6>(syn_behind(&six[1..])), Ok(()));
    assert_eq!(verdict::<V6>(syn_behind(&six)), Err(Unparsed::NotOurs));
    let last = [HOPS, DEST, ROUTE, ATOMIC, DEST, ROUTE];
    assert_eq!(verdict::<V6>(syn_behind(&last)), Err(Unparsed::NotOurs));
}

#[test]
fn hop_by_hop_options_that_are_not_the_first_are_not_ours() {
    for extensions in [[HOPS, HOPS], [DEST, HOPS], [ATOMIC, HOPS]] {
        let frame = syn_behind(&extensions);
        assert_eq!(
            verdict::<V6>(frame),
            Err(Unparsed::NotOurs),
            "{extensions:?}"
        );
    }
}

#[test]
fn an_extension_header_may_have_2048_bytes() {
    for number in [HOP_BY_HOP, ROUTING, DESTINATION] {
        for units in [1, 2, 255] {
            let frame = chain(&[Options { number, units }]).syn().frame();
            assert_eq!(verdict::<V6>(frame), Ok(()), "{number}: {units}");
        }
    }
    // 256 units, written by hand.
    let mut header = vec![0; 2048];
    header[..2].copy_from_slice(&[6, 255]);
    let longest = Chain::new().payload(DESTINATION, &header);
    let whole = [
        longest.clone().frame(),
        Chain::new().syn().frame()[IP + 40..].to_vec(),
    ]
    .concat();
    let mut frame = whole;
    frame[IP + 4..IP + 6].copy_from_slice(&2068_u16.to_be_bytes());
    assert_eq!(verdict::<V6>(frame), Ok(()));
    assert_eq!(verdict::<V6>(longest.frame()), Err(Unparsed::Malformed));
}

#[test]
fn an_extension_header_that_ends_behind_the_payload_is_malformed() {
    for extension in [HOPS, ROUTE, DEST, ATOMIC] {
        for claim in 0..8 {
            let frame = chain(&[extension]).syn().claiming(claim);
            let verdict = verdict::<V6>(frame);
            assert_eq!(verdict, Err(Unparsed::Malformed), "{extension:?}, {claim}");
        }
    }
    let long = Options {
        number: DESTINATION,
        units: 3,
    };
    for claim in 8..24 {
        let frame = chain(&[long]).syn().claiming(claim);
        assert_eq!(verdict::<V6>(frame), Err(Unparsed::Malformed), "{claim}");
    }
}

#[test]
fn a_frame_cut_anywhere_in_its_extension_headers_is_malformed() {
    let whole = syn_behind(&[HOPS, DEST, ROUTE, ATOMIC, DEST]);
    for length in IP..whole.len() {
        let cut = whole[..length].to_vec();
        assert_eq!(verdict::<V6>(cut), Err(Unparsed::Malformed), "{length}");
    }
}

#[test]
fn extension_headers_that_leave_no_room_for_tcp_are_malformed() {
    let headers = [HOPS, DEST, ROUTE];
    for claim in 24..44 {
        let frame = chain(&headers).syn().claiming(claim);
        assert_eq!(verdict::<V6>(frame), Err(Unparsed::Malformed), "{claim}");
    }
    let frame = chain(&headers).syn().claiming(44);
    assert_eq!(verdict::<V6>(frame), Ok(()));
}

#[test]
fn what_follows_extension_headers_need_not_be_ours() {
    for protocol in [50, 51, 58, 59, 132, 135, 255] {
        let frame = chain(&[DEST, ATOMIC]).payload(protocol, &[0; 20]).frame();
        assert_eq!(verdict::<V6>(frame), Err(Unparsed::NotOurs), "{protocol}");
    }
}

/// What ends a generated packet.
#[derive(Clone, Copy, Debug)]
enum End {
    Syn,
    Datagram(u8),
    Other(u8),
}

/// The rule of docs/DATA_PATH.md, over headers instead of bytes; `claim` is the payload length.
fn expected(extensions: &[Extension], end: End, claim: usize) -> Result<bool, Unparsed> {
    let (mut left, mut fragment) = (claim, None);
    for (position, extension) in extensions.iter().enumerate() {
        let (number, length) = match *extension {
            Options { number, units } => (Some(number), usize::from(units) * 8),
            Frag { .. } => (None, 8),
        };
        let stepped_over = match number {
            Some(HOP_BY_HOP) => position == 0,
            Some(_) => true,
            None => fragment.is_none(),
        };
        if position == 5 || !stepped_over {
            return Err(Unparsed::NotOurs);
        }
        left = left.checked_sub(length).ok_or(Unparsed::Malformed)?;
        if let Frag { offset, more } = *extension {
            fragment = Some(more);
            if offset != 0 {
                return Err(Unparsed::NotOurs);
            }
        }
    }
    let first = fragment == Some(true);
    let needed = match end {
        End::Other(_) => return Err(Unparsed::NotOurs),
        End::Syn => 20,
        End::Datagram(_) => 8,
    };
    if left < needed {
        return Err(if first {
            Unparsed::NotOurs
        } else {
            Unparsed::Malformed
        });
    }
    match end {
        End::Datagram(payload) if !first && 8 + usize::from(payload) > left => {
            Err(Unparsed::Malformed)
        }
        _ => Ok(first),
    }
}

fn extension() -> impl Strategy<Value = Extension> {
    prop_oneof![
        3 => (prop_oneof![4 => Just(DESTINATION), 4 => Just(ROUTING), 1 => Just(HOP_BY_HOP)], 1..4_u8)
            .prop_map(|(number, units)| Options { number, units }),
        1 => (prop_oneof![4 => Just(0), 1 => 1..0x2000_u16], any::<bool>())
            .prop_map(|(offset, more)| Frag { offset, more }),
    ]
}

fn extensions() -> impl Strategy<Value = Vec<Extension>> {
    let first = prop_oneof![Just(vec![]), Just(vec![HOPS])];
    let more = proptest::collection::vec(extension(), 0..8);
    (first, more).prop_map(|(first, more)| [first, more].concat())
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Syn),
        3 => (0..32_u8).prop_map(End::Datagram),
        1 => prop_oneof![Just(1), Just(50), Just(51), Just(58), Just(59), Just(135)].prop_map(End::Other),
    ]
}

proptest! {
    #[test]
    fn any_chain_of_headers_is_judged_by_the_rule(
        extensions in extensions(), end in end(), short in prop_oneof![Just(0), 0..80_usize],
    ) {
        let chain = chain(&extensions);
        let headers = chain.length();
        let chain = match end {
            End::Syn => chain.syn(),
            End::Datagram(payload) => chain.datagram(payload),
            End::Other(protocol) => chain.payload(protocol, &[0; 20]),
        };
        let claim = (chain.length() - IP - 40).saturating_sub(short);
        let mut frame = chain.claiming(claim);
        let start = frame.as_ptr() as usize;
        let read = read::<V6>(&mut frame);
        let read = read.map(|packet| {
            let [ports, _] = packet.transport.ranges();
            (packet.fragmented, ports.start as usize - start)
        });
        prop_assert_eq!(read, expected(&extensions, end, claim).map(|first| (first, headers)));
    }
}

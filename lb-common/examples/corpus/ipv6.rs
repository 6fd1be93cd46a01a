//! Frames of IPv6, with extension headers, whole and damaged.

use super::{Frame, link};

/// Offsets in an Ethernet frame that carries IPv6.
const VERSION: usize = 14;
const LENGTH: usize = 18;
const NEXT_HEADER: usize = 20;
const HOP_LIMIT: usize = 21;
const SOURCE: usize = 22;
/// What follows the header.
const PAYLOAD: usize = 54;
const UDP_LENGTH: usize = PAYLOAD + 4;

/// Next header: hop-by-hop options.
const HOPS: u8 = 0;
/// Next header: routing.
const ROUTE: u8 = 43;
/// Next header: fragment.
const FRAGMENT: u8 = 44;
/// Next header: destination options.
const DEST: u8 = 60;

/// A fragment header's offset and flag.
const ATOMIC: [u8; 2] = [0, 0];
const FIRST: [u8; 2] = [0, 1];
const LATER: [u8; 2] = [1, 1];
const LAST: [u8; 2] = [1, 0];

/// An extension header, without what it says follows.
struct Extension {
    number: u8,
    bytes: Vec<u8>,
}

/// All of them.
pub(crate) fn frames() -> impl Iterator<Item = Frame> {
    whole()
        .into_iter()
        .chain(extended())
        .chain(fragments())
        .chain(damaged())
}

fn address(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[..2].copy_from_slice(&[0xfd, 0x77]);
    address[15] = last;
    address
}

fn network() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    link().ipv6(address(0x10), address(0x80), 64)
}

fn syn() -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = network().tcp(40_000, 80, 1, 64_000).syn();
    builder.write(&mut frame, &[]).expect("writing to memory");
    frame
}

fn datagram() -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = network().udp(5353, 53);
    builder
        .write(&mut frame, &[7; 8])
        .expect("writing to memory");
    frame
}

/// The frame with these headers, in this order, behind its IPv6 header.
fn extend(mut frame: Vec<u8>, headers: &[&Extension]) -> Vec<u8> {
    for Extension { number, bytes } in headers.iter().rev() {
        let mut header = bytes.clone();
        header[0] = frame[NEXT_HEADER];
        frame[NEXT_HEADER] = *number;
        frame.splice(PAYLOAD..PAYLOAD, header);
    }
    claim(&mut frame);
    frame
}

/// Lets the header claim what there is.
fn claim(frame: &mut [u8]) {
    let length = u16::try_from(frame.len() - PAYLOAD).expect("a short frame");
    frame[LENGTH..LENGTH + 2].copy_from_slice(&length.to_be_bytes());
}

/// An extension header of this many units of 8 bytes.
fn options(number: u8, units: u8) -> Extension {
    let mut bytes = vec![0; usize::from(units) * 8];
    bytes[1] = units - 1;
    Extension { number, bytes }
}

fn fragment([high, low]: [u8; 2]) -> Extension {
    Extension {
        number: FRAGMENT,
        bytes: vec![0, 0, high, low, 1, 2, 3, 4],
    }
}

/// Frames that somebody could have sent.
fn whole() -> Vec<Frame> {
    let mut ping = Vec::new();
    let builder = network().icmpv6_echo_request(1, 1);
    builder
        .write(&mut ping, &[0; 32])
        .expect("writing to memory");
    vec![
        ("ipv6_tcp", syn()),
        ("ipv6_udp", datagram()),
        ("ipv6_icmp_echo", ping),
    ]
}

/// Extension headers in orders that are legal, and in others.
fn extended() -> Vec<Frame> {
    let [hops, route, dest] = [HOPS, ROUTE, DEST].map(|number| options(number, 1));
    let atomic = fragment(ATOMIC);
    let long = options(DEST, 20);
    let as_recommended = [&hops, &dest, &route, &atomic, &dest];
    vec![
        ("ipv6_hop_by_hop", extend(syn(), &[&hops])),
        ("ipv6_routing", extend(syn(), &[&route])),
        ("ipv6_destination", extend(datagram(), &[&dest])),
        ("ipv6_destination_long", extend(syn(), &[&long])),
        ("ipv6_every_extension", extend(syn(), &as_recommended)),
        ("ipv6_six_extensions", extend(syn(), &[&dest; 6])),
        ("ipv6_seven_extensions", extend(syn(), &[&dest; 7])),
        ("ipv6_hop_by_hop_twice", extend(syn(), &[&hops, &hops])),
        ("ipv6_hop_by_hop_second", extend(syn(), &[&dest, &hops])),
        ("ipv6_authentication", extend(syn(), &[&options(51, 2)])),
        ("ipv6_mobility", extend(syn(), &[&options(135, 1)])),
    ]
}

fn fragments() -> Vec<Frame> {
    let [atomic, first, later, last] = [ATOMIC, FIRST, LATER, LAST].map(fragment);
    let tiny = |mut frame: Vec<u8>| {
        frame.truncate(PAYLOAD + 8 + 4);
        claim(&mut frame);
        frame
    };
    vec![
        ("ipv6_atomic_fragment", extend(syn(), &[&atomic])),
        ("ipv6_first_fragment", extend(syn(), &[&first])),
        ("ipv6_first_fragment_udp", {
            let mut frame = extend(datagram(), &[&first]);
            frame[UDP_LENGTH + 8] = 9;
            frame
        }),
        ("ipv6_tiny_first_fragment", tiny(extend(syn(), &[&first]))),
        ("ipv6_tiny_atomic_fragment", tiny(extend(syn(), &[&atomic]))),
        ("ipv6_later_fragment", extend(syn(), &[&later])),
        ("ipv6_last_fragment", extend(datagram(), &[&last])),
        (
            "ipv6_two_fragment_headers",
            extend(syn(), &[&atomic, &first]),
        ),
        (
            "ipv6_destination_in_fragment",
            extend(syn(), &[&first, &options(DEST, 2)]),
        ),
        (
            "ipv6_extension_in_later_fragment",
            tiny(extend(syn(), &[&later, &options(DEST, 9)])),
        ),
    ]
}

/// One that was right, with something done to it.
fn damaged() -> Vec<Frame> {
    type Damage = (&'static str, fn(&mut Vec<u8>));
    let damages: [Damage; 19] = [
        ("ipv6_cut_in_header", |f| f.truncate(PAYLOAD - 1)),
        ("ipv6_cut_after_header", |f| f.truncate(PAYLOAD)),
        ("ipv6_cut_after_ports", |f| f.truncate(PAYLOAD + 4)),
        ("ipv6_cut_in_tcp", |f| f.truncate(PAYLOAD + 19)),
        ("ipv6_padded", |f| f.resize(100, 0)),
        ("ipv6_version_4", |f| f[VERSION] = 0x45),
        ("ipv6_every_class", |f| f[VERSION..VERSION + 4].fill(0x6f)),
        ("ipv6_length_0", |f| f[LENGTH + 1] = 0),
        ("ipv6_length_19", |f| f[LENGTH + 1] = 19),
        ("ipv6_length_one_more", |f| f[LENGTH + 1] += 1),
        ("ipv6_length_65535", |f| f[LENGTH..LENGTH + 2].fill(0xff)),
        ("ipv6_nothing_follows", |f| f[NEXT_HEADER] = 59),
        ("ipv6_udp_over_tcp", |f| f[NEXT_HEADER] = 17),
        ("ipv6_hop_limit_0", |f| f[HOP_LIMIT] = 0),
        ("ipv6_mapped_source", |f| {
            f[SOURCE..SOURCE + 10].fill(0);
            f[SOURCE + 10..SOURCE + 12].fill(0xff);
        }),
        ("ipv6_extension_of_255_units", |f| {
            f[NEXT_HEADER] = DEST;
            f[PAYLOAD + 1] = 254;
        }),
        ("ipv6_extension_ends_behind_payload", |f| {
            *f = extend(syn(), &[&options(DEST, 2)]);
            f[LENGTH + 1] = 15;
        }),
        ("ipv6_extension_cut", |f| {
            *f = extend(syn(), &[&options(ROUTE, 3)]);
            f.truncate(PAYLOAD + 9);
        }),
        ("ipv6_fragment_header_cut", |f| {
            *f = extend(syn(), &[&fragment(FIRST)]);
            f.truncate(PAYLOAD + 7);
        }),
    ];
    damages
        .into_iter()
        .map(|(name, damage)| {
            let mut frame = syn();
            damage(&mut frame);
            (name, frame)
        })
        .collect()
}

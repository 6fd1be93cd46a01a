//! Frames of IPv4, whole and damaged.

use super::{Frame, link};

const CLIENT: [u8; 4] = [10, 77, 1, 10];
const VIP: [u8; 4] = [10, 77, 0, 80];

/// Offsets in an Ethernet frame that carries IPv4.
const ETHER_TYPE: usize = 12;
const VERSION: usize = 14;
const LENGTH: usize = 16;
const FRAGMENT: usize = 20;
const PROTOCOL: usize = 23;
const TCP: usize = 34;
const UDP_LENGTH: usize = TCP + 4;
const TCP_OFFSET: usize = TCP + 12;
const TCP_FLAGS: usize = TCP + 13;

/// All of them.
pub(crate) fn frames() -> impl Iterator<Item = Frame> {
    whole().into_iter().chain(damaged())
}

fn syn() -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = link()
        .ipv4(CLIENT, VIP, 64)
        .tcp(40_000, 80, 1, 64_000)
        .syn();
    builder.write(&mut frame, &[]).expect("writing to memory");
    frame
}

/// Frames that somebody could have sent.
fn whole() -> Vec<Frame> {
    let mut frames = vec![("tcp_syn", syn())];
    let mut add = |name, build: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        build(&mut frame);
        frames.push((name, frame));
    };
    add("tcp_data", &|frame| {
        let builder = link().ipv4(CLIENT, VIP, 64).tcp(40_000, 80, 2, 64_000);
        let builder = builder.ack(1).psh();
        builder
            .write(frame, b"GET / HTTP/1.1\r\n\r\n")
            .expect("writing to memory");
    });
    add("tcp_fin", &|frame| {
        let builder = link().ipv4(CLIENT, VIP, 1).tcp(40_000, 80, 2, 0).fin();
        builder.write(frame, &[]).expect("writing to memory");
    });
    add("udp", &|frame| {
        let builder = link().ipv4(CLIENT, VIP, 64).udp(5353, 53);
        builder.write(frame, &[0; 24]).expect("writing to memory");
    });
    add("udp_empty", &|frame| {
        let builder = link().ipv4(CLIENT, VIP, 64).udp(5353, 53);
        builder.write(frame, &[]).expect("writing to memory");
    });
    add("icmp_echo", &|frame| {
        let builder = link().ipv4(CLIENT, VIP, 64).icmpv4_echo_request(1, 1);
        builder.write(frame, &[0; 32]).expect("writing to memory");
    });
    for (name, length) in [
        ("udp_length_0", 0),
        ("udp_length_7", 7),
        ("udp_length_less", 12),
        ("udp_length_more", 17),
    ] {
        frames.push((name, udp_claiming(length)));
    }
    frames
}

/// A datagram whose UDP header claims another length than IP's.
fn udp_claiming(length: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = link().ipv4(CLIENT, VIP, 64).udp(5353, 53);
    builder
        .write(&mut frame, &[7; 8])
        .expect("writing to memory");
    frame[UDP_LENGTH..UDP_LENGTH + 2].copy_from_slice(&length.to_be_bytes());
    frame
}

/// One that was right, with something done to it.
fn damaged() -> Vec<Frame> {
    type Damage = (&'static str, fn(&mut Vec<u8>));
    let damages: [Damage; 27] = [
        ("empty", Vec::clear),
        ("cut_in_ethernet", |f| f.truncate(13)),
        ("cut_after_ethernet", |f| f.truncate(14)),
        ("cut_in_ip", |f| f.truncate(33)),
        ("cut_after_ip", |f| f.truncate(TCP)),
        ("cut_after_ports", |f| f.truncate(TCP + 4)),
        ("cut_in_tcp", |f| f.truncate(TCP + 19)),
        ("padded", |f| f.resize(60, 0)),
        ("jumbo", |f| f.resize(3000, 0xaa)),
        ("ip_version_6", |f| f[VERSION] = 0x65),
        ("ip_header_4_words", |f| f[VERSION] = 0x44),
        ("ip_header_15_words", |f| f[VERSION] = 0x4f),
        ("ip_options", |f| {
            f[VERSION] = 0x47;
            f[LENGTH + 1] += 8;
            f.splice(TCP..TCP, [1; 8]);
        }),
        ("length_0", |f| f[LENGTH..LENGTH + 2].fill(0)),
        ("length_19", |f| f[LENGTH + 1] = 19),
        ("length_20", |f| f[LENGTH + 1] = 20),
        ("length_39", |f| f[LENGTH + 1] = 39),
        ("length_one_more", |f| f[LENGTH + 1] += 1),
        ("length_65535", |f| f[LENGTH..LENGTH + 2].fill(0xff)),
        ("first_fragment", |f| f[FRAGMENT] = 0x20),
        ("tiny_first_fragment", |f| {
            f[FRAGMENT] = 0x20;
            f[LENGTH + 1] = 28;
        }),
        ("later_fragment", |f| f[FRAGMENT + 1] = 3),
        ("protocol_sctp", |f| f[PROTOCOL] = 132),
        ("protocol_udp_over_tcp", |f| f[PROTOCOL] = 17),
        ("ether_type_arp", |f| f[ETHER_TYPE + 1] = 6),
        ("tcp_offset_0", |f| f[TCP_OFFSET] = 0),
        ("tcp_every_flag", |f| f[TCP_FLAGS] = 0xff),
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

//! Frames with VLAN tags.

use super::{Frame, link};

const CLIENT: [u8; 4] = [10, 77, 1, 10];
const VIP: [u8; 4] = [10, 77, 0, 80];

/// EtherTypes that announce a tag: a customer's, and a service's.
const CUSTOMER: [u8; 2] = [0x81, 0x00];
const SERVICE: [u8; 2] = [0x88, 0xa8];

/// All of them.
pub(crate) fn frames() -> impl Iterator<Item = Frame> {
    let cut = |length| {
        let mut frame = tagged(udp_v4(), &[SERVICE, CUSTOMER]);
        frame.truncate(length);
        frame
    };
    let frames = [
        ("vlan_tcp", tagged(tcp_v4(), &[CUSTOMER])),
        ("vlan_udp", tagged(udp_v4(), &[CUSTOMER])),
        ("vlan_service_tag_alone", tagged(tcp_v4(), &[SERVICE])),
        ("vlan_two_tags_tcp", tagged(tcp_v4(), &[SERVICE, CUSTOMER])),
        ("vlan_two_tags_udp", tagged(udp_v4(), &[SERVICE, CUSTOMER])),
        (
            "vlan_three_tags",
            tagged(tcp_v4(), &[SERVICE, CUSTOMER, CUSTOMER]),
        ),
        ("vlan_ipv6_tcp", tagged(tcp_v6(), &[CUSTOMER])),
        ("vlan_ipv6_udp", tagged(udp_v6(), &[CUSTOMER])),
        (
            "vlan_two_tags_ipv6_tcp",
            tagged(tcp_v6(), &[SERVICE, CUSTOMER]),
        ),
        (
            "vlan_two_tags_ipv6_udp",
            tagged(udp_v6(), &[CUSTOMER, CUSTOMER]),
        ),
        ("vlan_first_fragment_udp", {
            let mut frame = tagged(udp_v4(), &[CUSTOMER]);
            frame[24] = 0x20;
            frame
        }),
        ("first_fragment_udp", {
            let mut frame = udp_v4();
            frame[20] = 0x20;
            frame
        }),
        ("vlan_cut_before_tag", cut(14)),
        ("vlan_cut_in_tag", cut(17)),
        ("vlan_cut_between_tags", cut(18)),
        ("vlan_cut_after_tags", cut(22)),
        ("vlan_arp", {
            let mut frame = tagged(tcp_v4(), &[CUSTOMER]);
            frame[16..18].copy_from_slice(&[8, 6]);
            frame
        }),
    ];
    frames.into_iter()
}

/// The frame behind these tags; priority 5, VLAN 7.
fn tagged(mut frame: Vec<u8>, tags: &[[u8; 2]]) -> Vec<u8> {
    for [high, low] in tags.iter().rev() {
        frame.splice(12..12, [*high, *low, 0xa0, 7]);
    }
    frame
}

fn written(
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), etherparse::err::packet::BuildWriteError>,
) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).expect("writing to memory");
    frame
}

fn tcp_v4() -> Vec<u8> {
    let builder = link().ipv4(CLIENT, VIP, 64).tcp(40_000, 80, 1, 1024).syn();
    written(|frame| builder.write(frame, &[]))
}

fn udp_v4() -> Vec<u8> {
    let builder = link().ipv4(CLIENT, VIP, 64).udp(5353, 53);
    written(|frame| builder.write(frame, &[7; 8]))
}

fn tcp_v6() -> Vec<u8> {
    let builder = link().ipv6([0xfd; 16], [0xfe; 16], 64);
    let builder = builder.tcp(40_000, 80, 1, 1024).syn();
    written(|frame| builder.write(frame, &[1, 2, 3]))
}

fn udp_v6() -> Vec<u8> {
    let builder = link().ipv6([0xfd; 16], [0xfe; 16], 64).udp(5353, 53);
    written(|frame| builder.write(frame, &[7; 8]))
}

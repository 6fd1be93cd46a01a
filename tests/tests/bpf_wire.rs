//! What leaves the program is read strictly, by another implementation that knows nothing of what was
//! expected: lengths, checksums, and in tunnels the very packet that went in, one hop older.

use anyhow::{Context as _, Result};
use fastrand::Rng;
use lb_common::wire::tcp::Flags;
use testbed::{
    mode::{Family, Forward},
    packets::{
        Bed, Extension, GUE_PORT, Segment, Setup, Side, Way, backend_mac,
        strict::{Frame, Header, Packet, Unchecked},
    },
};

/// `XDP_REDIRECT` of linux/bpf.h.
const REDIRECT: u32 = 4;

/// Packets drawn for each way and each program.
const PACKETS: usize = 300;

/// Any more, and no outer header would fit into 1500 bytes.
const LARGEST: usize = 1000;

fn beds(
    ways: impl Fn() -> Vec<Way>,
    mut check: impl FnMut(&mut Bed, Way, &mut Rng) -> Result<()>,
) -> Result<()> {
    for frags in [false, true] {
        let setup = Setup {
            vlan: true,
            frags,
            ..Setup::PLAIN
        };
        Way::each(ways(), &setup, |bed, way| {
            check(bed, way, &mut Rng::with_seed(1))
        })?;
    }
    Ok(())
}

/// Everything that may differ from packet to packet of a flow, drawn.
fn drawn(rng: &mut Rng, segment: Segment) -> Segment {
    let tags: &[&[[u16; 2]]] = &[&[], &[[0x8100, 0xa007]], &[[0x88a8, 100], [0x8100, 0x1fff]]];
    let payload: Vec<_> = (0..rng.usize(..LARGEST)).map(|_| rng.u8(..)).collect();
    let mut segment = segment
        .tags(tags[rng.usize(..tags.len())])
        .payload(&payload)
        .ttl(rng.u8(2..))
        .traffic_class(rng.u8(..));
    segment.flow_label = rng.u32(..1 << 20);
    if segment.source.is_ipv4() {
        segment.options = vec![1; 4 * rng.usize(..=10)];
    } else if rng.bool() {
        segment = segment.extensions(&[
            Extension::sized(Extension::HOP_BY_HOP, 8 * rng.usize(1..9)),
            Extension::sized(Extension::ROUTING, 24),
            Extension::fragment(0, false),
            Extension::sized(Extension::DESTINATION, 8 * rng.usize(1..9)),
        ]);
    }
    segment
}

/// A client's, on its way to the VIP.
fn to_vip(rng: &mut Rng, way: Way, bed: &Bed) -> Segment {
    const FLAGS: [u8; 5] = [
        Flags::SYN,
        Flags::SYN | Flags::ACK,
        Flags::ACK,
        Flags::FIN | Flags::ACK,
        Flags::RST,
    ];
    let mut segment = match rng.bool() {
        true => way.segment(bed, FLAGS[rng.usize(..FLAGS.len())]),
        false => way.datagram(bed, b""),
    };
    segment.source.set_port(rng.u16(..));
    drawn(rng, segment)
}

#[test]
fn what_backends_get_is_right_and_is_what_was_sent() -> Result<()> {
    beds(Way::all, |bed, way, rng| {
        for _ in 0..PACKETS {
            let segment = to_vip(rng, way, bed);
            let sent = segment.bytes();
            let ran = bed.run(Side::Front, &sent)?;
            assert_eq!(ran.action, REDIRECT, "{segment:?}: {:?}", ran.counters);
            let context = || format!("{:02x?} of {segment:?}", ran.frame);
            let unchecked = match way.forward {
                Forward::Gue => Unchecked::Allowed,
                _ => Unchecked::Refused,
            };
            let before = Frame::read(&sent, Unchecked::Refused).with_context(context)?;
            let after = Frame::read(&ran.frame, unchecked).with_context(context)?;
            let link = [bed.mac(Side::Back), backend_mac(Way::BACKEND)];
            assert_eq!((after.link, &after.tags), (link, &before.tags));
            assert!(after.padding.is_empty(), "{}", context());
            match way.forward {
                Forward::Dnat => was_readdressed(way, &before.packet, &after.packet),
                Forward::Dsr => assert_eq!(after.packet.bytes, before.packet.aged()),
                Forward::Ipip | Forward::Gue => {
                    let inner = unwrapped(way, &before.packet, &after.packet);
                    // Its checksums too, though the program has nothing to do with them.
                    let inner = Packet::read(inner, Unchecked::Refused).with_context(context)?;
                    assert_eq!(inner.bytes, before.packet.aged(), "{}", context());
                }
            }
        }
        Ok(())
    })
}

#[test]
fn what_clients_get_is_right_and_is_what_backends_sent() -> Result<()> {
    let ways = || Way::of(Forward::Dnat).collect();
    beds(ways, |bed, way, rng| {
        for _ in 0..PACKETS {
            let flags = rng.bool().then_some(Flags::ACK);
            let answer = way.answer(bed, flags, b"");
            let answer = drawn(rng, answer);
            let sent = answer.bytes();
            let ran = bed.run(Side::Back, &sent)?;
            assert_eq!(ran.action, REDIRECT, "{answer:?}: {:?}", ran.counters);
            let context = || format!("{:02x?} of {answer:?}", ran.frame);
            let before = Frame::read(&sent, Unchecked::Refused).with_context(context)?;
            let after = Frame::read(&ran.frame, Unchecked::Refused).with_context(context)?;
            assert_eq!(after.link, way.answered(bed, &answer).link);
            assert_eq!(after.tags, before.tags);
            let [client, vip] = [before.packet.addresses()[1], way.inner.vip().ip()];
            assert_eq!(after.packet.addresses(), [vip, client]);
            let ports = before
                .packet
                .ports
                .map(|[_, to]| [way.inner.vip().port(), to]);
            assert_eq!(after.packet.ports, ports);
            nothing_else_changed(&before.packet, &after.packet);
        }
        Ok(())
    })
}

fn was_readdressed(way: Way, before: &Packet<'_>, after: &Packet<'_>) {
    let backend = Side::Back.address(way.outer, Way::BACKEND);
    assert_eq!(after.addresses(), [before.addresses()[0], backend]);
    let [tcp, udp] = Way::PORTS;
    let port = if before.protocol == 6 { tcp } else { udp };
    assert_eq!(after.ports, before.ports.map(|[from, _]| [from, port]));
    nothing_else_changed(before, after);
}

/// But the time to live and what was compared already. Checksums were found right by themselves.
fn nothing_else_changed(before: &Packet<'_>, after: &Packet<'_>) {
    match (&before.header, &after.header) {
        (Header::V4(before), Header::V4(after)) => {
            let mut wanted = before.clone();
            wanted.time_to_live -= 1;
            (wanted.source, wanted.destination) = (after.source, after.destination);
            wanted.header_checksum = after.header_checksum;
            assert_eq!(*after, wanted);
        }
        (Header::V6(before), Header::V6(after)) => {
            let mut wanted = before.clone();
            wanted.hop_limit -= 1;
            (wanted.source, wanted.destination) = (after.source, after.destination);
            assert_eq!(*after, wanted);
        }
        (before, after) => panic!("{before:?} became {after:?}"),
    }
    // Extension headers, and the transport header but for ports and checksum.
    let extensions = |packet: &Packet<'_>| {
        let length = packet.bytes.len() - packet.payload.len();
        packet.bytes.get(40..length).map(<[u8]>::to_vec)
    };
    assert_eq!(extensions(after), extensions(before));
    let checksum = if before.protocol == 6 { 16 } else { 6 };
    let rest = |packet: &Packet<'_>| {
        let mut payload = packet.payload.to_vec();
        payload[..4].fill(0);
        payload[checksum..checksum + 2].fill(0);
        payload
    };
    assert_eq!(rest(after), rest(before));
}

/// Judges the outer header; gives what is behind it.
fn unwrapped<'a>(way: Way, before: &Packet<'_>, outer: &Packet<'a>) -> &'a [u8] {
    let addresses = [1, Way::BACKEND].map(|number| Side::Back.address(way.outer, number));
    assert_eq!(outer.addresses(), addresses);
    let class = match &before.header {
        Header::V4(header) => header.dscp.value() << 2 | header.ecn.value(),
        Header::V6(header) => header.traffic_class,
    };
    match (&outer.header, way.outer) {
        (Header::V4(header), Family::Ipv4) => {
            assert_eq!(header.dscp.value() << 2 | header.ecn.value(), class);
            assert!(header.dont_fragment && !header.more_fragments);
            assert_eq!((header.identification, header.time_to_live), (0, 64));
            assert_eq!((header.fragment_offset.value(), header.ihl()), (0, 5));
        }
        (Header::V6(header), Family::Ipv6) => {
            assert_eq!((header.traffic_class, header.hop_limit), (class, 64));
        }
        (header, family) => panic!("{header:?} is not of {family:?}"),
    }
    let version = if way.inner == Family::Ipv4 { 4 } else { 41 };
    match (way.forward, outer.ports) {
        (Forward::Ipip, None) => {
            assert_eq!(outer.protocol, version);
            outer.payload
        }
        (Forward::Gue, Some([from, GUE_PORT])) => {
            assert!(from >= 0xc000, "{from}");
            assert_eq!((outer.protocol, &outer.payload[6..8]), (17, &[0, 0][..]));
            &outer.payload[8..]
        }
        (forward, ports) => panic!("{forward:?} with {ports:?}"),
    }
}

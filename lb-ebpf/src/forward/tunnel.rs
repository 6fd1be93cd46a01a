//! `ipip` and `gue`: the packet travels inside another one. The backend takes it out and answers the client
//! itself; replies never pass here.

use aya_ebpf::{helpers::bpf_xdp_adjust_head, programs::XdpContext};
use lb_common::{
    abi::{backend::family, counters::DropReason},
    checksum::Delta,
    endian::{Be16, Be32, Be128},
    family::{Family as _, V4},
    hash::FlowHash,
    wire::{
        Cursor, Ip, Link, Packet,
        cursor::Truncated,
        link::EtherType,
        outer::{Outer, OuterIpv4, OuterIpv6, OuterUdp},
    },
};

use super::egress;
use crate::{family::Tables, parse, settings, steer::Chosen, verdict::Verdict};

/// A frame that has room for an outer header, its new link header already written.
struct Opened<'a> {
    /// Where the outer header goes.
    cursor: Cursor<'a>,
    verdict: Verdict,
    /// The inner packet's DSCP and ECN.
    traffic_class: u8,
    /// Its bytes; with the outer header they fit into 16 bits.
    length: u16,
}

/// Sends the packet inside an IP packet.
#[inline(always)]
pub(super) fn ipip<F: Tables>(
    context: &XdpContext,
    backend: &Chosen,
    hash: FlowHash,
    packet: Packet<'_, F>,
) -> Result<Verdict, Verdict> {
    let protocol = F::Header::PROTOCOL;
    if ends_at_ipv6(backend) {
        let mut opened = open(context, backend, packet, OuterIpv6::LENGTH, EtherType::IPV6)?;
        let entropy = settings::source_entropy_ipv6();
        let source = backend.source().with_trailing(entropy, hash.secondary());
        opened.ipv6(backend, hash, source, protocol, opened.length)?;
        return Ok(opened.verdict);
    }
    let mut opened = open(context, backend, packet, OuterIpv4::LENGTH, EtherType::IPV4)?;
    let entropy = settings::source_entropy_ipv4();
    let source = V4::address(backend.source()).with_bits(entropy, hash.secondary());
    opened.ipv4(backend, source, protocol, opened.length)?;
    Ok(opened.verdict)
}

/// Sends the packet inside a UDP datagram to `port`.
#[inline(always)]
pub(super) fn gue<F: Tables>(
    context: &XdpContext,
    backend: &Chosen,
    hash: FlowHash,
    packet: Packet<'_, F>,
    port: Be16,
) -> Result<Verdict, Verdict> {
    let protocol = OuterUdp::PROTOCOL;
    if ends_at_ipv6(backend) {
        let room = OuterIpv6::LENGTH + OuterUdp::LENGTH;
        let mut opened = open(context, backend, packet, room, EtherType::IPV6)?;
        let payload = opened.length + OuterUdp::LENGTH;
        opened.ipv6(backend, hash, backend.source(), protocol, payload)?;
        opened.udp(port, hash)?;
        return Ok(opened.verdict);
    }
    let room = OuterIpv4::LENGTH + OuterUdp::LENGTH;
    let mut opened = open(context, backend, packet, room, EtherType::IPV4)?;
    let payload = opened.length + OuterUdp::LENGTH;
    opened.ipv4(backend, V4::address(backend.source()), protocol, payload)?;
    opened.udp(port, hash)?;
    Ok(opened.verdict)
}

/// Whether the backend's address is an IPv6 one.
#[inline(always)]
fn ends_at_ipv6(backend: &Chosen) -> bool {
    settings::outer_ipv6() && (!settings::outer_ipv4() || backend.entry().family == family::IPV6)
}

/// Makes `room` bytes of room before the packet, and a link header before that.
#[inline(always)]
fn open<'a, F: Tables>(
    context: &XdpContext,
    backend: &Chosen,
    packet: Packet<'_, F>,
    room: u16,
    ether_type: EtherType,
) -> Result<Opened<'a>, Verdict> {
    let way = egress::toward(context, backend)?;
    let Packet {
        link,
        ip,
        transport: _,
        fragmented: _,
    } = packet;
    let length = ip.total_length();
    if length + u32::from(room) > backend.mtu() {
        return Err(DropReason::TunnelTooBig.into());
    }
    let (tags, announcing) = (link.tags, link.ethernet.ether_type);
    let traffic_class = ip.traffic_class();
    ip.forward(Delta::NONE);

    // SAFETY: the context is the program's own; every reference into the frame is gone, and it is looked
    // at anew below.
    if unsafe { bpf_xdp_adjust_head(context.ctx, -i32::from(room)) } < 0 {
        return Err(DropReason::NoHeadroom.into());
    }
    let mut cursor = parse::cursor(context);
    let ethernet = Link::write(&mut cursor, tags, announcing, ether_type).map_err(no_room)?;
    way.address(ethernet);
    Ok(Opened {
        cursor,
        verdict: way.verdict,
        traffic_class,
        length: length as u16,
    })
}

impl Opened<'_> {
    /// Writes an outer IPv4 header before `payload` bytes.
    #[inline(always)]
    fn ipv4(
        &mut self,
        backend: &Chosen,
        source: Be32,
        protocol: u8,
        payload: u16,
    ) -> Result<(), Verdict> {
        let header = self.cursor.read::<OuterIpv4>().map_err(no_room)?;
        header.write(Outer {
            traffic_class: self.traffic_class,
            payload,
            protocol,
            source,
            destination: V4::address(backend.entry().address),
        });
        Ok(())
    }

    /// Writes an outer IPv6 header before `payload` bytes.
    #[inline(always)]
    fn ipv6(
        &mut self,
        backend: &Chosen,
        hash: FlowHash,
        source: Be128,
        protocol: u8,
        payload: u16,
    ) -> Result<(), Verdict> {
        let header = self.cursor.read::<OuterIpv6>().map_err(no_room)?;
        let outer = Outer {
            traffic_class: self.traffic_class,
            payload,
            protocol,
            source,
            destination: backend.entry().address,
        };
        header.write(outer, hash);
        Ok(())
    }

    /// Writes the UDP header behind it.
    #[inline(always)]
    fn udp(&mut self, port: Be16, hash: FlowHash) -> Result<(), Verdict> {
        let header = self.cursor.read::<OuterUdp>().map_err(no_room)?;
        header.write(port, self.length, hash);
        Ok(())
    }
}

/// Cannot be: the room was just made. The verifier wants to hear it.
#[inline(always)]
fn no_room(Truncated: Truncated) -> Verdict {
    DropReason::NoHeadroom.into()
}

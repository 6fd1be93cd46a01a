//! `dnat`: the destination becomes the backend's. Its reply comes back through [`super::reply`].

use aya_ebpf::programs::XdpContext;
use lb_common::{
    abi::counters::DropReason,
    checksum::Delta,
    endian::Be16,
    wire::{Packet, ipv4::Ipv4},
};

use super::egress;
use crate::{maps, steer::Chosen, verdict::Verdict};

/// Rewrites the packet for its backend.
#[inline(always)]
pub(super) fn send(
    context: &XdpContext,
    backend: &Chosen,
    packet: Packet<'_>,
) -> Result<Verdict, Verdict> {
    let hop = backend.next_hop()?;
    let out = maps::port(hop.port()).ok_or(DropReason::NoEgress)?;
    let verdict = egress::leave(context, hop.port(), out.ifindex)?;

    let Packet {
        ethernet,
        ip,
        tcp,
        fragmented: _,
    } = packet;
    let [address, ..] = &backend.entry().address;
    let delta = Delta::NONE.replace32(ip.destination(), *address);
    let port = match backend.entry().port {
        port if port == Be16::new(0) => tcp.destination_port(),
        port => port,
    };
    tcp.rewrite_destination(port, delta);
    ip.dst_addr = address.to_bytes();
    ip.forward(delta);
    ethernet.set_addresses(hop.mac(), out.mac);
    Ok(verdict)
}

//! `dnat`: the destination becomes the backend's. Its reply comes back through [`super::reply`].

use aya_ebpf::programs::XdpContext;
use lb_common::{
    checksum::Delta,
    endian::Be16,
    wire::{Packet, ipv4::Ipv4},
};

use super::egress;
use crate::{steer::Chosen, verdict::Verdict};

/// Rewrites the packet for its backend.
#[inline(always)]
pub(super) fn send(
    context: &XdpContext,
    backend: &Chosen,
    packet: Packet<'_>,
) -> Result<Verdict, Verdict> {
    let way = egress::toward(context, backend)?;

    let Packet {
        ethernet,
        ip,
        mut transport,
        fragmented: _,
    } = packet;
    let [address, ..] = &backend.entry().address;
    let delta = Delta::NONE.replace32(ip.destination(), *address);
    let port = match backend.entry().port {
        port if port == Be16::new(0) => transport.destination_port(),
        port => port,
    };
    transport.rewrite_destination(port, delta);
    ip.dst_addr = address.to_bytes();
    ip.forward(delta);
    way.address(ethernet);
    Ok(way.verdict)
}

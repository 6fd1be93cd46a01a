//! `dnat`: the destination becomes the backend's. Its reply comes back through [`super::reply`].

use aya_ebpf::programs::XdpContext;
use lb_common::{
    endian::Be16,
    wire::{Ip as _, Packet},
};

use super::egress;
use crate::{family::Tables, steer::Chosen, verdict::Verdict};

/// Rewrites the packet for its backend.
#[inline(always)]
pub(super) fn send<F: Tables>(
    context: &XdpContext,
    backend: &Chosen,
    packet: Packet<'_, F>,
) -> Result<Verdict, Verdict> {
    let way = egress::toward(context, backend)?;

    let Packet {
        link,
        ip,
        mut transport,
        fragmented: _,
    } = packet;
    let address = F::address(backend.entry().address);
    let delta = F::replaced(ip.destination(), address);
    let port = match backend.entry().port {
        port if port == Be16::new(0) => transport.destination_port(),
        port => port,
    };
    transport.rewrite_destination(port, delta);
    ip.set_destination(address);
    ip.forward(delta);
    way.address(link.ethernet);
    Ok(way.verdict)
}

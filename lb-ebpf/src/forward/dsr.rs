//! `dsr`: only the link header changes. The backend has the VIP on its loopback and answers the client
//! itself; replies never pass here.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    checksum::Delta,
    wire::{Ip as _, Packet},
};

use super::egress;
use crate::{family::Tables, steer::Chosen, verdict::Verdict};

/// Sends the packet to its backend as it is, one hop older.
#[inline(always)]
pub(super) fn send<F: Tables>(
    context: &XdpContext,
    backend: &Chosen,
    packet: Packet<'_, F>,
) -> Result<Verdict, Verdict> {
    let way = egress::toward(context, backend)?;
    packet.ip.forward(Delta::NONE);
    way.address(packet.link.ethernet);
    Ok(way.verdict)
}

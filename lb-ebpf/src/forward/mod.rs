//! Stage 4: rewrite and send. A file a mode, one for the way back, one for the way out.

mod dnat;
mod dsr;
mod egress;
mod punt;
pub(crate) mod reply;

use aya_ebpf::programs::XdpContext;
use lb_common::{
    abi::{
        counters::DropReason,
        service::{ServiceRecord, forward},
    },
    wire::{Packet, ipv4::Ipv4},
};

use crate::{maps, settings, steer::Chosen, verdict::Verdict};

/// Sends a client's packet to the backend, by the service's mode.
#[inline(always)]
pub(crate) fn send(
    context: &XdpContext,
    record: &ServiceRecord,
    backend: Chosen,
    packet: Packet<'_>,
) -> Result<Verdict, Verdict> {
    // Two load balancers must not bounce a packet for ever.
    if packet.ip.is_expiring() {
        return Err(DropReason::TtlExpired.into());
    }
    let bytes = packet.ip.total_length();
    let new_flow = backend.is_new_flow() || packet.transport.flags().is_syn();
    let verdict = if settings::dsr() && (!settings::dnat() || record.forward == forward::DSR) {
        dsr::send(context, &backend, packet)?
    } else {
        dnat::send(context, &backend, packet)?
    };
    maps::count_backend(backend.index(), bytes, new_flow);
    Ok(verdict)
}

//! Stage 4: rewrite and send. A file a mode, one for the way back, one for the way out.

mod dnat;
mod dsr;
mod egress;
mod punt;
pub(crate) mod reply;
mod tunnel;

use aya_ebpf::programs::XdpContext;
use lb_common::{
    abi::{
        counters::DropReason,
        service::{ServiceRecord, forward},
    },
    wire::{Ip as _, Packet},
};

use crate::{family::Tables, maps, settings, steer::Steered, verdict::Verdict};

/// Sends a client's packet to the backend, by the service's mode.
#[inline(always)]
pub(crate) fn send<F: Tables>(
    context: &XdpContext,
    record: &ServiceRecord,
    steered: Steered,
    packet: Packet<'_, F>,
) -> Result<Verdict, Verdict> {
    // Two load balancers must not bounce a packet for ever.
    if packet.ip.is_expiring() {
        return Err(DropReason::TtlExpired.into());
    }
    let Steered {
        backend,
        hash,
        is_new_flow,
    } = steered;
    let bytes = packet.ip.total_length();
    let new_flow = is_new_flow || packet.transport.flags().is_syn();
    // Each mode asks for itself: where it is the only one, the verifier removes the question.
    let verdict = if settings::ipip() && record.forward == forward::IPIP {
        tunnel::ipip(context, &backend, hash, packet)?
    } else if settings::gue() && record.forward == forward::GUE {
        tunnel::gue(context, &backend, hash, packet, record.gue_port)?
    } else if settings::dsr() && (!settings::dnat() || record.forward == forward::DSR) {
        dsr::send(context, &backend, packet)?
    } else {
        dnat::send(context, &backend, packet)?
    };
    maps::count_backend(backend.entry().index, bytes, new_flow);
    Ok(verdict)
}

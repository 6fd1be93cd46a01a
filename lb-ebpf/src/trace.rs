//! Tracing: one log record a packet, in a program of its own, so that the other carries nothing of it.
//!
//! The stages know nothing of it: the headers are read once before and once after them.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::XdpContext};
use aya_log_ebpf::info;
use lb_common::{
    abi::{
        service::ServiceId,
        settings::TRACE_ALL,
        trace::{TraceState, TracedPacket},
        vip::VipKeyV4,
    },
    wire::{ipv4::Ipv4, parse},
};

use crate::{
    maps,
    parse::{accept, cursor},
    settings,
    verdict::Verdict,
};

/// Notes the packet as it came in, and whether it is to be traced.
#[inline(always)]
pub(crate) fn before(context: &XdpContext) {
    let Some(state) = state() else {
        return;
    };
    state.traced = 0;
    if !note(context, &mut state.packet) {
        return;
    }
    let wanted = settings::trace_service();
    if (wanted == TRACE_ALL || service(&state.packet) == Some(ServiceId(wanted)))
        && within_budget(state)
    {
        state.traced = 1;
    }
}

/// Writes the record of a packet that is traced.
#[inline(always)]
pub(crate) fn after(context: &XdpContext, verdict: Verdict) {
    let Some(state) = state() else {
        return;
    };
    if state.traced == 0 {
        return;
    }
    let before = state.packet;
    note(context, &mut state.packet);
    let after = &state.packet;
    // Verdict (a counter's index), protocol, TCP flags, then the packet before and after. The daemon makes it readable.
    info!(
        context,
        "{} {} {} {:i} {} {:i} {} {:i} {} {:i} {}",
        verdict.counter().index(),
        before.protocol,
        before.flags,
        before.source.get(),
        before.source_port.get(),
        before.destination.get(),
        before.destination_port.get(),
        after.source.get(),
        after.source_port.get(),
        after.destination.get(),
        after.destination_port.get(),
    );
}

/// The service that the packet is for, or that it is a reply of.
#[inline(always)]
fn service(packet: &TracedPacket) -> Option<ServiceId> {
    let vip = VipKeyV4::new(packet.destination, packet.destination_port, packet.protocol);
    // SAFETY: inserted and deleted but never updated in place.
    if let Some(service) = unsafe { maps::VIPS_IPV4.get(vip) } {
        return Some(*service);
    }
    let backend = VipKeyV4::new(packet.source, packet.source_port, packet.protocol);
    // SAFETY: as above.
    unsafe { maps::REPLIES_IPV4.get(backend) }.map(|reply| reply.service)
}

/// This CPU's state.
#[inline(always)]
fn state<'a>() -> Option<&'a mut TraceState> {
    let state = maps::TRACE_STATE.get_ptr_mut(0)?;
    // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU, and each function
    // here asks for it once.
    Some(unsafe { &mut *state })
}

/// Reads the packet's addresses as they stand now; `false`: it has none, and nothing is noted.
#[inline(always)]
fn note(context: &XdpContext, into: &mut TracedPacket) -> bool {
    let Ok(packet) = parse(cursor(context), accept()) else {
        return false;
    };
    into.source = packet.ip.source();
    into.destination = packet.ip.destination();
    into.source_port = packet.transport.source_port();
    into.destination_port = packet.transport.destination_port();
    into.protocol = packet.ip.proto;
    into.flags = packet.transport.flags().0;
    true
}

/// Takes one record off this CPU's allowance for the running second.
#[inline(always)]
fn within_budget(state: &mut TraceState) -> bool {
    // SAFETY: reads the clock, has no preconditions. 2^30 ns are near enough to a second.
    let second = unsafe { bpf_ktime_get_ns() } >> 30;
    if state.second != second {
        state.second = second;
        state.used = 0;
    }
    if state.used >= u64::from(settings::trace_rate()) {
        return false;
    }
    state.used += 1;
    true
}

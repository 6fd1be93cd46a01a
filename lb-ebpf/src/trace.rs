//! Tracing: one log record a packet, in a program of its own, so that the other carries nothing of it.
//!
//! The stages know nothing of it: the headers are read once before and once after them.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::XdpContext};
use aya_log_ebpf::info;
use lb_common::{
    abi::{
        settings::TRACE_ALL,
        trace::{TraceState, TracedPacket},
    },
    endian::Be16,
    family::{Family as _, Reply as _, V4, V6},
    wire::Ip as _,
};

use crate::{
    family::Tables,
    maps,
    parse::{self, Frame},
    settings,
    verdict::{End, Verdict},
};

/// Notes the packet as it came in, and whether it is to be traced.
///
/// Functions of their own in the program, this one and those of [`after`]: the verifier then forgets what it
/// found out in them, and does not walk through all that follows once for each way through them.
#[inline(never)]
pub(crate) fn before<const FRAGS: bool>(context: &XdpContext) {
    let Some(state) = state() else {
        return;
    };
    state.traced = 0;
    if !note::<FRAGS>(context, &mut state.before) {
        return;
    }
    let wanted = settings::trace_service();
    let is_wanted = wanted == TRACE_ALL || state.before.service == u64::from(wanted) + 1;
    if is_wanted && within_budget(state) {
        state.traced = 1;
    }
}

/// Writes the record of a packet that is traced.
#[inline(always)]
pub(crate) fn after<const FRAGS: bool>(context: &XdpContext, verdict: Verdict) -> End {
    let end = verdict.end().forgotten(context.ingress_ifindex() as u8);
    if state().is_some_and(|state| state.traced != 0) {
        renote::<FRAGS>(context);
        record(context, end.counter);
    }
    end
}

#[inline(never)]
fn record(context: &XdpContext, counter: u32) {
    let Some(TraceState { before, after, .. }) = state() else {
        return;
    };
    // Verdict (a counter's index), protocol, TCP flags, then the packet before and after. The daemon makes it readable.
    info!(
        context,
        "{} {} {} {:i} {} {:i} {} {:i} {} {:i} {}",
        counter,
        before.protocol,
        before.flags,
        *before.source.as_bytes(),
        before.source_port.get(),
        *before.destination.as_bytes(),
        before.destination_port.get(),
        *after.source.as_bytes(),
        after.source_port.get(),
        *after.destination.as_bytes(),
        after.destination_port.get(),
    );
}

/// Notes the packet as it stands now, or the one that was put around it.
#[inline(never)]
fn renote<const FRAGS: bool>(context: &XdpContext) {
    let Some(state) = state() else {
        return;
    };
    if !note::<FRAGS>(context, &mut state.after) {
        note_outer::<FRAGS>(context, &mut state.after);
    }
}

/// Reads the packet's addresses as they stand now, and the service that it is for, or that it is a reply
/// of. False: it has no addresses, and nothing is noted.
#[inline(always)]
fn note<const FRAGS: bool>(context: &XdpContext, into: &mut TracedPacket) -> bool {
    let Ok(frame) = parse::link::<FRAGS>(context) else {
        return false;
    };
    if frame.link.ether_type.is(V4::ETHER_TYPE) {
        note_packet::<V4>(frame, into)
    } else if settings::ipv6() && frame.link.ether_type.is(V6::ETHER_TYPE) {
        note_packet::<V6>(frame, into)
    } else {
        false
    }
}

#[inline(always)]
fn note_packet<F: Tables>(frame: Frame<'_>, into: &mut TracedPacket) -> bool {
    let Ok(packet) = parse::packet::<F>(frame) else {
        return false;
    };
    let flow = packet.flow();
    into.source = F::mapped(flow.source);
    into.destination = F::mapped(flow.destination);
    into.source_port = flow.source_port;
    into.destination_port = flow.destination_port;
    into.protocol = flow.protocol;
    into.flags = packet.transport.flags().0;
    into.service = 0;

    let vip = F::vip_key(flow.destination, flow.destination_port, flow.protocol);
    let every_port = F::vip_key(flow.destination, Be16::new(0), flow.protocol);
    let backend = F::vip_key(flow.source, flow.source_port, flow.protocol);
    into.service = if let Some(vip) = F::vips().find(&vip) {
        u64::from(vip.service.0) + 1
    } else if settings::any_port()
        && let Some(vip) = F::vips().find(&every_port)
    {
        u64::from(vip.service.0) + 1
    } else {
        let reply = F::replies().find(&backend);
        reply.map_or(0, |reply| u64::from(reply.service().0) + 1)
    };
    true
}

/// Reads a tunnel's outer addresses; it has no ports that were looked for.
#[inline(always)]
fn note_outer<const FRAGS: bool>(context: &XdpContext, into: &mut TracedPacket) {
    let Ok(frame) = parse::link::<FRAGS>(context) else {
        return;
    };
    if settings::outer_ipv4() && frame.link.ether_type.is(V4::ETHER_TYPE) {
        note_network::<V4>(frame, into);
    } else if settings::outer_ipv6() && frame.link.ether_type.is(V6::ETHER_TYPE) {
        note_network::<V6>(frame, into);
    }
}

#[inline(always)]
fn note_network<F: Tables>(frame: Frame<'_>, into: &mut TracedPacket) {
    let Some(ip) = parse::network::<F>(frame) else {
        return;
    };
    into.source = F::mapped(ip.source());
    into.destination = F::mapped(ip.destination());
    into.source_port = Be16::new(0);
    into.destination_port = Be16::new(0);
}

/// This CPU's state.
#[inline(always)]
fn state<'a>() -> Option<&'a mut TraceState> {
    let state = maps::TRACE_STATE.get_ptr_mut(0)?;
    // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU, and each function
    // here asks for it once.
    Some(unsafe { &mut *state })
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

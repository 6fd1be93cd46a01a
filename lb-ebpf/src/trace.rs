//! Tracing: one log record a packet, in a program of its own, so that the other carries nothing of it.
//!
//! The stages know nothing of it: the headers are read once before and once after them.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::XdpContext};
use aya_log_ebpf::info;
use lb_common::{
    abi::{service::ServiceId, settings::TRACE_ALL, vip::VipKeyV4},
    endian::{Be16, Be32},
    wire::{ipv4::Ipv4, parse},
};

use crate::{
    maps,
    parse::{accept, cursor},
    settings,
    verdict::Verdict,
};

/// A packet's addresses as they stood at one moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tuple {
    source: Be32,
    destination: Be32,
    source_port: Be16,
    destination_port: Be16,
    protocol: u8,
    flags: u8,
}

/// Notes the packet as it came in; whether it is to be traced.
///
/// The tuple is the caller's, all zeros: inside an `Option` it would be uninitialised where there is
/// none, and the verifier refuses to have that moved about.
#[inline(always)]
pub(crate) fn before(context: &XdpContext, before: &mut Tuple) -> bool {
    let Some(tuple) = tuple(context) else {
        return false;
    };
    *before = tuple;
    let wanted = settings::trace_service();
    (wanted == TRACE_ALL || before.service() == Some(ServiceId(wanted))) && within_budget()
}

/// Writes the record.
#[inline(always)]
pub(crate) fn after(context: &XdpContext, before: Tuple, verdict: Verdict) {
    let after = tuple(context).unwrap_or(before);
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

impl Tuple {
    /// The service that the packet is for, or that it is a reply of.
    #[inline(always)]
    fn service(&self) -> Option<ServiceId> {
        let vip = VipKeyV4::new(self.destination, self.destination_port, self.protocol);
        // SAFETY: inserted and deleted but never updated in place.
        if let Some(service) = unsafe { maps::VIPS_IPV4.get(vip) } {
            return Some(*service);
        }
        let backend = VipKeyV4::new(self.source, self.source_port, self.protocol);
        // SAFETY: as above.
        unsafe { maps::REPLIES_IPV4.get(backend) }.map(|reply| reply.service)
    }
}

#[inline(always)]
fn tuple(context: &XdpContext) -> Option<Tuple> {
    let packet = parse(cursor(context), accept()).ok()?;
    Some(Tuple {
        source: packet.ip.source(),
        destination: packet.ip.destination(),
        source_port: packet.transport.source_port(),
        destination_port: packet.transport.destination_port(),
        protocol: packet.ip.proto,
        flags: packet.transport.flags().0,
    })
}

/// Takes one record off this CPU's allowance for the running second.
#[inline(always)]
fn within_budget() -> bool {
    let Some(budget) = maps::TRACE_BUDGET.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU.
    let budget = unsafe { &mut *budget };
    // SAFETY: reads the clock, has no preconditions. 2^30 ns are near enough to a second.
    let second = unsafe { bpf_ktime_get_ns() } >> 30;
    if budget.second != second {
        budget.second = second;
        budget.used = 0;
    }
    if budget.used >= u64::from(settings::trace_rate()) {
        return false;
    }
    budget.used += 1;
    true
}

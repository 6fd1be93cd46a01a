//! Stage 3: which backend. A file a policy.

mod stable;

use lb_common::{
    abi::{
        backend::{Backend, BackendState, NextHop},
        counters::DropReason,
        service::ServiceRecord,
        slot::LocalBackend,
    },
    hash::FlowHash,
    wire::{Packet, ipv4::Ipv4},
};

use crate::{maps, settings, verdict::Verdict};

/// The backend that a packet goes to.
pub(crate) struct Chosen {
    /// Its index over all services.
    pub(crate) index: u32,
    entry: *const Backend,
}

impl Chosen {
    /// What of the entry never changes while it is reachable.
    #[inline(always)]
    pub(crate) const fn entry(&self) -> &Backend {
        // SAFETY: an array value is never unmapped. Fields that change are read through
        // `next_hop` and `state` only.
        unsafe { &*self.entry }
    }

    /// Where its frames go.
    #[inline(always)]
    pub(crate) fn next_hop(&self) -> Result<NextHop, Verdict> {
        // SAFETY: aligned, inside the value; the daemon writes it as one word.
        let hop = NextHop(unsafe { (&raw const (*self.entry).next_hop).read_volatile() });
        if hop.is_resolved() {
            Ok(hop)
        } else {
            Err(DropReason::NoNextHop.into())
        }
    }

    #[inline(always)]
    fn state(&self) -> BackendState {
        // SAFETY: aligned, inside the value; the daemon writes it as one word.
        BackendState(unsafe { (&raw const (*self.entry).state).read_volatile() })
    }
}

/// Chooses the backend of a packet.
#[inline(always)]
pub(crate) fn choose(record: &ServiceRecord, packet: &Packet<'_>) -> Result<Chosen, Verdict> {
    let hash = FlowHash::ipv4(
        settings::hash_key(),
        packet.ip.source(),
        packet.ip.destination(),
        packet.transport.source_port(),
        packet.transport.destination_port(),
        packet.ip.proto,
    );
    let slot = maps::slot(record.slots_first + hash.slot(record.slots_count))
        .ok_or(DropReason::NoBackend)?;
    stable::choose(record, slot)
}

/// The living backend behind a local index.
#[inline(always)]
fn living(record: &ServiceRecord, local: LocalBackend) -> Result<Chosen, Verdict> {
    if local == 0 || u32::from(local) > record.backends_count {
        return Err(DropReason::NoBackend.into());
    }
    let index = record.backends_first + u32::from(local) - 1;
    let entry = maps::backend(index).ok_or(DropReason::NoBackend)?;
    let chosen = Chosen { index, entry };
    if chosen.state().is_dead() {
        return Err(DropReason::NoBackend.into());
    }
    Ok(chosen)
}

//! Stage 3: which backend. Here for slots at rest, where every flow goes to the current backend and no
//! state is kept; `motion` for the others.

mod motion;

use core::ptr::NonNull;

use lb_common::{
    abi::{
        backend::{Backend, BackendState, NextHop},
        counters::DropReason,
        service::ServiceRecord,
        slot::LocalBackend,
    },
    endian::Be128,
    family::Hashing,
    hash::FlowHash,
    wire::Packet,
};

use crate::{family::Tables, maps, settings, verdict::Verdict};

/// The backend that a packet goes to. Whole words: smaller fields would be packed beside each other, and
/// be unpacked by loads that the verifier refuses.
#[derive(Clone, Copy)]
pub(crate) struct Chosen {
    index: u64,
    /// 0 or 1.
    new_flow: u64,
    entry: NonNull<Backend>,
}

/// A packet's backend, and the hash that led there.
pub(crate) struct Steered {
    pub(crate) backend: Chosen,
    pub(crate) hash: FlowHash,
}

impl Chosen {
    /// Its index over all services.
    #[inline(always)]
    pub(crate) const fn index(&self) -> u32 {
        self.index as u32
    }

    /// Whether the packet is the first of a flow that was remembered just now, of a protocol that does
    /// not say so.
    #[inline(always)]
    pub(crate) const fn is_new_flow(&self) -> bool {
        self.new_flow != 0
    }

    /// What of the entry never changes while it is reachable.
    #[inline(always)]
    pub(crate) const fn entry(&self) -> &Backend {
        // SAFETY: an array value is never unmapped. Fields that change are read through
        // `next_hop` and `state` only.
        unsafe { self.entry.as_ref() }
    }

    /// Where its frames go.
    #[inline(always)]
    pub(crate) fn next_hop(&self) -> Result<NextHop, Verdict> {
        // SAFETY: aligned, inside the value; the daemon writes it as one word.
        let hop = NextHop(unsafe { (&raw const (*self.entry.as_ptr()).next_hop).read_volatile() });
        if hop.is_resolved() {
            Ok(hop)
        } else {
            Err(DropReason::NoNextHop.into())
        }
    }

    /// Bytes that a packet with its outer header may have on the way to it.
    #[inline(always)]
    pub(crate) fn mtu(&self) -> u32 {
        // SAFETY: aligned, inside the value; the daemon writes it as one word.
        unsafe { (&raw const (*self.entry.as_ptr()).mtu).read_volatile() }
    }

    /// Source of its outer header.
    #[inline(always)]
    pub(crate) fn source(&self) -> Be128 {
        // SAFETY: aligned, inside the value. Two words, of which the daemon may be writing one.
        unsafe { (&raw const (*self.entry.as_ptr()).source).read_volatile() }
    }

    #[inline(always)]
    fn state(&self) -> BackendState {
        // SAFETY: aligned, inside the value; the daemon writes it as one word.
        BackendState(unsafe { (&raw const (*self.entry.as_ptr()).state).read_volatile() })
    }
}

/// Chooses the backend of a packet.
#[inline(always)]
pub(crate) fn choose<F: Tables>(
    record: &ServiceRecord,
    packet: &Packet<'_, F>,
) -> Result<Steered, Verdict> {
    let hash = flow_hash(record.hashing(), packet);
    let slot = maps::slot(record.slots_first + hash.slot(record.slots_count))
        .ok_or(DropReason::NoBackend)?;
    let chosen = if !settings::flows() || slot.is_stable() {
        living(record, slot.current())
    } else {
        motion::choose(record, packet, hash, slot)
    };
    let backend = chosen.ok_or(DropReason::NoBackend)?;
    Ok(Steered { backend, hash })
}

#[inline(always)]
fn flow_hash<F: Tables>(hashing: Hashing, packet: &Packet<'_, F>) -> FlowHash {
    let hashing = Hashing {
        by_source: settings::hash_source() && hashing.by_source,
        ..hashing
    };
    F::hash(hashing, packet.flow())
}

/// The living backend behind a local index.
#[inline(always)]
fn living(record: &ServiceRecord, local: LocalBackend) -> Option<Chosen> {
    let chosen = backend(record, local)?;
    chosen.state().is_alive().then_some(chosen)
}

/// The backend behind a local index, alive or not.
#[inline(always)]
fn backend(record: &ServiceRecord, local: LocalBackend) -> Option<Chosen> {
    if local == 0 || u32::from(local) > record.backends_count {
        return None;
    }
    let index = record.backends_first + u32::from(local) - 1;
    Some(Chosen {
        index: u64::from(index),
        new_flow: 0,
        entry: NonNull::new(maps::backend(index)?.cast_mut())?,
    })
}

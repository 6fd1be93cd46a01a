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
    tuple::FlowTuple,
    wire::Packet,
};

use self::motion::Mover;
use crate::{family::Tables, maps, settings, verdict::Verdict};

/// The backend that a packet goes to. One pointer and nothing beside it: of an option of more, the compiler
/// would copy what is not there, and the verifier lets nobody read that.
#[derive(Clone, Copy)]
pub(crate) struct Chosen(NonNull<Backend>);

/// A packet's backend, and what led there.
pub(crate) struct Steered {
    pub(crate) backend: Chosen,
    pub(crate) hash: FlowHash,
    /// Whether the packet is the first of a flow that was remembered just now, of a protocol that does
    /// not say so.
    pub(crate) is_new_flow: bool,
}

impl Chosen {
    /// What of the entry never changes while it is reachable.
    #[inline(always)]
    pub(crate) const fn entry(&self) -> &Backend {
        // SAFETY: an array value is never unmapped. Fields that change are read through the methods
        // below only.
        unsafe { self.0.as_ref() }
    }

    /// Where its frames go.
    #[inline(always)]
    pub(crate) fn next_hop(&self) -> Result<NextHop, Verdict> {
        // SAFETY: aligned, inside the value; the daemon writes it as one word.
        let hop = NextHop(unsafe { (&raw const (*self.0.as_ptr()).next_hop).read_volatile() });
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
        unsafe { (&raw const (*self.0.as_ptr()).mtu).read_volatile() }
    }

    /// Source of its outer header.
    #[inline(always)]
    pub(crate) fn source(&self) -> Be128 {
        // SAFETY: aligned, inside the value. Two words, of which the daemon may be writing one.
        unsafe { (&raw const (*self.0.as_ptr()).source).read_volatile() }
    }

    #[inline(always)]
    fn state(&self) -> BackendState {
        // SAFETY: aligned, inside the value; the daemon writes it as one word.
        BackendState(unsafe { (&raw const (*self.0.as_ptr()).state).read_volatile() })
    }
}

/// Chooses the backend of a packet.
#[inline(always)]
pub(crate) fn choose<F: Tables>(
    record: &ServiceRecord,
    packet: &Packet<'_, F>,
) -> Result<Steered, Verdict> {
    let hash = flow_hash::<F>(record.hashing(), packet.flow());
    let slot = maps::slot(record.slots_first + hash.slot(record.slots_count))
        .ok_or(DropReason::NoBackend)?;
    let mut is_new_flow = false;
    let chosen = if !settings::flows() || slot.is_stable() {
        living(record, slot.current())
    } else {
        // Made here, so that nothing of the packet has to be in memory where its slot is at rest.
        let mut mover = Mover::of(packet);
        let chosen = motion::choose(record, &mut mover, hash, slot);
        is_new_flow = mover.is_new_flow;
        chosen
    };
    Ok(Steered {
        backend: chosen.ok_or(DropReason::NoBackend)?,
        hash,
        is_new_flow,
    })
}

#[inline(always)]
fn flow_hash<F: Tables>(hashing: Hashing, flow: FlowTuple<F::Address>) -> FlowHash {
    let hashing = Hashing {
        by_source: settings::hash_source() && hashing.by_source,
        ..hashing
    };
    F::hash(hashing, flow)
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
    NonNull::new(maps::backend(index)?.cast_mut()).map(Chosen)
}

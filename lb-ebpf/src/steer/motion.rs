//! A slot in motion: its flows belong to more than one backend, and an entry says which.
//!
//! The invariant that every rule here keeps: a flow without an entry belongs to the slot's *owner*,
//! the backend that it had before it moved. What cannot be remembered goes there: it needs no entry.

use lb_common::{
    abi::{
        flow::FlowEntry,
        service::ServiceRecord,
        slot::{LocalBackend, NO_BACKEND, Slot},
    },
    hash::FlowHash,
    tuple::FlowTuple,
    wire::{Packet, packet::UDP, tcp::Flags},
};

use super::{Chosen, backend, flow_hash, living};
use crate::{
    family::Tables,
    flows::{self, Flow, Remembered},
    maps,
};

/// A packet in a slot in motion.
pub(super) struct Mover<F: Tables> {
    flow: FlowTuple<F::Address>,
    /// TCP's flags; none for UDP.
    flags: Flags,
    /// Whether it is the first of a flow that was remembered just now, of a protocol that does not say
    /// so.
    pub(super) is_new_flow: bool,
}

impl<F: Tables> Mover<F> {
    #[inline(always)]
    pub(super) fn of(packet: &Packet<'_, F>) -> Self {
        Self {
            flow: packet.flow(),
            flags: packet.transport.flags(),
            is_new_flow: false,
        }
    }

    #[inline(always)]
    fn is_udp(&self) -> bool {
        self.flow.protocol == UDP
    }
}

/// Chooses by the flow's entry; without one by the slot's owner, or as for a new flow. `None`: none that is alive.
///
/// A function of its own in the program. Inlined, the verifier would walk through all that follows once for
/// each way through it.
#[inline(never)]
pub(super) fn choose<F: Tables>(
    record: &ServiceRecord,
    mover: &mut Mover<F>,
    hash: FlowHash,
    slot: Slot,
) -> Option<Chosen> {
    let syn = mover.flags.is_syn();
    let udp = mover.is_udp();
    let now = flows::now();
    let flow = Flow::<F>::of(record, mover.flow);
    let found = flow.find();
    // Whether there is an entry, and its backend's index is not another's by now.
    let held = found.exists() && is_held(record, found.entry);
    flow.looked_up(!held);
    if held {
        match living(record, found.entry.backend()) {
            // A stray or forged SYN must not move a living flow.
            Some(backend) if !syn || backend.state().accepts_new_flows() => {
                found.touch(entry_flags(mover, found.entry.flags()), now);
                return Some(backend);
            }
            // The entry stays as it is: its backend may be alive again soon.
            _ if !syn => return living(record, slot.current()),
            _ => {}
        }
    }

    let owner = living(record, owner::<F>(record, mover.flow, slot));
    let tracked = flow.always || record.old_slots_count != 0 || slot.previous() != NO_BACKEND;
    let (chosen, remember) = match owner {
        Some(owner) if !syn => (owner, tracked),
        // Segments of a flow whose backend died are answered with a reset; no use in remembering.
        None if !syn => (living(record, slot.current())?, tracked && udp),
        _ => {
            let current = living(record, slot.current())?;
            if let Some(owner) = owner
                && !held
                && ramps(current, owner, hash)
            {
                return Some(owner);
            }
            (current, tracked || held)
        }
    };
    if !remember {
        return Some(chosen);
    }
    let entry = FlowEntry::new(
        (chosen.entry().index - record.backends_first + 1) as LocalBackend,
        chosen.entry().generation,
        entry_flags(mover, 0),
        now,
    );
    let mut quicker = FlowEntry(0);
    match flow.remember(&found, entry, syn, now, &mut quicker) {
        Remembered::Yes => {
            mover.is_new_flow = udp;
            Some(chosen)
        }
        Remembered::Otherwise => living(record, quicker.backend()).or(Some(chosen)),
        Remembered::No => owner.or(Some(chosen)),
    }
}

/// Whether an entry holds: its backend's index is not another's by now. One whose backend is gone holds.
#[inline(always)]
fn is_held(record: &ServiceRecord, entry: FlowEntry) -> bool {
    backend(record, entry.backend()).is_none_or(|backend| {
        !backend.state().is_in_use() || backend.entry().generation == entry.generation()
    })
}

/// The backend that flows without an entry belong to. While the table is resized it is the owner in
/// the old one, by the old key.
#[inline(always)]
fn owner<F: Tables>(
    record: &ServiceRecord,
    flow: FlowTuple<F::Address>,
    slot: Slot,
) -> LocalBackend {
    if record.old_slots_count == 0 {
        return slot.owner();
    }
    let hash = flow_hash::<F>(record.old_hashing(), flow);
    maps::slot(record.old_slots_first + hash.slot(record.old_slots_count))
        .unwrap_or(Slot::UNSET)
        .owner()
}

/// Whether a new flow is to wait for `current` to have started slowly. Not where its owner is drained:
/// that one must come to its end.
#[inline(always)]
fn ramps(current: Chosen, owner: Chosen, hash: FlowHash) -> bool {
    owner.entry().index != current.entry().index
        && !current.state().admits(hash)
        && owner.state().accepts_new_flows()
}

/// The flags of the packet's entry, which had `before`.
#[inline(always)]
fn entry_flags<F: Tables>(mover: &Mover<F>, before: u8) -> u8 {
    if mover.is_udp() {
        return FlowEntry::ESTABLISHED;
    }
    let flags = mover.flags;
    if flags.is_syn() {
        // A port that is used again: the new connection is not closing.
        return if before & FlowEntry::CLOSING == 0 {
            before
        } else {
            0
        };
    }
    let closing = if flags.0 & (Flags::FIN | Flags::RST) == 0 {
        0
    } else {
        FlowEntry::CLOSING
    };
    before | FlowEntry::ESTABLISHED | closing
}

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
    wire::{Packet, tcp::Flags},
};

use super::{Chosen, backend, flow_hash, living};
use crate::{
    family::Tables,
    flows::{self, Flow, Remembered},
    maps,
};

/// Chooses by the flow's entry; without one by the slot's owner, or as for a new flow. `None`: none that is alive.
///
/// Options and no results here: the compiler packs a reason into the same bits as a pointer, and the
/// verifier lets nobody shift pointers.
#[inline(always)]
pub(super) fn choose<F: Tables>(
    record: &ServiceRecord,
    packet: &Packet<'_, F>,
    hash: FlowHash,
    slot: Slot,
    is_new_flow: &mut bool,
) -> Option<Chosen> {
    let syn = packet.transport.flags().is_syn();
    let udp = packet.transport.is_udp();
    let now = flows::now();
    let flow = Flow::of(record, packet);
    let found = flow.find();
    // Whether there is an entry, and its backend's index is not another's by now.
    let held = found.exists() && is_held(record, found.entry);
    flow.looked_up(!held);
    if held {
        match living(record, found.entry.backend()) {
            // A stray or forged SYN must not move a living flow.
            Some(backend) if !syn || backend.state().accepts_new_flows() => {
                found.touch(entry_flags(packet, found.entry.flags()), now);
                return Some(backend);
            }
            // The entry stays as it is: its backend may be alive again soon.
            _ if !syn => return living(record, slot.current()),
            _ => {}
        }
    }

    let owner = living(record, owner(record, packet, slot));
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
        entry_flags(packet, 0),
        now,
    );
    let mut quicker = FlowEntry(0);
    match flow.remember(&found, entry, syn, now, &mut quicker) {
        Remembered::Yes => {
            *is_new_flow = udp;
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
fn owner<F: Tables>(record: &ServiceRecord, packet: &Packet<'_, F>, slot: Slot) -> LocalBackend {
    if record.old_slots_count == 0 {
        return slot.owner();
    }
    let hash = flow_hash(record.old_hashing(), packet);
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
fn entry_flags<F: Tables>(packet: &Packet<'_, F>, before: u8) -> u8 {
    if packet.transport.is_udp() {
        return FlowEntry::ESTABLISHED;
    }
    let flags = packet.transport.flags();
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

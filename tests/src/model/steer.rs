//! The backend that gets a packet (rules 9 and 10).

use super::{
    connections,
    parse::Packet,
    verdict::{Counts, Reason, Verdict, drop},
    world::{FlowTuple, HashOver, Hashed, Slot, Table, World, cut},
};

/// A flow's hash, in its two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHash {
    /// Chooses the slot.
    pub primary: u32,
    /// Admits new flows under slow start, and is the entropy of tunnels.
    pub secondary: u32,
}

/// Who gets the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The backend's number in the service; it is alive.
    pub backend: u16,
    /// The flow's hash, by the key of the table in force.
    pub hash: FlowHash,
    /// Whether the flow was remembered, and was not before.
    pub remembered: bool,
}

/// Chooses.
///
/// # Errors
/// Nobody can get it.
pub fn choose(
    world: &mut World,
    service: usize,
    packet: &Packet,
    counts: &mut Counts,
) -> Result<Choice, Verdict> {
    let tuple = packet.tuple();
    let of = &world.services[service];
    let hash = flow_hash(&of.table, &tuple);
    let slot = slot(&of.table, hash);
    // A program that is not told to look takes every slot as one at rest. (While a table takes another's
    // place, its slots are tracked, so that every packet looks.)
    let looks = world.features.transition || world.features.always;
    let (backend, remembered) = if looks && !slot.is_at_rest() {
        connections::choose(world, service, packet, counts)
    } else {
        (of.living(slot.current), false)
    };
    Ok(Choice {
        backend: backend.ok_or(drop(Reason::NoBackend))?,
        hash,
        remembered,
    })
}

/// The flow hash of a table.
pub fn flow_hash(table: &Table, tuple: &FlowTuple) -> FlowHash {
    let hashed = match table.over {
        HashOver::FiveTuple => Hashed::Flow(*tuple),
        HashOver::Source {
            prefix_ipv4,
            prefix_ipv6,
        } => {
            let prefix = if tuple.source.is_ipv4() {
                prefix_ipv4
            } else {
                prefix_ipv6
            };
            Hashed::Source(cut(tuple.source, prefix))
        }
    };
    let hash = (table.hash)(&hashed);
    FlowHash {
        primary: (hash >> 32) as u32,
        secondary: hash as u32,
    }
}

/// The slot that a hash leads to. A table without slots has only unset ones.
pub fn slot(table: &Table, hash: FlowHash) -> Slot {
    let number = (u64::from(hash.primary) * table.slots.len() as u64) >> 32;
    let unset = Slot {
        current: 0,
        previous: 0,
    };
    table.slots.get(number as usize).copied().unwrap_or(unset)
}

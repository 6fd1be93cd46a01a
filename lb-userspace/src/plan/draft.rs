//! A service's part of a plan: its table and its record.

use std::collections::BTreeMap;

use lb_common::abi::{
    service::{ServiceId, ServiceRecord, ServiceRef, forward, hash, tracking},
    slot::Slot,
};

use super::{
    alloc::Space,
    claims::Claim,
    desired::Desired,
    endpoint::Endpoint,
    errors::{Limit, PlanError},
    image::{Held, Image},
    index::{BackendIndex, Range, RecordIndex, SlotIndex},
    maglev,
    seating::Seating,
    stages::Stages,
    writes::Write,
};
use crate::model::{Forward, Service};

/// What a service will be.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    claim: Claim<'a>,
    held: Option<Held<'a>>,
    pub(super) seating: Seating<'a>,
    /// Where the table is, and whether it has been there.
    slots: Range,
    table_is_new: bool,
    table: Vec<Slot>,
    /// The record in force at the end.
    record_index: RecordIndex,
    record: ServiceRecord,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        desired: &Desired<'a>,
        claim: Claim<'a>,
        image: &'a Image,
        space: &mut Space,
    ) -> Result<Self, PlanError> {
        let Claim { service, id } = claim;
        let full = |what, needed, limit, have| PlanError::Full {
            service: service.name.clone(),
            what,
            needed,
            limit,
            have,
        };
        let limits = &desired.model.limits;
        let held = image.service(id);
        let record = held.as_ref().map(|held| &held.record);
        let seating = Seating::new(desired, claim, record, image, space)?;

        let size = service.table_size;
        let in_place = held.filter(|held| held.record.slots_count == size);
        let slots = in_place
            .map(|held| Range::slots(&held.record))
            .or_else(|| space.slots(size))
            .ok_or_else(|| full("slots", size, Limit::Slots, limits.slots))?;
        let table = table(desired, &seating, size, in_place.map(|held| held.slots));

        let record = new_record(service, id, slots, seating.range);
        let record_index = held
            .filter(|held| held.record == record)
            .map(|held| held.record_index)
            .or_else(|| space.record())
            .ok_or_else(|| full("records", 1, Limit::Services, limits.services))?;
        Ok(Self {
            claim,
            held,
            seating,
            slots,
            table_is_new: in_place.is_none(),
            table,
            record_index,
            record,
        })
    }

    pub(super) fn claim(&self) -> Claim<'a> {
        self.claim
    }

    /// The record in force at the end.
    pub(super) fn record_index(&self) -> RecordIndex {
        self.record_index
    }

    /// The entries in use at the end.
    pub(super) fn backends(&self) -> impl Iterator<Item = BackendIndex> {
        self.seating.seats.iter().map(|seat| seat.index)
    }

    /// Whether slots wait for a barrier: a packet that read the old record must not meet slots that
    /// only the new one explains.
    pub(super) fn moves_wait(&self) -> bool {
        self.held.is_some() && self.record_changes() && !self.table_is_new
    }

    /// Plans entries, table and record. A service that must wait has replies that get another value,
    /// or slots that wait: its new backends are reached late.
    pub(super) fn write(&self, must_wait: bool, stages: &mut Stages) {
        self.seating
            .write(self.claim.id, !self.table_is_new, stages);
        if self.record_changes() {
            self.write_record(must_wait, stages);
        }
        match self.held {
            Some(held) if !self.table_is_new => {
                let moves = moves(SlotIndex(self.slots.first), held.slots, &self.table);
                stages.slots_moved += moves.iter().map(slots_in).sum::<usize>();
                stages.reach_when(must_wait).moves.extend(moves);
            }
            _ => stages.tables.push(Write::Slots {
                first: SlotIndex(self.slots.first),
                slots: self.table.clone(),
            }),
        }
    }

    fn record_changes(&self) -> bool {
        self.held.map(|held| held.record_index) != Some(self.record_index)
    }

    /// A new table names new backends, so it is published when they may be reached; a new range of
    /// backends under the same table says what the old one said, and one for a new id is not reached.
    fn write_record(&self, must_wait: bool, stages: &mut Stages) {
        stages.tables.push(Write::Record {
            index: self.record_index,
            record: self.record,
        });
        let late = must_wait && self.table_is_new && self.held.is_some();
        stages.reach_when(late).published.push(Write::Publish {
            service: self.claim.id,
            record: ServiceRef::record(self.record_index.0),
        });
    }
}

fn new_record(service: &Service, id: ServiceId, slots: Range, backends: Range) -> ServiceRecord {
    ServiceRecord {
        slots_first: slots.first,
        slots_count: slots.count,
        backends_first: backends.first,
        backends_count: backends.count,
        service: id,
        forward: match service.forward {
            Forward::Dnat => forward::DNAT,
            Forward::Dsr => forward::DSR,
        },
        tracking: tracking::TRANSITION,
        hash: hash::FIVE_TUPLE,
        ..ServiceRecord::default()
    }
}

/// The table that is wanted. With no backend eligible nothing moves, but slots let go of backends that
/// leave; the dead flags do the dropping.
fn table(
    desired: &Desired<'_>,
    seating: &Seating<'_>,
    size: u32,
    current: Option<&[Slot]>,
) -> Vec<Slot> {
    let eligible = seating.eligible();
    if eligible.is_empty() {
        return match current {
            Some(current) => resting(current, seating),
            None => vec![Slot::UNSET; size as usize],
        };
    }
    let weights: BTreeMap<Endpoint, u16> = eligible
        .iter()
        .map(|(endpoint, seat)| (*endpoint, seat.backend.weight))
        .collect();
    let owners: Vec<Slot> = eligible
        .values()
        .map(|seat| Slot::stable(seat.local))
        .collect();
    maglev::table(&weights, size, desired.seed.table)
        .into_iter()
        .map(|position| owners[position as usize])
        .collect()
}

/// The slots as they are, but for those whose backend does not stay.
fn resting(current: &[Slot], seating: &Seating<'_>) -> Vec<Slot> {
    let staying = seating.staying();
    current
        .iter()
        .map(|slot| Some(slot.current()).filter(|local| staying.contains(local)))
        .map(|local| local.map_or(Slot::UNSET, Slot::stable))
        .collect()
}

/// The slots that differ, in runs.
fn moves(first: SlotIndex, current: &[Slot], wanted: &[Slot]) -> Vec<Write> {
    let mut runs: Vec<Write> = Vec::new();
    let mut open = false;
    for (index, (current, wanted)) in (first.0..).zip(current.iter().zip(wanted)) {
        if current == wanted {
            open = false;
            continue;
        }
        match runs.last_mut() {
            Some(Write::Slots { slots, .. }) if open => slots.push(*wanted),
            _ => runs.push(Write::Slots {
                first: SlotIndex(index),
                slots: vec![*wanted],
            }),
        }
        open = true;
    }
    runs
}

fn slots_in(write: &Write) -> usize {
    match write {
        Write::Slots { slots, .. } => slots.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slots_that_differ_are_written_in_runs() {
        let slots = |locals: &[u16]| locals.iter().map(|l| Slot::stable(*l)).collect::<Vec<_>>();
        let moves = moves(
            SlotIndex(32),
            &slots(&[1, 1, 1, 1, 1]),
            &slots(&[2, 3, 1, 1, 2]),
        );
        let run = |first, locals| Write::Slots {
            first: SlotIndex(first),
            slots: slots(locals),
        };
        assert_eq!(moves, [run(32, &[2, 3]), run(36, &[2])]);
    }
}

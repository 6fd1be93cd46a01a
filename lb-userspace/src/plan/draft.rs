//! A service's part of a plan: its table and its record.

use std::{collections::BTreeSet, net::Ipv6Addr};

use lb_common::{
    abi::{
        service::{ServiceId, ServiceRecord, ServiceRef, forward, hash, tracking},
        slot::{LocalBackend, Slot},
    },
    endian::{Be16, Be32, Be128},
    family::Hashing,
    hash::HashKey,
};

use super::{
    alloc::Space,
    claims::Claim,
    desired::Desired,
    endpoint::Endpoint,
    errors::{Limit, PlanError},
    image::{Held, Image},
    index::{BackendIndex, Range, RecordIndex, SlotIndex},
    progress::ServiceProgress,
    seating::{Admission, Seating},
    stages::Stages,
    table::{InMotion, Targets},
    writes::Write,
};
use crate::model::{FlowHash, Forward, Service, Tracking};

/// What a service will be.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    claim: Claim<'a>,
    held: Option<Held<'a>>,
    pub(super) seating: Seating<'a>,
    progress: &'a ServiceProgress,
    /// Where the table is, and whether it has been there.
    slots: Range,
    table_is_new: bool,
    /// Slots of the table in force whose dead owner has lost its claim; as long as the table.
    disowned: Vec<Slot>,
    table: Vec<Slot>,
    /// The range that is left, and what it will hold.
    old_slots: Range,
    old_table: Vec<Slot>,
    /// The record in force at the end.
    record_index: RecordIndex,
    record: ServiceRecord,
}

/// Where a service's tables will be.
#[derive(Clone, Copy, Debug)]
struct Place {
    slots: Range,
    hashing: Hashing,
    is_new: bool,
    old: Left,
}

/// The range that is left; of count 0: none.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    slots: Range,
    hashing: Hashing,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        desired: &Desired<'a>,
        claim: Claim<'a>,
        image: &'a Image,
        space: &mut Space<'_>,
        may_stay: impl FnMut(Endpoint) -> bool,
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
        let seating = Seating::new(desired, claim, record, image, space, may_stay)?;
        let progress = desired.progress.of(id);

        let hashing = hashing(service, desired.seed.flow);
        let place = place(service, hashing, held.as_ref(), progress, space)
            .ok_or_else(|| full("slots", service.table_size, Limit::Slots, limits.slots))?;
        let targets = Targets::of(&seating, place.slots.count, desired.seed.table);
        let motion = InMotion {
            seating: &seating,
            progress,
            tracking: service.connections.tracking,
            resizing: place.old.slots.count > 0,
        };
        let disowned = held.map_or_else(Vec::new, |held| motion.disown(held.slots));
        let table = if place.is_new {
            motion.fresh(place.slots.count, &targets)
        } else {
            motion.next(&disowned, &targets)
        };
        let old_table = match held {
            _ if place.old.slots.count == 0 => Vec::new(),
            Some(_) if place.is_new => motion.left(&disowned),
            Some(held) => motion.left(&motion.disown_old(held.old_slots)),
            None => Vec::new(),
        };

        let record = new_record(service, id, place, seating.range);
        let record_index = held
            .filter(|held| held.record == record)
            .map(|held| held.record_index)
            .or_else(|| space.record())
            .ok_or_else(|| full("records", 1, Limit::Services, limits.services))?;
        Ok(Self {
            claim,
            held,
            seating,
            progress,
            slots: place.slots,
            table_is_new: place.is_new,
            disowned,
            table,
            old_slots: place.old.slots,
            old_table,
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

    /// The record in force before.
    pub(super) fn held(&self) -> Option<Held<'a>> {
        self.held
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
        let slots_stay = !self.table_is_new || self.old_slots.count > 0;
        let beginning = self.beginning();
        let admission = Admission {
            beginning: beginning.as_ref(),
            progress: self.progress,
        };
        self.seating
            .write(self.claim.id, slots_stay, must_wait, admission, stages);
        if self.record_changes() {
            self.write_record(must_wait, stages);
        }
        let first = SlotIndex(self.slots.first);
        if let Some(held) = self.held {
            let in_force = SlotIndex(held.record.slots_first);
            let disowned = moves(in_force, held.slots, &self.disowned);
            stages.disowned.extend(disowned);
        }
        match self.held {
            Some(held) if !self.table_is_new => {
                let table = &self.table;
                stages.slots_moved += (held.slots.iter().zip(table))
                    .filter(|(before, after)| before.current() != after.current())
                    .count();
                stages
                    .reach_when(must_wait)
                    .moves
                    .extend(moves(first, &self.disowned, table));
            }
            _ => stages.tables.push(Write::Slots {
                first,
                slots: self.table.clone(),
            }),
        }
        if let Some(held) = self.held {
            self.write_old_table(held, stages);
        }
    }

    /// Old slots lose a dead owner's claim before it can come back, and let go of those who are gone
    /// when no packet takes them for slots in force any more.
    fn write_old_table(&self, held: Held<'_>, stages: &mut Stages) {
        let first = SlotIndex(self.old_slots.first);
        if self.table_is_new {
            let old = moves(first, &self.disowned, &self.old_table);
            stages.old_slots.extend(old);
        } else {
            stages
                .disowned
                .extend(moves(first, held.old_slots, &self.old_table));
        }
    }

    fn record_changes(&self) -> bool {
        self.held.map(|held| held.record_index) != Some(self.record_index)
    }

    /// Where backends start slowly: who gets new flows by the table to come and none by the one in force.
    fn beginning(&self) -> Option<BTreeSet<LocalBackend>> {
        let connections = &self.claim.service.connections;
        let slow = !connections.slow_start.is_zero() && connections.tracking != Tracking::Never;
        let held = self.held.filter(|_| slow)?;
        let serving = |slots: &[Slot]| -> BTreeSet<LocalBackend> {
            slots.iter().map(|slot| slot.current()).collect()
        };
        Some(&serving(&self.table) - &serving(held.slots))
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

/// How flows find their slots.
pub(super) fn hashing(service: &Service, key: HashKey) -> Hashing {
    match service.hash {
        FlowHash::FiveTuple => Hashing {
            key,
            ..Hashing::default()
        },
        FlowHash::Source {
            prefix_ipv4,
            prefix_ipv6,
        } => Hashing {
            key,
            by_source: true,
            mask_ipv4: mask_ipv4(prefix_ipv4),
            mask_ipv6: mask_ipv6(prefix_ipv6),
        },
    }
}

fn mask_ipv4(prefix: u8) -> Be32 {
    let behind = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    Be32::new(!behind)
}

fn mask_ipv6(prefix: u8) -> Be128 {
    let behind = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
    Ipv6Addr::from(!behind).into()
}

/// Where the tables go. A table of another size, seed or hash takes the place of the one in force, which is
/// looked at until the resize is over. The next such change waits for that, and has its room already:
/// where there is none it is refused when it is asked for, not when it is due. A service that is never
/// tracked just takes the new one.
fn place(
    service: &Service,
    hashing: Hashing,
    held: Option<&Held<'_>>,
    progress: &ServiceProgress,
    space: &mut Space<'_>,
) -> Option<Place> {
    let size = service.table_size;
    let none = Left::default();
    let new = |slots, old| Place {
        slots,
        hashing,
        is_new: true,
        old,
    };
    let Some(held) = held else {
        return Some(new(space.slots(size)?, none));
    };
    let in_force = Left {
        slots: Range::slots(&held.record),
        hashing: held.record.hashing(),
    };
    let old = Left {
        slots: Range::old_slots(&held.record),
        hashing: held.record.old_hashing(),
    };
    let stays = |old| Place {
        slots: in_force.slots,
        hashing: in_force.hashing,
        is_new: false,
        old,
    };
    let tracked = service.connections.tracking != Tracking::Never;
    let goes_on = tracked && old.slots.count > 0 && !progress.resized;
    if in_force.slots.count == size && in_force.hashing == hashing {
        return Some(stays(if goes_on { old } else { none }));
    }
    let slots = space.slots(size)?;
    Some(if goes_on {
        stays(old)
    } else {
        new(slots, if tracked { in_force } else { none })
    })
}

fn new_record(service: &Service, id: ServiceId, place: Place, backends: Range) -> ServiceRecord {
    let Place {
        slots,
        hashing,
        is_new: _,
        old,
    } = place;
    ServiceRecord {
        slots_first: slots.first,
        slots_count: slots.count,
        old_slots_first: old.slots.first,
        old_slots_count: old.slots.count,
        backends_first: backends.first,
        backends_count: backends.count,
        service: id,
        forward: match service.forward {
            Forward::Dnat => forward::DNAT,
            Forward::Dsr => forward::DSR,
            Forward::Ipip => forward::IPIP,
            Forward::Gue { .. } => forward::GUE,
        },
        tracking: match service.connections.tracking {
            Tracking::Transition => tracking::TRANSITION,
            Tracking::Always => tracking::ALWAYS,
            Tracking::Never => tracking::NEVER,
        },
        hash: mode(hashing),
        old_hash: mode(old.hashing),
        gue_port: match service.forward {
            Forward::Gue { port } => Be16::new(port),
            Forward::Dnat | Forward::Dsr | Forward::Ipip => Be16::default(),
        },
        source_mask_ipv4: hashing.mask_ipv4,
        hash_key: hashing.key,
        old_source_mask_ipv4: old.hashing.mask_ipv4,
        old_hash_key: old.hashing.key,
        source_mask_ipv6: hashing.mask_ipv6,
        old_source_mask_ipv6: old.hashing.mask_ipv6,
        ..ServiceRecord::default()
    }
}

const fn mode(hashing: Hashing) -> u8 {
    if hashing.by_source {
        hash::SOURCE
    } else {
        hash::FIVE_TUPLE
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_length_is_a_mask() {
        for (prefix, mask) in [
            (1, "128.0.0.0"),
            (24, "255.255.255.0"),
            (32, "255.255.255.255"),
        ] {
            let mask: std::net::Ipv4Addr = mask.parse().unwrap();
            assert_eq!(mask_ipv4(prefix), mask.into());
        }
        for (prefix, mask) in [
            (1, "8000::"),
            (64, "ffff:ffff:ffff:ffff::"),
            (128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let mask: Ipv6Addr = mask.parse().unwrap();
            assert_eq!(mask_ipv6(prefix), mask.into());
        }
    }

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

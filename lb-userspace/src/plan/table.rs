//! A service's slots, one by one: who they should go to, and what the rules make of that.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::slot::{LocalBackend, Slot};

use super::{
    endpoint::Endpoint,
    maglev,
    motion::{self, NOBODY, State},
    progress::ServiceProgress,
    seating::Seating,
    seed::TableKey,
};
use crate::model::Tracking;

/// Whom each slot of a table should go to.
#[derive(Debug)]
pub(super) enum Owners {
    /// Maglev's choice among those who are eligible.
    Chosen(Vec<LocalBackend>),
    /// Nobody is eligible. Slots stay where they are, but for those whose backend lives and takes no
    /// new flows; the dead flags do the dropping.
    Resting {
        /// Those backends.
        retiring: BTreeSet<LocalBackend>,
    },
}

/// How slots change.
#[derive(Clone, Copy, Debug)]
pub(super) struct InMotion<'p, 'a> {
    pub(super) seating: &'p Seating<'a>,
    pub(super) progress: &'p ServiceProgress,
    pub(super) tracking: Tracking,
    /// Flows without an entry are looked up in another range.
    pub(super) resizing: bool,
}

impl Owners {
    pub(super) fn of(seating: &Seating<'_>, size: u32, key: TableKey) -> Self {
        let eligible = seating.eligible();
        if eligible.is_empty() {
            let retiring = seating.retiring();
            return Self::Resting { retiring };
        }
        let weights: BTreeMap<Endpoint, u16> = eligible
            .iter()
            .map(|(endpoint, seat)| (*endpoint, seat.weight()))
            .collect();
        let locals: Vec<LocalBackend> = eligible.values().map(|seat| seat.local).collect();
        let table = maglev::table(&weights, size, key);
        Self::Chosen(
            table
                .into_iter()
                .map(|position| locals[position as usize])
                .collect(),
        )
    }

    /// Whom a slot goes to that has `current` now, and whom it goes to where that one is gone.
    fn of_slot(&self, number: usize, current: LocalBackend) -> (LocalBackend, LocalBackend) {
        match self {
            Self::Chosen(locals) => {
                let chosen = locals.get(number).copied().unwrap_or(NOBODY);
                (chosen, chosen)
            }
            Self::Resting { retiring } if retiring.contains(&current) => (NOBODY, NOBODY),
            Self::Resting { .. } => (current, NOBODY),
        }
    }
}

impl InMotion<'_, '_> {
    /// A table that no packet has met.
    pub(super) fn fresh(&self, size: u32, owners: &Owners) -> Vec<Slot> {
        (0..size as usize)
            .map(|number| {
                let (to, _) = owners.of_slot(number, NOBODY);
                if self.resizing {
                    motion::resizing(to)
                } else {
                    motion::fresh(to, self.tracking)
                }
            })
            .collect()
    }

    /// Slots in force, without the claims that dead backends have lost.
    pub(super) fn disown(&self, slots: &[Slot]) -> Vec<Slot> {
        slots
            .iter()
            .map(|slot| match motion::state(*slot) {
                State::Transition { previous, .. }
                    if self.progress.disowned.contains(&previous) =>
                {
                    motion::expired(*slot)
                }
                _ => *slot,
            })
            .collect()
    }

    /// What slots in force become.
    pub(super) fn next(&self, slots: &[Slot], owners: &Owners) -> Vec<Slot> {
        let staying = self.seating.staying();
        let is_gone = |local| !staying.contains(&local);
        let mut next = slots.to_vec();
        self.each(&self.progress.expired, &mut next, motion::expired);
        if self.tracking != Tracking::Always {
            self.each(&self.progress.settled, &mut next, motion::settled);
        }
        for (number, slot) in next.iter_mut().enumerate() {
            let (to, instead) = owners.of_slot(number, slot.current());
            let released = motion::released(*slot, is_gone, instead);
            // Where nobody is eligible a slot rests with whoever has it now.
            let to = match owners {
                Owners::Chosen(_) => to,
                Owners::Resting { .. } if is_gone(slot.current()) => released.current(),
                Owners::Resting { .. } => to,
            };
            *slot = if self.resizing && released.current() != to {
                motion::resizing(to)
            } else {
                motion::moved(released, to, self.tracking)
            };
        }
        next
    }

    /// Slots of the range that is left, without such claims. Flows that were not remembered meanwhile
    /// are with the current backends of the new range: the old one knows nobody who has them.
    pub(super) fn disown_old(&self, slots: &[Slot]) -> Vec<Slot> {
        slots
            .iter()
            .map(|slot| {
                if self.progress.disowned.contains(&motion::owner(*slot)) {
                    Slot::UNSET
                } else {
                    *slot
                }
            })
            .collect()
    }

    /// Slots of the range that is left, without those who are gone.
    pub(super) fn left(&self, slots: &[Slot]) -> Vec<Slot> {
        let staying = self.seating.staying();
        slots
            .iter()
            .map(|slot| motion::released_old(*slot, |local| !staying.contains(&local)))
            .collect()
    }

    fn each(&self, numbers: &[u32], slots: &mut [Slot], change: fn(Slot) -> Slot) {
        for number in numbers {
            if let Some(slot) = slots.get_mut(*number as usize) {
                *slot = change(*slot);
            }
        }
    }
}

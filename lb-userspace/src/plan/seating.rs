//! Which entry of `BACKENDS` each backend of a service has.
//!
//! A backend that has an entry in the service's range keeps it. A new one gets an entry that is free;
//! if there are too few the range is made longer, or the service moves to another range, where every
//! backend keeps its local index and its generation, so that slots and flow entries stay true.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{
    backend::{Backend as Entry, BackendState, NextHop},
    service::{ServiceId, ServiceRecord},
    slot::{LocalBackend, MAX_LOCAL_BACKEND},
};

use super::{
    alloc::Space,
    claims::Claim,
    desired::{Desired, View},
    endpoint::Endpoint,
    errors::{Limit, PlanError},
    image::Image,
    index::{BackendIndex, Range},
    stages::Stages,
    writes::Write,
};
use crate::model::Backend;

/// The backends of a service, seated.
#[derive(Debug)]
pub(super) struct Seating<'a> {
    /// The range of entries.
    pub(super) range: Range,
    /// Every wanted backend.
    pub(super) seats: Vec<Seat<'a>>,
    /// Entries to be carried to the new range though their backends leave: slots still name them.
    carried: Vec<Carried>,
}

/// A backend and its entry.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    pub(super) backend: &'a Backend,
    pub(super) endpoint: Endpoint,
    pub(super) local: LocalBackend,
    pub(super) index: BackendIndex,
    view: View,
    origin: Origin,
}

/// What there was before.
#[derive(Debug)]
enum Origin {
    /// This entry, at this index.
    Kept(Entry),
    /// This entry, at the same local index of another range: at this index.
    Moved(Entry, BackendIndex),
    /// Nothing; the entry gets this generation.
    New(u16),
}

#[derive(Debug)]
struct Carried {
    index: BackendIndex,
    entry: Entry,
}

impl<'a> Seating<'a> {
    /// Seats the backends of a claimed service; `record` is the one in force.
    pub(super) fn new(
        desired: &Desired<'a>,
        claim: Claim<'a>,
        record: Option<&ServiceRecord>,
        image: &Image,
        space: &mut Space,
    ) -> Result<Self, PlanError> {
        let Claim { service, id } = claim;
        let old = record.map(Range::backends);
        let mut occupants = Occupants::of(image, id, old);
        let wanted: BTreeMap<Endpoint, &Backend> =
            service.backends.iter().map(|b| (b.into(), b)).collect();

        let range = occupants.room_for(&wanted, old, space).map_err(|needed| {
            if needed > u32::from(MAX_LOCAL_BACKEND) {
                let service = service.name.clone();
                return PlanError::TooManyBackends { service, needed };
            }
            PlanError::Full {
                service: service.name.clone(),
                what: "backends",
                needed,
                limit: Limit::Backends,
                have: desired.model.limits.backends,
            }
        })?;
        let moved = old.is_some_and(|old| old.first != range.first);
        let mut free: Vec<LocalBackend> = range
            .locals()
            .filter(|local| !occupants.in_use.contains_key(local))
            .collect();
        free.reverse();

        let mut seats = Vec::with_capacity(wanted.len());
        for (endpoint, backend) in wanted {
            let held = occupants.take(endpoint);
            let Some(local) = held.as_ref().map(|held| held.local).or_else(|| free.pop()) else {
                continue;
            };
            let Some(index) = range.backend(local) else {
                continue;
            };
            seats.push(Seat {
                backend,
                endpoint,
                local,
                index,
                view: desired.view(&service.key(backend)),
                origin: match held {
                    Some(held) => match old.filter(|_| moved).and_then(|old| old.backend(local)) {
                        Some(from) => Origin::Moved(held.entry, from),
                        None => Origin::Kept(held.entry),
                    },
                    None => Origin::New(next_generation(image.backend(index))),
                },
            });
        }
        Ok(Self {
            range,
            seats,
            carried: if moved {
                occupants.carry_to(range)
            } else {
                Vec::new()
            },
        })
    }

    /// The backends that the table is made of: local indices in the order of the weights.
    pub(super) fn eligible(&self) -> BTreeMap<Endpoint, &Seat<'a>> {
        self.seats
            .iter()
            .filter(|seat| seat.is_eligible())
            .map(|seat| (seat.endpoint, seat))
            .collect()
    }

    /// The local indices that slots may go on naming.
    pub(super) fn staying(&self) -> BTreeSet<LocalBackend> {
        self.seats
            .iter()
            .filter(|seat| !matches!(seat.origin, Origin::New(_)))
            .map(|seat| seat.local)
            .collect()
    }

    /// Plans the entries. Where the table stays in force, so do for a while those that leave.
    pub(super) fn write(&self, id: ServiceId, table_stays: bool, stages: &mut Stages) {
        for seat in &self.seats {
            seat.write(id, stages);
        }
        for Carried { index, entry } in self.carried.iter().filter(|_| table_stays) {
            stages.entry(*index, *entry);
            stages.free_backend(*index);
        }
    }
}

impl Seat<'_> {
    /// A backend once reached keeps its last next hop, and health decides.
    fn is_eligible(&self) -> bool {
        self.view.health.is_usable() && self.backend.weight > 0 && self.next_hop().is_resolved()
    }

    fn next_hop(&self) -> NextHop {
        self.view.resolved().unwrap_or(match &self.origin {
            Origin::Kept(entry) | Origin::Moved(entry, _) => NextHop(entry.next_hop),
            Origin::New(_) => NextHop::UNRESOLVED,
        })
    }

    fn state(&self) -> BackendState {
        BackendState::new(if self.view.health.is_usable() {
            BackendState::IN_USE
        } else {
            BackendState::IN_USE | BackendState::DEAD
        })
    }

    fn write(&self, id: ServiceId, stages: &mut Stages) {
        let (next_hop, state) = (self.next_hop(), self.state());
        match self.origin {
            Origin::Kept(entry) => {
                if entry.next_hop != next_hop.0 {
                    stages.next_hop(self.index, next_hop);
                }
                if entry.state != state.0 {
                    stages.state(self.index, state);
                }
            }
            Origin::Moved(entry, from) => {
                if state.is_dead() && entry.state != state.0 {
                    stages.state(from, state);
                }
                let entry = Entry {
                    next_hop: next_hop.0,
                    state: state.0,
                    ..entry
                };
                stages.entry(self.index, entry);
            }
            Origin::New(generation) => stages.entry(
                self.index,
                Entry {
                    next_hop: next_hop.0,
                    state: state.0,
                    generation,
                    port: self.endpoint.port_word(),
                    address: self.endpoint.address_words(),
                    service: id,
                    ..Entry::default()
                },
            ),
        }
    }
}

/// Who sits in a range now.
#[derive(Debug, Default)]
struct Occupants {
    in_use: BTreeMap<LocalBackend, Entry>,
    /// Those that are found by where they are; entries of another service are not.
    known: BTreeMap<Endpoint, LocalBackend>,
    taken: BTreeSet<LocalBackend>,
}

struct Occupant {
    local: LocalBackend,
    entry: Entry,
}

impl Occupants {
    fn of(image: &Image, id: ServiceId, range: Option<Range>) -> Self {
        let mut occupants = Self::default();
        let range = range.unwrap_or_default();
        for local in range.locals() {
            let entry = range.backend(local).and_then(|index| image.backend(index));
            let Some(entry) = entry.filter(|entry| BackendState(entry.state).is_in_use()) else {
                continue;
            };
            occupants.in_use.insert(local, *entry);
            if entry.service == id {
                let endpoint = Endpoint::of_entry(entry);
                occupants.known.entry(endpoint).or_insert(local);
            }
        }
        occupants
    }

    /// The range that holds those who are here and those who join; else how many that are.
    fn room_for(
        &self,
        wanted: &BTreeMap<Endpoint, &Backend>,
        old: Option<Range>,
        space: &mut Space,
    ) -> Result<Range, u32> {
        let joining = wanted
            .keys()
            .filter(|endpoint| !self.known.contains_key(endpoint))
            .count();
        let needed = u32::try_from(self.in_use.len() + joining).unwrap_or(u32::MAX);
        if needed > u32::from(MAX_LOCAL_BACKEND) {
            return Err(needed);
        }
        match old {
            Some(old) if needed <= old.count => Some(old),
            Some(old) => space
                .extend_backends(old, needed)
                .or_else(|| space.backends(needed)),
            None => space.backends(needed),
        }
        .ok_or(needed)
    }

    fn take(&mut self, endpoint: Endpoint) -> Option<Occupant> {
        let local = *self.known.get(&endpoint)?;
        let entry = *self.in_use.get(&local)?;
        self.taken.insert(local);
        Some(Occupant { local, entry })
    }

    /// Everybody that was not taken, at the same local index of `range`.
    fn carry_to(self, range: Range) -> Vec<Carried> {
        self.in_use
            .into_iter()
            .filter(|(local, _)| !self.taken.contains(local))
            .filter_map(|(local, entry)| {
                let index = range.backend(local)?;
                Some(Carried { index, entry })
            })
            .collect()
    }
}

/// Raised where the index was ever used, so that no flow entry takes the new backend for the old.
fn next_generation(last: Option<&Entry>) -> u16 {
    last.map_or(0, |last| last.generation.wrapping_add(1))
}

/// Frees every entry in use that nobody of `seated` has.
pub(super) fn free_others(image: &Image, seated: &[BackendIndex], stages: &mut Stages) {
    let mut seated = seated.to_vec();
    seated.sort_unstable();
    for (index, _) in image.backends_in_use() {
        if seated.binary_search(&index).is_err() {
            stages.free_backend(index);
        }
    }
}

impl Stages {
    fn entry(&mut self, index: BackendIndex, entry: Entry) {
        self.entries.push(Write::ResetCounters { index });
        self.entries.push(Write::Backend {
            index,
            entry: Box::new(entry),
        });
    }

    fn next_hop(&mut self, index: BackendIndex, next_hop: NextHop) {
        self.next_hops.push(Write::NextHop { index, next_hop });
    }

    fn state(&mut self, index: BackendIndex, state: BackendState) {
        let states = if state.is_dead() {
            &mut self.deaths
        } else {
            &mut self.recoveries
        };
        states.push(Write::BackendState { index, state });
    }

    /// The generation stays for whoever gets the index next.
    fn free_backend(&mut self, index: BackendIndex) {
        self.frees.push(Write::BackendState {
            index,
            state: BackendState::default(),
        });
    }
}

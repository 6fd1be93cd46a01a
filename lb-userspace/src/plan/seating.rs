//! Which entry of `BACKENDS` each backend of a service has.
//!
//! A backend that has an entry in the service's range keeps it. A new one gets an entry that is free;
//! if there are too few the range is made longer, or the service moves to another range, where every
//! backend keeps its local index and its generation, so that slots and flow entries stay true.
//!
//! A backend that is no longer configured keeps its seat while it finishes its connections, and is
//! gone for good after that. Who sits where now is known to `occupants`.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    abi::{
        backend::{Backend as Entry, BackendState, NextHop},
        service::{ServiceId, ServiceRecord},
        slot::{LocalBackend, MAX_LOCAL_BACKEND},
    },
    endian::Be128,
};

use super::{
    alloc::Space,
    claims::Claim,
    desired::{Desired, View},
    endpoint::{Endpoint, address_field},
    errors::{Limit, PlanError},
    image::Image,
    index::{BackendIndex, Range},
    occupants::{Gone, Occupant, Occupants},
    progress::ServiceProgress,
    stages::Stages,
    writes::Write,
};
use crate::model::{Admin, Backend, OnDeath, Override};

/// What a backend admits of new flows at the beginning of its slow start: a twentieth.
const FIRST_ADMITTED: u16 = u16::MAX / 20;

/// The backends of a service, seated.
#[derive(Debug)]
pub(super) struct Seating<'a> {
    /// The range of entries.
    pub(super) range: Range,
    /// Every configured backend, and those that finish their connections.
    pub(super) seats: Vec<Seat<'a>>,
    /// Those that are gone for good; slots may still name them.
    gone: Vec<Gone>,
    moved: bool,
}

/// A backend and its entry.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) local: LocalBackend,
    pub(super) index: BackendIndex,
    role: Role<'a>,
    view: View,
    /// Whether its packets get an outer header.
    tunneled: bool,
    origin: Origin,
}

/// What a backend does in its service.
#[derive(Debug)]
enum Role<'a> {
    /// It is configured.
    Configured {
        backend: &'a Backend,
        wish: Override,
        on_death: OnDeath,
    },
    /// It is not, and finishes its connections.
    Leaving,
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

/// What of a tunnel's outer header is not the same for all backends, and its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tunnel {
    source: Be128,
    mtu: u32,
}

/// How new flows begin to come to backends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission<'p> {
    /// Those that get their first slots; `None`: there is no table in force, or no slow start.
    pub(super) beginning: Option<&'p BTreeSet<LocalBackend>>,
    pub(super) progress: &'p ServiceProgress,
}

impl<'a> Seating<'a> {
    /// Seats the backends of a claimed service; `record` is the one in force. Whoever leaves
    /// and may not stay goes at once.
    pub(super) fn new(
        desired: &Desired<'a>,
        claim: Claim<'a>,
        record: Option<&ServiceRecord>,
        image: &Image,
        space: &mut Space<'_>,
        may_stay: impl FnMut(Endpoint) -> bool,
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
        let origin = |held: &Occupant| match old.filter(|_| moved) {
            Some(old) => old
                .backend(held.local)
                .map_or(Origin::Kept(held.entry), |from| {
                    Origin::Moved(held.entry, from)
                }),
            None => Origin::Kept(held.entry),
        };
        let mut free = occupants.free_in(range);
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
            let key = service.key(backend);
            seats.push(Seat {
                endpoint,
                local,
                index,
                role: Role::Configured {
                    backend,
                    wish: desired.override_of(&key),
                    on_death: service.connections.on_death,
                },
                view: desired.view(&key),
                tunneled: service.forward.is_tunnel(),
                origin: match held {
                    Some(held) => origin(&held),
                    None => Origin::New(next_generation(image.backend(index))),
                },
            });
        }
        let leaving = occupants.leaving(service, desired.progress.of(id), may_stay);
        for (endpoint, held) in leaving {
            if let Some(index) = range.backend(held.local) {
                seats.push(Seat {
                    endpoint,
                    local: held.local,
                    index,
                    role: Role::Leaving,
                    view: View::default(),
                    tunneled: service.forward.is_tunnel(),
                    origin: origin(&held),
                });
            }
        }
        Ok(Self {
            range,
            seats,
            gone: occupants.rest(range),
            moved,
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

    /// Those that stay alive and take no new flows.
    pub(super) fn retiring(&self) -> BTreeSet<LocalBackend> {
        self.seats
            .iter()
            .filter(|seat| seat.takes_no_new_flows() && !seat.is_dead())
            .map(|seat| seat.local)
            .collect()
    }

    /// The entries that are gone for good, where they were.
    pub(super) fn gone(&self) -> impl Iterator<Item = (Endpoint, &Entry)> {
        self.gone
            .iter()
            .map(|Gone { entry, .. }| (Endpoint::of_entry(entry), entry))
    }

    /// Plans the entries. Where slots stay in force that name those who are gone, so do their entries
    /// for a while; `late`: slots let go of them late.
    pub(super) fn write(
        &self,
        id: ServiceId,
        slots_stay: bool,
        late: bool,
        admission: Admission<'_>,
        stages: &mut Stages,
    ) {
        for seat in &self.seats {
            seat.write(id, admission, stages);
        }
        for Gone { index, entry } in &self.gone {
            if self.moved && slots_stay {
                stages.entry(*index, *entry);
                stages.free_backend(*index);
            }
            let state = BackendState(entry.state);
            if slots_stay && !state.is_dead() {
                // The last to name it are flow entries: they are not to be kept by a new connection.
                let state = BackendState(state.0 | BackendState::DEAD);
                stages
                    .reach_when(late)
                    .departures
                    .push(Write::BackendState {
                        index: *index,
                        state,
                    });
            }
        }
    }
}

impl Seat<'_> {
    /// The weight in the table.
    pub(super) fn weight(&self) -> u16 {
        match &self.role {
            Role::Configured { backend, wish, .. } if wish.admin == Admin::Enabled => {
                wish.weight.unwrap_or(backend.weight)
            }
            Role::Configured { .. } | Role::Leaving => 0,
        }
    }

    /// A backend once reached keeps its last next hop, and health decides.
    fn is_eligible(&self) -> bool {
        self.view.health.is_usable() && self.weight() > 0 && self.is_reached()
    }

    fn is_reached(&self) -> bool {
        let Tunnel { source, mtu } = self.tunnel();
        let has_outer = source != Be128::default() && mtu > 0;
        self.next_hop().is_resolved() && (has_outer || !self.tunneled)
    }

    fn next_hop(&self) -> NextHop {
        let held = self.held().map_or(0, |entry| entry.next_hop);
        self.view.resolved().unwrap_or(NextHop(held))
    }

    /// As it is known, or was last. Packets without an outer header read none of it: what a service
    /// leaves behind that was a tunnel once stays, since packets may still be using it.
    fn tunnel(&self) -> Tunnel {
        let Entry { source, mtu, .. } = self.held().copied().unwrap_or_default();
        if !self.tunneled {
            return Tunnel { source, mtu };
        }
        Tunnel {
            source: self.view.source.map_or(source, address_field),
            mtu: self.view.mtu.unwrap_or(mtu),
        }
    }

    fn held(&self) -> Option<&Entry> {
        match &self.origin {
            Origin::Kept(entry) | Origin::Moved(entry, _) => Some(entry),
            Origin::New(_) => None,
        }
    }

    fn takes_no_new_flows(&self) -> bool {
        match &self.role {
            Role::Configured { wish, .. } => wish.admin == Admin::Draining || self.weight() == 0,
            Role::Leaving => true,
        }
    }

    fn is_dead(&self) -> bool {
        match &self.role {
            Role::Configured { wish, on_death, .. } => {
                wish.admin == Admin::Disabled
                    || (*on_death == OnDeath::Reset && !self.view.health.is_usable())
            }
            Role::Leaving => false,
        }
    }

    fn state(&self, admission: Admission<'_>) -> BackendState {
        let mut flags = BackendState::IN_USE;
        if self.is_dead() {
            flags |= BackendState::DEAD;
        }
        if self.takes_no_new_flows() {
            flags |= BackendState::NO_NEW_FLOWS;
        }
        BackendState(flags | u32::from(self.admitted(admission)) << 16)
    }

    /// Who begins to get new flows begins with a part of them.
    fn admitted(&self, admission: Admission<'_>) -> u16 {
        let Admission {
            beginning,
            progress,
        } = admission;
        let Some(beginning) = beginning.filter(|_| self.is_eligible()) else {
            return u16::MAX;
        };
        if beginning.contains(&self.local) {
            return FIRST_ADMITTED;
        }
        let held = self
            .held()
            .map_or(u16::MAX, |entry| BackendState(entry.state).admit());
        progress.admit.get(&self.local).copied().unwrap_or(held)
    }

    fn write(&self, id: ServiceId, admission: Admission<'_>, stages: &mut Stages) {
        let (next_hop, state) = (self.next_hop(), self.state(admission));
        let Tunnel { source, mtu } = self.tunnel();
        match self.origin {
            Origin::Kept(entry) => {
                if entry.next_hop != next_hop.0 {
                    stages.next_hop(self.index, next_hop);
                }
                if (entry.source, entry.mtu) != (source, mtu) {
                    stages.tunnel(self.index, self.tunnel());
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
                    source,
                    mtu,
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
                    address: self.endpoint.address_field(),
                    family: self.endpoint.family(),
                    source,
                    mtu,
                    service: id,
                    ..Entry::default()
                },
            ),
        }
    }
}

/// Raised where the index was ever used, so that no flow entry takes the new backend for the old.
fn next_generation(last: Option<&Entry>) -> u16 {
    last.map_or(0, |last| last.generation.wrapping_add(1))
}

/// Frees every entry in use that nobody of `seated` has: all over the map, or in `ranges` only.
pub(super) fn free_others(
    image: &Image,
    ranges: Option<&[Range]>,
    seated: &[BackendIndex],
    stages: &mut Stages,
) {
    let mut seated = seated.to_vec();
    seated.sort_unstable();
    let mut free = |index: BackendIndex| {
        if seated.binary_search(&index).is_err() {
            stages.free_backend(index);
        }
    };
    match ranges {
        None => image.backends_in_use().for_each(|(index, _)| free(index)),
        Some(ranges) => ranges
            .iter()
            .flat_map(|range| image.backends_in(*range))
            .for_each(|(index, _)| free(index)),
    }
}

impl Stages {
    fn entry(&mut self, index: BackendIndex, entry: Entry) {
        self.entries.push(Write::ResetCounters { index });
        self.entries.push(Write::Backend {
            index,
            entry: Box::new(Entry {
                index: index.0,
                ..entry
            }),
        });
    }

    fn next_hop(&mut self, index: BackendIndex, next_hop: NextHop) {
        self.next_hops.push(Write::NextHop { index, next_hop });
    }

    fn tunnel(&mut self, index: BackendIndex, Tunnel { source, mtu }: Tunnel) {
        self.next_hops.push(Write::Tunnel { index, source, mtu });
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

//! Who sits in a service's range of `BACKENDS` now: backends that stay find their places there, those
//! that leave may finish their connections, the rest is gone. `seating` asks in this order.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{
    backend::{Backend as Entry, BackendState},
    service::ServiceId,
    slot::{LocalBackend, MAX_LOCAL_BACKEND},
};

use super::{
    alloc::Space,
    endpoint::Endpoint,
    image::Image,
    index::{BackendIndex, Range},
    progress::ServiceProgress,
};
use crate::model::{Backend, Service, Tracking};

/// Who sits in a range now.
#[derive(Debug, Default)]
pub(super) struct Occupants {
    in_use: BTreeMap<LocalBackend, Entry>,
    /// Those that are found by where they are; entries of another service are not.
    known: BTreeMap<Endpoint, LocalBackend>,
    taken: BTreeSet<LocalBackend>,
}

/// One of them.
pub(super) struct Occupant {
    pub(super) local: LocalBackend,
    pub(super) entry: Entry,
}

/// A backend that is gone for good, and where its entry is while slots let go of it.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) index: BackendIndex,
    pub(super) entry: Entry,
}

impl Occupants {
    /// Everybody with an entry in `range`, that of service `id`.
    pub(super) fn of(image: &Image, id: ServiceId, range: Option<Range>) -> Self {
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

    /// The local indices of `range` that nobody has.
    pub(super) fn free_in(&self, range: Range) -> Vec<LocalBackend> {
        range
            .locals()
            .filter(|local| !self.in_use.contains_key(local))
            .collect()
    }

    /// The range that holds those who are here and those who join; else how many that are.
    pub(super) fn room_for(
        &self,
        wanted: &BTreeMap<Endpoint, &Backend>,
        old: Option<Range>,
        space: &mut Space<'_>,
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

    /// Finds a backend that stays.
    pub(super) fn take(&mut self, endpoint: Endpoint) -> Option<Occupant> {
        let local = *self.known.get(&endpoint)?;
        let entry = *self.in_use.get(&local)?;
        self.taken.insert(local);
        Some(Occupant { local, entry })
    }

    /// Takes those that may finish their connections: alive, and within the service's patience.
    pub(super) fn leaving(
        &mut self,
        service: &Service,
        progress: &ServiceProgress,
        mut may_stay: impl FnMut(Endpoint) -> bool,
    ) -> Vec<(Endpoint, Occupant)> {
        let connections = &service.connections;
        if connections.tracking == Tracking::Never || connections.drain_timeout.is_zero() {
            return Vec::new();
        }
        let is_alive = |local: &LocalBackend| {
            let entry = self.in_use.get(local);
            entry.is_some_and(|entry| !BackendState(entry.state).is_dead())
        };
        let leaving: Vec<Endpoint> = self
            .known
            .iter()
            .filter(|(_, local)| !self.taken.contains(*local) && is_alive(local))
            .filter(|(_, local)| !progress.departed.contains(*local))
            .map(|(endpoint, _)| *endpoint)
            .filter(|endpoint| may_stay(*endpoint))
            .collect();
        leaving
            .into_iter()
            .filter_map(|endpoint| Some((endpoint, self.take(endpoint)?)))
            .collect()
    }

    /// Everybody that was not taken, at the same local index of `range`.
    pub(super) fn rest(self, range: Range) -> Vec<Gone> {
        self.in_use
            .into_iter()
            .filter(|(local, _)| !self.taken.contains(local))
            .filter_map(|(local, entry)| {
                let index = range.backend(local)?;
                Some(Gone { index, entry })
            })
            .collect()
    }
}

//! What the image says of configured services.

use std::collections::BTreeMap;

use lb_common::abi::{
    backend::{Backend as Entry, BackendState, NextHop},
    service::{ServiceId, ServiceRecord, forward},
    slot::{LocalBackend, NO_BACKEND, Slot},
};

use super::{
    desired::{Scope, View, vip_key},
    endpoint::Endpoint,
    image::Image,
    index::{BackendIndex, Range},
};
use crate::model::{BackendKey, Health, Model, OnDeath, Service};

/// A service as the maps have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Its id.
    pub id: ServiceId,
    /// The record in force.
    pub record: ServiceRecord,
    /// Its slots by state.
    pub slots: SlotCounts,
    /// Its backends.
    pub backends: BTreeMap<Endpoint, BackendStatus>,
}

/// Slots by state; the sum is the table's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// At rest.
    pub stable: u32,
    /// Moved within the transition window.
    pub transition: u32,
    /// Moved before, and some flows still have entries.
    pub tracked: u32,
    /// Naming no backend.
    pub unset: u32,
}

/// A backend as the maps have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    /// Its entry and counters.
    pub index: BackendIndex,
    /// What slots name it by.
    pub local: LocalBackend,
    /// Slots whose new flows it gets.
    pub slots: u32,
    /// Flags.
    pub state: BackendState,
    /// Where its frames go.
    pub next_hop: NextHop,
    /// How often the index was given away before.
    pub generation: u16,
}

impl Image {
    /// The id of a configured service: that of a listener of it.
    pub fn service_id(&self, service: &Service) -> Option<ServiceId> {
        service.listeners.iter().find_map(|listener| {
            let id = *self.vips().get(&vip_key(listener))?;
            self.services.contains_key(&id).then_some(id)
        })
    }

    /// What the maps hold of a configured service; `None` before it is published.
    pub fn status(&self, service: &Service) -> Option<ServiceStatus> {
        let id = self.service_id(service)?;
        let held = self.service(id)?;
        let mut slots = SlotCounts::default();
        let range = Range::backends(&held.record);
        let mut by_local = vec![0; range.count as usize + 1];
        for slot in held.slots {
            slots.count(*slot);
            if let Some(count) = by_local.get_mut(usize::from(slot.current())) {
                *count += 1;
            }
        }
        let backends = self
            .occupants(id, range)
            .map(|(local, index, entry)| {
                let status = BackendStatus {
                    index,
                    local,
                    slots: by_local.get(usize::from(local)).copied().unwrap_or(0),
                    state: BackendState(entry.state),
                    next_hop: NextHop(entry.next_hop),
                    generation: entry.generation,
                };
                (Endpoint::of_entry(entry), status)
            })
            .collect();
        Some(ServiceStatus {
            id,
            record: held.record,
            slots,
            backends,
        })
    }

    /// Where the entries and counters of the configured backends are.
    pub fn backend_indices(&self, model: &Model) -> BTreeMap<BackendKey, BackendIndex> {
        self.configured(model, Scope::All, |_, index, _| index)
    }

    /// What the maps say of the configured backends of some services, for a daemon that adopts them:
    /// alive is up, dead is unknown until probed, and the last next hop holds.
    pub fn last_known(&self, model: &Model, scope: Scope<'_>) -> BTreeMap<BackendKey, View> {
        self.configured(model, scope, |service, index, entry| View {
            health: match &service.health {
                None => Health::Unchecked,
                Some(_) if self.was_up(service, index, entry) => Health::Up,
                Some(_) => Health::Unknown,
            },
            next_hop: Some(NextHop(entry.next_hop)).filter(|next_hop| next_hop.is_resolved()),
            // The entries keep what they have of these until more is known.
            source: None,
            mtu: None,
        })
    }

    /// A backend whose flows outlive its health is not marked dead: whether it was up the table tells.
    fn was_up(&self, service: &Service, index: BackendIndex, entry: &Entry) -> bool {
        let is_dead = BackendState(entry.state).is_dead();
        if service.connections.on_death == OnDeath::Reset || is_dead {
            return !is_dead;
        }
        let held = self.service_id(service).and_then(|id| self.service(id));
        held.is_some_and(|held| {
            let range = Range::backends(&held.record);
            let has = |slot: &Slot| range.backend(slot.current()) == Some(index);
            held.slots.iter().any(has)
        })
    }

    /// The next hops of all `dnat` backends, and of those that are finishing connections.
    pub fn dnat_next_hops(&self) -> impl Iterator<Item = NextHop> {
        let records = self.services.values().filter_map(|r| self.records.get(r));
        records
            .filter(|record| record.forward == forward::DNAT)
            .flat_map(|record| self.backends_in(Range::backends(record)))
            .map(|(_, entry)| NextHop(entry.next_hop))
            .filter(|next_hop| next_hop.is_resolved())
    }

    fn configured<T>(
        &self,
        model: &Model,
        scope: Scope<'_>,
        describe: impl Fn(&Service, BackendIndex, &Entry) -> T,
    ) -> BTreeMap<BackendKey, T> {
        let mut found = BTreeMap::new();
        for service in model.services.iter().filter(|s| scope.includes(s)) {
            let held = self.service_id(service).and_then(|id| self.service(id));
            let Some(held) = held else { continue };
            let entries: BTreeMap<Endpoint, (BackendIndex, &Entry)> = self
                .occupants(held.record.service, Range::backends(&held.record))
                .map(|(_, index, entry)| (Endpoint::of_entry(entry), (index, entry)))
                .collect();
            for backend in &service.backends {
                if let Some((index, entry)) = entries.get(&backend.into()) {
                    found.insert(service.key(backend), describe(service, *index, entry));
                }
            }
        }
        found
    }

    fn occupants(
        &self,
        id: ServiceId,
        range: Range,
    ) -> impl Iterator<Item = (LocalBackend, BackendIndex, &Entry)> {
        range.locals().filter_map(move |local| {
            let index = range.backend(local)?;
            let entry = self.backend(index)?;
            (BackendState(entry.state).is_in_use() && entry.service == id)
                .then_some((local, index, entry))
        })
    }
}

impl SlotCounts {
    fn count(&mut self, slot: Slot) {
        let count = match (slot.current(), slot.previous()) {
            (0, _) => &mut self.unset,
            (_, NO_BACKEND) => &mut self.tracked,
            (current, previous) if current == previous => &mut self.stable,
            _ => &mut self.transition,
        };
        *count += 1;
    }
}

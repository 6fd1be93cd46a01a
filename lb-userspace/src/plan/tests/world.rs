//! Maps as the kernel would have them, written one write at a time, with everything that must hold
//! for the packets in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use lb_common::{
    abi::{
        backend::{Backend, BackendState, NextHop, family},
        service::{ServiceId, ServiceRecord, ServiceRef, forward},
        slot::{LocalBackend, NO_BACKEND, Slot},
    },
    endian::{Be32, Be128},
    family::Hashing,
};

use crate::{
    model::{
        Admin, Backend as Configured, BackendKey, FlowHash, Model, Override, Service, Tracking,
    },
    plan::{
        BackendIndex, Capacity, Desired, Endpoint, Image, Plan, PlanError, Progress, Range,
        RawMaps, ReplyTarget, Scope, Seed, ServiceProgress, View, VipKey, Write, maglev,
        motion::{self, State},
        reconcile,
    },
};

type Views = BTreeMap<BackendKey, View>;

/// The maps, the image of them, and what packets may still be using.
pub(super) struct World {
    pub(super) image: Image,
    pub(super) seed: Seed,
    pub(super) overrides: BTreeMap<BackendKey, Override>,
    /// What time has brought; spent by the next plan that is reached.
    pub(super) progress: Progress,
    vips: BTreeMap<VipKey, ServiceId>,
    services: Vec<ServiceRef>,
    records: Vec<ServiceRecord>,
    slots: Vec<Slot>,
    backends: Vec<Backend>,
    replies: BTreeMap<VipKey, ReplyTarget>,
    /// Whom a slot was written for; forgotten when the slot is written.
    written_for: BTreeMap<(u32, Half), Identity>,
    /// VIPs that the plan deletes further on: their replies may be another VIP's already.
    leaving: BTreeSet<VipKey>,
    /// A daemon died in between: some slot may name a backend whose replies it had withdrawn.
    pub(super) was_adopted: bool,
    /// What a packet may hold that began since the last barrier.
    held: Held,
}

/// Which backend of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Half {
    Current,
    Previous,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    endpoint: Endpoint,
    generation: u16,
}

#[derive(Default)]
struct Held {
    records: BTreeSet<u32>,
    backends: BTreeSet<u32>,
    deleted_keys: bool,
}

impl World {
    pub(super) fn new(model: &Model) -> Self {
        let capacity = Capacity::from(&model.limits);
        Self {
            image: Image::default(),
            seed: Seed::derive(None),
            overrides: BTreeMap::new(),
            progress: Progress::default(),
            vips: BTreeMap::new(),
            services: vec![ServiceRef::NONE; capacity.services as usize],
            records: vec![ServiceRecord::default(); capacity.records as usize],
            slots: vec![Slot::UNSET; capacity.slots as usize],
            backends: vec![Backend::default(); capacity.backends as usize],
            replies: BTreeMap::new(),
            written_for: BTreeMap::new(),
            leaving: BTreeSet::new(),
            was_adopted: false,
            held: Held::default(),
        }
    }

    pub(super) fn plan(&self, model: &Model, views: &Views) -> Result<Plan, PlanError> {
        self.plan_for(Scope::All, model, views)
    }

    pub(super) fn plan_for(
        &self,
        scope: Scope<'_>,
        model: &Model,
        views: &Views,
    ) -> Result<Plan, PlanError> {
        let seed = &self.seed;
        let desired = Desired {
            model,
            views,
            overrides: &self.overrides,
            seed,
            progress: &self.progress,
            scope,
        };
        reconcile(&desired, &self.image)
    }

    /// Plans, applies, and checks that what is wanted is there.
    pub(super) fn reach(&mut self, model: &Model, views: &Views) -> Plan {
        let plan = self.plan(model, views).unwrap();
        self.progress = Progress::default();
        self.apply(&plan, usize::MAX);
        self.check_reached(model, views);
        plan
    }

    /// Says that all windows are over, that no entries are left, that all drains are over.
    pub(super) fn wait_for_everything(&mut self, model: &Model) {
        let mut progress = Progress::default();
        for id in self.image.service_ids() {
            let held = self.image.service(id).unwrap();
            let slots_in = |wanted: fn(Slot) -> bool| {
                (0_u32..)
                    .zip(held.slots)
                    .filter(|(_, slot)| wanted(**slot))
                    .map(|(number, _)| number)
                    .collect()
            };
            let resizing = !held.old_slots.is_empty();
            let range = Range::backends(&held.record);
            let departed = range.locals().filter(|local| {
                let entry = range.backend(*local).and_then(|i| self.image.backend(i));
                entry.is_some_and(|entry| !is_configured(model, &self.image, id, entry))
            });
            let new = ServiceProgress {
                expired: slots_in(|slot| matches!(motion::state(slot), State::Transition { .. })),
                settled: slots_in(|slot| matches!(motion::state(slot), State::Tracked(_))),
                resized: resizing,
                departed: departed.collect(),
                ..ServiceProgress::default()
            };
            let settled = if resizing { Vec::new() } else { new.settled };
            progress
                .services
                .insert(id, ServiceProgress { settled, ..new });
        }
        self.progress = progress;
    }

    /// Applies the first `most` writes of a plan.
    pub(super) fn apply(&mut self, plan: &Plan, most: usize) {
        let mut left = most;
        self.leaving = plan.writes().filter_map(deleted_vip).collect();
        for (number, phase) in plan.phases.iter().enumerate() {
            if number > 0 {
                self.barrier();
            }
            for write in &phase.0 {
                if left == 0 {
                    return;
                }
                left -= 1;
                self.write(write);
                self.image.apply(write);
                self.check_packets(write);
            }
        }
    }

    pub(super) fn barrier(&mut self) {
        self.held = Held::default();
        self.check_packets(&Write::ResetCounters {
            index: BackendIndex(0),
        });
    }

    /// The image that a new daemon would read.
    pub(super) fn read_back(&self) -> Image {
        Image::from_maps(RawMaps {
            vips: self.vips.clone(),
            services: &self.services,
            records: &self.records,
            slots: &self.slots,
            backends: &self.backends,
            replies: self.replies.clone(),
        })
        .unwrap()
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Backend { index, entry } => {
                self.assert_unused(*index, write);
                let state = BackendState(self.backends[index.0 as usize].state);
                assert!(!state.is_in_use(), "{write:?} over an entry in use");
                assert_eq!(entry.index, index.0, "{write:?}");
                self.backends[index.0 as usize] = **entry;
            }
            Write::BackendState { index, state } => {
                if !state.is_in_use() {
                    self.assert_unused(*index, write);
                }
                self.backends[index.0 as usize].state = state.0;
            }
            Write::NextHop { index, next_hop } => {
                assert!(next_hop.is_resolved());
                self.backends[index.0 as usize].next_hop = next_hop.0;
            }
            Write::Tunnel { index, source, mtu } => {
                let entry = &mut self.backends[index.0 as usize];
                (entry.source, entry.mtu) = (*source, *mtu);
            }
            Write::ResetCounters { index } => self.assert_unused(*index, write),
            Write::Record { index, record } => {
                assert!(!self.held.records.contains(&index.0), "{write:?} held");
                let named = self.services.contains(&ServiceRef::record(index.0));
                assert!(!named, "{write:?} while named");
                self.records[index.0 as usize] = *record;
            }
            Write::Slots { first, slots } => self.write_slots(first.0, slots),
            Write::Publish { service, record } => {
                let old = self.record_of(*service).map(|old| Range::slots(&old));
                self.services[service.0 as usize] = *record;
                if let Some(new) = self.record_of(*service) {
                    let slots = Range::slots(&new);
                    if old != Some(slots) {
                        self.check_replies(&new, slots);
                    }
                }
            }
            Write::InsertVip { key, service } => {
                assert!(!self.held.deleted_keys, "{write:?} without a barrier");
                assert_eq!(self.vips.insert(*key, *service), None, "{write:?}");
                let record = self.record_of(*service).unwrap();
                self.check_replies(&record, Range::slots(&record));
            }
            Write::DeleteVip { key } => {
                assert!(self.vips.remove(key).is_some(), "{write:?}");
                self.leaving.remove(key);
                self.held.deleted_keys = true;
            }
            Write::InsertReply { key, reply } => {
                assert!(!self.held.deleted_keys, "{write:?} without a barrier");
                assert_eq!(self.replies.insert(*key, *reply), None, "{write:?}");
            }
            Write::DeleteReply { key } => {
                assert!(self.replies.remove(key).is_some(), "{write:?}");
                self.held.deleted_keys = true;
            }
        }
    }

    fn write_slots(&mut self, first: u32, slots: &[Slot]) {
        let count = u32::try_from(slots.len()).unwrap();
        let run = Range { first, count };
        for index in &self.held.records {
            let record = &self.records[*index as usize];
            if Range::slots(record).overlaps(run) {
                let current = self.services[record.service.0 as usize];
                assert_eq!(
                    current,
                    ServiceRef::record(*index),
                    "slots of an old record"
                );
            }
        }
        let in_force = self.vips.values().any(|id| {
            let record = self.record_of(*id);
            record.is_some_and(|record| Range::slots(&record).overlaps(run))
        });
        for (number, slot) in (first..).zip(slots) {
            let before = mem::replace(&mut self.slots[number as usize], *slot);
            if before.current() != slot.current() || !in_force {
                self.written_for.remove(&(number, Half::Current));
            }
            if before.previous() != slot.previous() || !in_force {
                self.written_for.remove(&(number, Half::Previous));
            }
        }
        let records = self.vips.values().filter_map(|id| self.record_of(*id));
        for record in records.filter(|record| Range::slots(record).overlaps(run)) {
            self.check_replies(&record, run);
        }
    }

    fn record_of(&self, id: ServiceId) -> Option<ServiceRecord> {
        let index = self.services[id.0 as usize].get()?;
        Some(self.records[index as usize])
    }

    /// Whoever these slots name, its replies find every VIP of the service.
    fn check_replies(&self, record: &ServiceRecord, slots: Range) {
        if self.was_adopted || record.forward != forward::DNAT {
            return;
        }
        let slots = slots.first as usize..(slots.first + slots.count) as usize;
        let named: BTreeSet<Slot> = self.slots[slots].iter().copied().collect();
        let vips = self.vips.iter().filter(|(_, id)| **id == record.service);
        for (vip, _) in vips.filter(|(vip, _)| !self.leaving.contains(vip)) {
            let locals = named
                .iter()
                .flat_map(|slot| [slot.current(), slot.previous()])
                .filter(|local| ![0, NO_BACKEND].contains(local));
            for local in locals {
                let index = Range::backends(record).backend(local).unwrap();
                let entry = &self.backends[index.0 as usize];
                let Endpoint { address, port } = Endpoint::of_entry(entry);
                let port = port.unwrap_or(vip.port());
                let reply = &self.replies[&VipKey::new(address, port, vip.protocol())];
                assert_eq!(reply.vip(), SocketAddr::new(vip.address(), vip.port()));
            }
        }
    }

    fn assert_unused(&self, index: BackendIndex, write: &Write) {
        assert!(!self.held.backends.contains(&index.0), "{write:?} in use");
    }

    /// Walks every way that a packet can go.
    fn check_packets(&mut self, write: &Write) {
        let ids: BTreeSet<ServiceId> = self.vips.values().copied().collect();
        let mut ranges = Vec::new();
        for id in ids {
            let index = self.services[id.0 as usize].get();
            let index = index.unwrap_or_else(|| panic!("VIP of an unpublished {id:?} ({write:?})"));
            let record = self.records[index as usize];
            assert_eq!(record.service, id, "{write:?}");
            self.held.records.insert(index);
            for number in record.slots_first..record.slots_first + record.slots_count {
                self.check_slot(&record, number, write);
            }
            for number in record.old_slots_first..record.old_slots_first + record.old_slots_count {
                self.check_old_slot(&record, number, write);
            }
            ranges.push(record);
        }
        for (number, a) in ranges.iter().enumerate() {
            for b in &ranges[..number] {
                for slots in [Range::slots(a), Range::old_slots(a)] {
                    for others in [Range::slots(b), Range::old_slots(b)] {
                        assert!(!slots.overlaps(others), "{write:?}");
                    }
                }
                assert!(
                    !Range::backends(a).overlaps(Range::backends(b)),
                    "{write:?}"
                );
            }
        }
    }

    fn check_slot(&mut self, record: &ServiceRecord, number: u32, write: &Write) {
        let slot = self.slots[number as usize];
        self.check_named(record, (number, Half::Current), slot.current(), write);
        if slot.previous() != NO_BACKEND {
            self.check_named(record, (number, Half::Previous), slot.previous(), write);
        }
    }

    /// Of a range that is being left only owners count.
    fn check_old_slot(&mut self, record: &ServiceRecord, number: u32, write: &Write) {
        let slot = self.slots[number as usize];
        let half = match motion::state(slot) {
            State::Transition { .. } => Half::Previous,
            State::Stable(_) | State::Tracked(_) => Half::Current,
        };
        self.check_named(record, (number, half), motion::owner(slot), write);
    }

    fn check_named(
        &mut self,
        record: &ServiceRecord,
        half: (u32, Half),
        local: LocalBackend,
        write: &Write,
    ) {
        if local == 0 {
            return;
        }
        let index = Range::backends(record).backend(local);
        let index = index.unwrap_or_else(|| panic!("{half:?} outside of {record:?} ({write:?})"));
        let entry = &self.backends[index.0 as usize];
        assert!(BackendState(entry.state).is_in_use(), "{index} ({write:?})");
        assert_eq!(entry.service, record.service, "{index} ({write:?})");
        let identity = Identity {
            endpoint: Endpoint::of_entry(entry),
            generation: entry.generation,
        };
        let written_for = *self.written_for.entry(half).or_insert(identity);
        assert_eq!(identity, written_for, "{half:?} ({write:?})");
        self.held.backends.insert(index.0);
    }

    /// What is wanted is there, nothing else is but who finishes its connections, and there is nothing
    /// left to do.
    pub(super) fn check_reached(&self, model: &Model, views: &Views) {
        assert_eq!(self.plan(model, views).unwrap(), Plan::default());
        let listeners: usize = model.services.iter().map(|s| s.listeners.len()).sum();
        assert_eq!(self.vips.len(), listeners);
        let mut backends = 0;
        let mut replies = 0;
        for service in &model.services {
            let status = self.image.status(service).unwrap();
            let leaving = status.backends.len() - service.backends.len();
            let connections = &service.connections;
            let may_drain =
                connections.tracking != Tracking::Never && !connections.drain_timeout.is_zero();
            assert!(leaving == 0 || may_drain);
            backends += status.backends.len();
            if service.forward.has_replies() {
                replies += status.backends.len() * service.listeners.len();
            }
            self.check_service(model, service, views);
        }
        assert_eq!(self.image.backends_in_use().count(), backends);
        assert_eq!(self.replies.len(), replies);
    }

    fn check_service(&self, model: &Model, service: &Service, views: &Views) {
        let status = self.image.status(service).unwrap();
        let held = self.image.service(status.id).unwrap();
        let mut eligible = BTreeMap::new();
        for backend in &service.backends {
            let endpoint = Endpoint::from(backend);
            let key = service.key(backend);
            let view = views.get(&key).copied().unwrap_or_default();
            let wish = self.overrides.get(&key).copied().unwrap_or_default();
            let found = status.backends[&endpoint];
            let disabled = wish.admin == Admin::Disabled;
            assert_eq!(found.state.is_dead(), disabled || !view.health.is_usable());
            let weight = weight(backend, wish);
            assert_eq!(found.state.0 & BackendState::NO_NEW_FLOWS != 0, weight == 0);
            if let Some(next_hop) = view.next_hop {
                assert_eq!(found.next_hop, next_hop);
            }
            let mut reached = found.next_hop != NextHop::UNRESOLVED;
            if service.forward.is_tunnel() {
                let entry = self.image.backend(found.index).unwrap();
                let chosen = match backend.address {
                    IpAddr::V4(_) => model.daemon.tunnel_source_ipv4.map(|s| s.address.into()),
                    IpAddr::V6(_) => model.daemon.tunnel_source_ipv6.map(|s| s.address.into()),
                };
                if let Some(source) = chosen.or(view.source) {
                    assert_eq!(of_field(entry.family, entry.source), source);
                }
                if let Some(mtu) = view.mtu {
                    assert_eq!(entry.mtu, mtu);
                }
                reached &= entry.source != Be128::default() && entry.mtu > 0;
            }
            if view.health.is_usable() && weight > 0 && reached {
                eligible.insert(endpoint, weight);
            }
        }
        for slot in held.slots {
            match service.connections.tracking {
                Tracking::Transition => {}
                Tracking::Always => assert!(!slot.is_stable() || *slot == Slot::UNSET),
                Tracking::Never => assert!(slot.is_stable()),
            }
        }
        if eligible.is_empty() {
            return;
        }
        let endpoints: Vec<Endpoint> = eligible.keys().copied().collect();
        let size = u32::try_from(held.slots.len()).unwrap();
        let is_wanted =
            size == service.table_size && held.record.hashing() == hashing(service, &self.seed);
        assert!(is_wanted || !held.old_slots.is_empty());
        let wanted: Vec<LocalBackend> = maglev::table(&eligible, size, self.seed.table)
            .into_iter()
            .map(|position| status.backends[&endpoints[position as usize]].local)
            .collect();
        let found: Vec<LocalBackend> = held.slots.iter().map(|slot| slot.current()).collect();
        assert_eq!(found, wanted);
    }
}

fn of_field(family: u8, field: Be128) -> IpAddr {
    match family {
        family::IPV4 => Ipv4Addr::from(field.leading()).into(),
        family::IPV6 => Ipv6Addr::from(field).into(),
        other => panic!("family {other}"),
    }
}

fn hashing(service: &Service, seed: &Seed) -> Hashing {
    let none = Hashing {
        key: seed.flow,
        ..Hashing::default()
    };
    match service.hash {
        FlowHash::FiveTuple => none,
        FlowHash::Source {
            prefix_ipv4,
            prefix_ipv6,
        } => Hashing {
            by_source: true,
            mask_ipv4: Be32::new(u32::MAX << (32 - prefix_ipv4)),
            mask_ipv6: Ipv6Addr::from(u128::MAX << (128 - prefix_ipv6)).into(),
            ..none
        },
    }
}

fn weight(backend: &Configured, wish: Override) -> u16 {
    match wish.admin {
        Admin::Enabled => wish.weight.unwrap_or(backend.weight),
        Admin::Draining | Admin::Disabled => 0,
    }
}

/// Whether the model still has the backend of an entry, in the service that has the entry.
fn is_configured(model: &Model, image: &Image, id: ServiceId, entry: &Backend) -> bool {
    model.services.iter().any(|service| {
        image.service_id(service) == Some(id)
            && (service.backends.iter()).any(|b| Endpoint::from(b) == Endpoint::of_entry(entry))
    })
}

fn deleted_vip(write: &Write) -> Option<VipKey> {
    match write {
        Write::DeleteVip { key } => Some(*key),
        _ => None,
    }
}

//! One service: its slots and backends, and since when they are what they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use lb_common::abi::{
    backend::BackendState,
    flow::FlowEntry,
    service::tracking,
    slot::{LocalBackend, NO_BACKEND, Slot},
};

use super::{
    Need,
    duration::in_ticks,
    fate::{self, CLOSING_SECONDS, Place, SYN_ONLY_SECONDS},
    gauges::BackendGauges,
    seen::{Moment, Seen},
};
use crate::{
    model::{Connections, Service, Tracking},
    plan::{
        Endpoint, Held, Image, Range, ServiceProgress,
        motion::{self, State},
    },
};

/// What is remembered of one service.
#[derive(Debug)]
pub(super) struct Ledger {
    name: Arc<str>,
    tracking: Tracking,
    window: u64,
    idle: u64,
    drain: u64,
    slow_start: u64,
    /// The table, slot by slot; empty while all of it is at rest.
    slots: Vec<Watched>,
    slots_first: u32,
    /// The pass in which the table came to rest.
    at_rest_in: u64,
    resize: Option<Resize>,
    /// It is always tracked, or was and is not at rest yet.
    was_always: bool,
    /// When a flow was last refused an entry; 0: never.
    refused_at: u64,
    /// When a backend was last starting slowly: it sends flows to owners that do not remember them.
    started_at: u64,
    backends: BTreeMap<LocalBackend, Seen>,
    /// Those that time does something to.
    aging: BTreeSet<LocalBackend>,
    /// What the running pass has counted so far; `None`: it began without this service.
    counting: Option<Counted>,
    /// The last complete pass.
    last: Option<Counted>,
    /// What that pass found to be settled.
    settled: Vec<u32>,
}

/// A slot and its past.
#[derive(Clone, Copy, Debug)]
struct Watched {
    slot: Slot,
    /// When its window began, in ticks.
    since: u64,
    /// The pass in which it became what it is.
    noted_in: u64,
    /// The last pass that left an entry of it.
    entry_in: u64,
}

/// A table is taking another's place.
#[derive(Debug)]
struct Resize {
    old: Range,
    since: u64,
    owners: BTreeSet<LocalBackend>,
}

#[derive(Debug)]
struct Counted {
    pass: u64,
    entries: u64,
    backends: BTreeMap<LocalBackend, u64>,
}

impl Ledger {
    pub(super) fn new(service: &Service) -> Self {
        Self {
            name: Arc::clone(&service.name),
            tracking: service.connections.tracking,
            window: 0,
            idle: 0,
            drain: 0,
            slow_start: 0,
            slots: Vec::new(),
            slots_first: 0,
            at_rest_in: 0,
            resize: None,
            was_always: false,
            refused_at: 0,
            started_at: 0,
            backends: BTreeMap::new(),
            aging: BTreeSet::new(),
            counting: None,
            last: None,
            settled: Vec::new(),
        }
    }

    pub(super) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Compares what the maps hold with what they held.
    pub(super) fn observe(
        &mut self,
        service: &Service,
        held: &Held<'_>,
        image: &Image,
        now: u64,
        pass: u64,
    ) {
        self.settings(service);
        self.was_always |=
            self.tracking == Tracking::Always || held.record.tracking == tracking::ALWAYS;
        let resize_ended = self.observe_resize(held, now);
        self.observe_slots(held, now, pass, resize_ended);
        if self.tracking != Tracking::Always && self.slots.is_empty() && self.resize.is_none() {
            self.was_always = false;
        }
        self.observe_backends(service, held, image, now, pass);
    }

    fn settings(&mut self, service: &Service) {
        let Connections {
            tracking,
            transition_window,
            flow_idle,
            on_death: _,
            drain_timeout,
            slow_start,
        } = service.connections;
        self.name = Arc::clone(&service.name);
        self.tracking = tracking;
        self.window = in_ticks(transition_window);
        self.idle = in_ticks(flow_idle.max(transition_window));
        self.drain = in_ticks(drain_timeout);
        self.slow_start = in_ticks(slow_start);
    }

    fn observe_resize(&mut self, held: &Held<'_>, now: u64) -> bool {
        let old = Range::old_slots(&held.record);
        if old.count == 0 {
            return self.resize.take().is_some();
        }
        let since = match &self.resize {
            Some(resize) if resize.old == old => resize.since,
            _ => now,
        };
        let owners = held.old_slots.iter().map(|slot| motion::owner(*slot));
        self.resize = Some(Resize {
            old,
            since,
            owners: owners.collect(),
        });
        false
    }

    fn observe_slots(&mut self, held: &Held<'_>, now: u64, pass: u64, resize_ended: bool) {
        let moved = self.slots_first != held.record.slots_first
            || (!self.slots.is_empty() && self.slots.len() != held.slots.len());
        if moved {
            self.slots.clear();
            self.slots_first = held.record.slots_first;
            self.at_rest_in = pass;
        }
        if held.slots.iter().all(|slot| slot.is_stable()) {
            if !self.slots.is_empty() {
                self.slots = Vec::new();
                self.at_rest_in = pass;
            }
            return;
        }
        let new = |slot: &Slot| Watched {
            slot: *slot,
            since: now,
            noted_in: pass,
            entry_in: 0,
        };
        if self.slots.is_empty() {
            self.slots = held.slots.iter().map(new).collect();
            return;
        }
        for (watched, slot) in self.slots.iter_mut().zip(held.slots) {
            if watched.slot == *slot {
                if resize_ended {
                    watched.noted_in = pass;
                }
                continue;
            }
            // No flow was added that is not remembered.
            let same_window = match (motion::state(watched.slot), motion::state(*slot)) {
                (State::Transition { previous: a, .. }, State::Transition { previous: b, .. }) => {
                    a == b
                }
                _ => false,
            };
            let since = if same_window { watched.since } else { now };
            *watched = Watched { since, ..new(slot) };
        }
    }

    fn observe_backends(
        &mut self,
        service: &Service,
        held: &Held<'_>,
        image: &Image,
        now: u64,
        pass: u64,
    ) {
        let configured: BTreeSet<Endpoint> = service.backends.iter().map(Endpoint::from).collect();
        let named: BTreeSet<LocalBackend> = held
            .slots
            .iter()
            .chain(held.old_slots)
            .flat_map(|slot| [slot.current(), slot.previous()])
            .collect();
        let range = Range::backends(&held.record);
        let moment = Moment {
            now,
            pass,
            window: self.window,
        };
        let mut backends = BTreeMap::new();
        for local in range.locals() {
            let entry = range.backend(local).and_then(|index| image.backend(index));
            let Some(entry) = entry.filter(|entry| {
                BackendState(entry.state).is_in_use() && entry.service == held.record.service
            }) else {
                continue;
            };
            let known = self.backends.remove(&local);
            let is_configured = configured.contains(&Endpoint::of_entry(entry));
            let is_named = named.contains(&local);
            let seen = Seen::observe(known, entry, is_configured, is_named, moment);
            backends.insert(local, seen);
        }
        self.backends = backends;
        let aging = self.backends.iter().filter(|(_, seen)| seen.is_aging());
        self.aging = aging.map(|(local, _)| *local).collect();
        self.note_starts(now);
    }

    fn note_starts(&mut self, now: u64) {
        if self.aging().any(|(_, seen)| seen.is_starting()) {
            self.started_at = now;
        }
    }

    /// The backends that time does something to. Nearly all do nothing but serve.
    fn aging(&self) -> impl Iterator<Item = (LocalBackend, &Seen)> {
        let aging = self.aging.iter();
        aging.filter_map(|local| Some((*local, self.backends.get(local)?)))
    }

    pub(super) fn refused(&mut self, at: u64) {
        self.refused_at = self.refused_at.max(at);
    }

    /// Whether it matters that flows are refused: some may belong to a slot's previous backend.
    pub(super) fn is_restless(&self) -> bool {
        self.resize.is_some() || !self.slots.is_empty()
    }

    pub(super) fn adopt_always(&mut self) {
        self.was_always |= self.is_restless();
    }

    pub(super) const fn keeps_always(&self) -> bool {
        self.was_always
    }

    /// How much another pass would bring.
    pub(super) fn need(&self) -> Need {
        let tracked = |watched: &Watched| matches!(motion::state(watched.slot), State::Tracked(_));
        let settles = self.tracking != Tracking::Always && self.slots.iter().any(tracked);
        let drains =
            (self.aging()).any(|(local, seen)| seen.gives_up() && !self.is_drained(local, seen));
        if settles || drains {
            Need::Soon
        } else if self.is_restless() || self.last.as_ref().is_none_or(|last| last.entries > 0) {
            Need::Later
        } else {
            Need::None
        }
    }

    /// What time has brought.
    pub(super) fn progress(&mut self, now: u64) -> ServiceProgress {
        self.note_starts(now);
        let unremembered = self.refused_at.max(self.started_at);
        let is_over = |since: u64| now >= since.max(unremembered).saturating_add(self.window);
        let numbered = || (0_u32..).zip(&self.slots);
        let expired = numbered().filter(|(_, watched)| {
            matches!(motion::state(watched.slot), State::Transition { .. })
                && is_over(watched.since)
        });
        let found_in = self.last.as_ref().map_or(0, |last| last.pass);
        let settled = self.settled.iter().copied().filter(|number| {
            self.slots
                .get(*number as usize)
                .is_some_and(|watched| self.may_settle(watched, found_in))
        });
        ServiceProgress {
            expired: expired.map(|(number, _)| number).collect(),
            settled: settled.collect(),
            resized: (self.resize.as_ref()).is_some_and(|resize| is_over(resize.since)),
            disowned: self.disowned(),
            departed: self.departed(now),
            admit: (self.aging())
                .filter_map(|(local, seen)| Some((local, seen.admits_next(self.slow_start, now)?)))
                .collect(),
        }
    }

    /// Dead backends that flows were kept from while they were dead: refused an entry, these went to
    /// the current backend of a slot, and it does not have to know them.
    fn disowned(&self) -> BTreeSet<LocalBackend> {
        let suspects: BTreeSet<LocalBackend> = self
            .aging()
            .filter(|(_, seen)| seen.was_dead_at(self.refused_at))
            .map(|(local, _)| local)
            .collect();
        if self.refused_at == 0 || suspects.is_empty() {
            return BTreeSet::new();
        }
        let previous = self
            .slots
            .iter()
            .filter_map(|watched| match motion::state(watched.slot) {
                State::Transition { previous, .. } => Some(previous),
                State::Stable(_) | State::Tracked(_) => None,
            });
        let owners = self.resize.iter().flat_map(|resize| &resize.owners);
        let owners: BTreeSet<LocalBackend> = previous.chain(owners.copied()).collect();
        &suspects & &owners
    }

    fn departed(&self, now: u64) -> BTreeSet<LocalBackend> {
        self.aging()
            .filter(|(local, seen)| {
                seen.leaving_since().is_some_and(|since| {
                    now >= since.saturating_add(self.drain) || self.is_drained(*local, seen)
                })
            })
            .map(|(local, _)| local)
            .collect()
    }

    /// Whether an entry is needed: without it its flow would go elsewhere, and the flow may go on.
    pub(super) fn is_needed(
        &self,
        image: &Image,
        place: Place,
        entry: FlowEntry,
        now: u64,
        pass: u64,
    ) -> bool {
        if self.tracking == Tracking::Never || !fate::names_backend(image, place, entry) {
            return false;
        }
        if u64::from(entry.age(now)) > self.patience(entry) {
            return false;
        }
        if self.slots.is_empty() {
            return self.at_rest_in >= pass;
        }
        let Some(watched) = self.slots.get(place.slot as usize) else {
            return true;
        };
        // Packets from before the last barrier may still see another slot.
        let is_fresh = watched.noted_in >= pass;
        match motion::state(watched.slot) {
            // A flow without an entry belongs to a slot of the old range.
            _ if self.resize.is_some() => true,
            State::Stable(_) => is_fresh,
            State::Tracked(current) if self.tracking != Tracking::Always => {
                is_fresh || current != entry.backend()
            }
            State::Tracked(_) | State::Transition { .. } => true,
        }
    }

    /// How long an entry is kept that is silent, in ticks.
    fn patience(&self, entry: FlowEntry) -> u64 {
        let flags = entry.flags();
        if flags & FlowEntry::CLOSING != 0 {
            in_ticks(Duration::from_secs(CLOSING_SECONDS))
        } else if flags & FlowEntry::ESTABLISHED == 0 {
            in_ticks(Duration::from_secs(SYN_ONLY_SECONDS))
        } else {
            self.idle
        }
    }

    pub(super) fn begin_pass(&mut self, pass: u64) {
        self.counting = Some(Counted {
            pass,
            entries: 0,
            backends: BTreeMap::new(),
        });
    }

    /// An entry stays.
    pub(super) fn count(&mut self, place: Place) {
        let Some(counting) = &mut self.counting else {
            return;
        };
        counting.entries += 1;
        *counting.backends.entry(place.backend).or_default() += 1;
        if let Some(watched) = self.slots.get_mut(place.slot as usize) {
            watched.entry_in = counting.pass;
        }
    }

    pub(super) fn end_pass(&mut self) {
        let Some(counted) = self.counting.take() else {
            return;
        };
        let pass = counted.pass;
        self.last = Some(counted);
        self.settled = (0_u32..)
            .zip(&self.slots)
            .filter(|(_, watched)| self.may_settle(watched, pass))
            .map(|(number, _)| number)
            .collect();
    }

    pub(super) fn abandon_pass(&mut self) {
        self.counting = None;
    }

    /// Whether a tracked slot was the same all through a pass that left no entry of it.
    fn may_settle(&self, watched: &Watched, pass: u64) -> bool {
        self.tracking != Tracking::Always
            && self.resize.is_none()
            && matches!(motion::state(watched.slot), State::Tracked(_))
            && watched.noted_in < pass
            && watched.entry_in != pass
    }

    pub(super) fn entries(&self) -> Option<u64> {
        self.last.as_ref().map(|last| last.entries)
    }

    pub(super) fn gauges(&self, local: LocalBackend) -> BackendGauges {
        let last = self.last.as_ref();
        let entries = last.and_then(|last| last.backends.get(&local).copied());
        let seen = self.backends.get(&local);
        BackendGauges {
            entries: entries.unwrap_or(0),
            is_drained: seen.is_some_and(|seen| self.is_drained(local, seen)),
        }
    }

    /// Whether a backend that takes no new flows has none left.
    fn is_drained(&self, local: LocalBackend, seen: &Seen) -> bool {
        debug_assert!(local != NO_BACKEND);
        let Some(last) = &self.last else {
            return false;
        };
        seen.gives_up()
            && seen.unnamed_in().is_some_and(|pass| pass < last.pass)
            && !last.backends.contains_key(&local)
    }
}

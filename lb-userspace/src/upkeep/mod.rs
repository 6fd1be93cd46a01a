//! What time does to connections: windows end, drains end, entries are swept, slots come to rest.
//!
//! Pure: time is an argument, in ticks of the monotonic clock ([`lb_common::abi::flow::ticks`]), and
//! nothing here reads or writes a map. `controller` tells it what the maps hold ([`Upkeep::observe`])
//! and when the program could not remember a flow ([`Upkeep::refused`]), asks what time has brought
//! ([`Upkeep::progress`], which goes into the next plan), and walks the flow tables for it:
//! [`Upkeep::begin_pass`] right after a barrier, [`Upkeep::judge`] for each batch, [`Upkeep::took`]
//! for each entry that it took out, [`Upkeep::end_pass`].
//!
//! - `ledger`: one service's slots and backends, since when they are what they are; `seen`: one
//!   backend.
//! - `fate`: which service and slot an entry belongs to, and whether it is still needed.
//! - `duration`: durations in ticks.
//! - [`gauges`]: what a pass has counted.
//!
//! **Invariant:** nothing here makes a slot forget a flow that spoke within the window. Whatever is
//! noticed late or after a restart makes windows longer, never shorter.
//!
//! Gaps that remain, all of them for flows that the program could not remember (its table was full, or
//! its budget spent): between the reading of the counters and the writing of the plan made of them,
//! some microseconds; where the owner was dead in the middle of a resize and the slot then moves again;
//! and over a restart of the daemon, for the flows of a backend that was dead meanwhile: since when is
//! not known, so a refusal in the window before counts, and no earlier one.

mod duration;
mod fate;
pub mod gauges;
mod ledger;
mod seen;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use lb_common::abi::{flow::FlowEntry, service::ServiceId, slot::LocalBackend};

pub use self::{duration::in_ticks, gauges::BackendGauges};
use self::{
    fate::{Fate, Place},
    ledger::Ledger,
};
use crate::{
    model::Model,
    plan::{FlowKey, Image, Progress, Scope},
};

/// Everything that is remembered of the past; [`Default`] knows nothing yet.
#[derive(Debug, Default)]
pub struct Upkeep {
    ledgers: BTreeMap<ServiceId, Ledger>,
    /// The number of the last pass that has begun. What is noted in one pass counts from the next one
    /// on: a barrier is in between.
    pass: u64,
}

/// A service whose refusals matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Restless {
    /// Its id.
    pub id: ServiceId,
    /// Its name.
    pub name: Arc<str>,
}

/// How much a pass over the flow tables would bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing: there are no entries that anybody waits for.
    #[default]
    None,
    /// Entries to count, and to forget when they are old.
    Later,
    /// A slot is to come to rest, or a backend is being drained.
    Soon,
}

impl Upkeep {
    /// Takes note of what the maps hold: after each plan, carried out or in part, and after adopting.
    /// Services outside of `scope` have not changed. What is new begins now.
    pub fn observe(&mut self, model: &Model, image: &Image, scope: Scope<'_>, now: u64) {
        for service in model.services.iter().filter(|s| scope.includes(s)) {
            let Some(id) = image.service_id(service) else {
                continue;
            };
            let Some(held) = image.service(id) else {
                continue;
            };
            let pass = self.pass;
            self.ledgers
                .entry(id)
                .or_insert_with(|| Ledger::new(service))
                .observe(service, &held, image, now, pass);
        }
        if matches!(scope, Scope::All) {
            self.ledgers.retain(|id, _| image.service(*id).is_some());
        }
    }

    /// An earlier daemon's services may have been tracked always, and flows of those that are not at rest
    /// be remembered in that table.
    pub fn adopt_always(&mut self) {
        self.ledgers.values_mut().for_each(Ledger::adopt_always);
    }

    /// The services whose flows may be refused: their counters are to be read before [`Self::progress`].
    pub fn restless(&self) -> impl Iterator<Item = Restless> {
        self.ledgers
            .iter()
            .filter(|(_, ledger)| ledger.is_restless())
            .map(|(id, ledger)| Restless {
                id: *id,
                name: Arc::clone(ledger.name()),
            })
    }

    /// The program could not remember a flow of a service, last at `at`; 0: never.
    pub fn refused(&mut self, service: ServiceId, at: u64) {
        if let Some(ledger) = self.ledgers.get_mut(&service) {
            ledger.refused(at);
        }
    }

    /// What time has brought; the names of the services that it concerns are [`Self::names`].
    pub fn progress(&mut self, now: u64) -> Progress {
        let mut progress = Progress::default();
        for (id, ledger) in &mut self.ledgers {
            let new = ledger.progress(now);
            if !new.is_empty() {
                progress.services.insert(*id, new);
            }
        }
        progress
    }

    /// The names of the services that some progress concerns.
    pub fn names(&self, progress: &Progress) -> impl Iterator<Item = Arc<str>> {
        progress
            .services
            .keys()
            .filter_map(|id| Some(Arc::clone(self.ledgers.get(id)?.name())))
    }

    /// How much another pass over the flow tables would bring.
    pub fn need(&self) -> Need {
        self.ledgers
            .values()
            .map(Ledger::need)
            .max()
            .unwrap_or_default()
    }

    /// Whether entries of services that are always tracked, or were, may be left.
    pub fn keeps_always(&self) -> bool {
        self.ledgers.values().any(Ledger::keeps_always)
    }

    /// A pass over every flow table begins. Whatever was noted before has been followed by a barrier.
    pub fn begin_pass(&mut self) {
        self.pass += 1;
        for ledger in self.ledgers.values_mut() {
            ledger.begin_pass(self.pass);
        }
    }

    /// Counts entries and says which of them are to be taken out.
    pub fn judge(
        &mut self,
        image: &Image,
        entries: &[(FlowKey, FlowEntry)],
        now: u64,
    ) -> Vec<(FlowKey, FlowEntry)> {
        let mut unneeded = Vec::new();
        for (key, entry) in entries {
            match self.fate(image, key, *entry, now) {
                Fate::Unneeded => unneeded.push((*key, *entry)),
                Fate::Kept(place) => self.count(place),
            }
        }
        unneeded
    }

    /// An entry was taken out. Returns what is to be put back: a packet has changed it meanwhile.
    #[must_use]
    pub fn took(
        &mut self,
        image: &Image,
        key: &FlowKey,
        judged: FlowEntry,
        taken: Option<FlowEntry>,
    ) -> Option<FlowEntry> {
        let put_back = taken.filter(|taken| *taken != judged)?;
        if let Some(place) = fate::place(image, key) {
            let place = Place {
                backend: put_back.backend(),
                ..place
            };
            self.count(place);
        }
        Some(put_back)
    }

    /// Every flow table was walked to its end.
    pub fn end_pass(&mut self) {
        for ledger in self.ledgers.values_mut() {
            ledger.end_pass();
        }
    }

    /// A pass was given up: what it counted says nothing.
    pub fn abandon_pass(&mut self) {
        for ledger in self.ledgers.values_mut() {
            ledger.abandon_pass();
        }
    }

    /// Entries of a service; `None`: no pass has been completed since it was there.
    pub fn entries(&self, service: ServiceId) -> Option<u64> {
        self.ledgers.get(&service)?.entries()
    }

    /// What is known of a backend's flows.
    pub fn gauges(&self, service: ServiceId, local: LocalBackend) -> BackendGauges {
        let ledger = self.ledgers.get(&service);
        ledger
            .map(|ledger| ledger.gauges(local))
            .unwrap_or_default()
    }

    fn fate(&self, image: &Image, key: &FlowKey, entry: FlowEntry, now: u64) -> Fate {
        let Some(place) = fate::place(image, key) else {
            return Fate::Unneeded;
        };
        let Some(ledger) = self.ledgers.get(&place.service) else {
            // Not observed yet: nothing is known, so nothing is taken.
            return Fate::Kept(place);
        };
        let place = Place {
            backend: entry.backend(),
            ..place
        };
        if ledger.is_needed(image, place, entry, now, self.pass) {
            Fate::Kept(place)
        } else {
            Fate::Unneeded
        }
    }

    fn count(&mut self, place: Place) {
        if let Some(ledger) = self.ledgers.get_mut(&place.service) {
            ledger.count(place);
        }
    }
}

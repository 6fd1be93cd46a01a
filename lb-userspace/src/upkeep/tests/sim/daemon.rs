//! The daemon: plans that are written a slot at a time while packets come, turns of upkeep, adoption.

use std::{collections::BTreeSet, sync::Arc};

use lb_common::abi::flow::FlowEntry;

use super::{Cursor, Lost, Sabotage, Sim};
use crate::{
    model::FlowHash,
    plan::{Desired, FlowKey, Plan, Progress, Scope, Seed, motion, reconcile},
    upkeep::{
        Need, Upkeep,
        tests::packets::{Home, SERVICE, is_alive, slot},
    },
};

impl Sim {
    /// One turn of the daemon: what time has brought, and a plan. `most`: it dies after so many writes.
    pub(super) fn plan(&mut self, all: bool, most: usize) -> Result<(), Lost> {
        let told = self.shape.sabotage != Sabotage::RefusalsAreNotTold;
        if told && self.upkeep.restless().next().is_some() {
            self.upkeep.refused(SERVICE, self.program.last_refused);
        }
        let mut progress = self.upkeep.progress(self.now);
        self.sabotage(&mut progress);
        for new in progress.services.values() {
            // The rule gives up the flows of a dead owner for those that were refused meanwhile.
            for flow in self.flows.values_mut() {
                flow.promised &= !new.disowned.contains(&flow.home.local);
            }
            self.counted.settled += new.settled.len() as u64;
            self.counted.resized += u64::from(new.resized);
            self.counted.departed += new.departed.len() as u64;
            self.counted.disowned += new.disowned.len() as u64;
        }
        let names: BTreeSet<Arc<str>> = [Arc::clone(&self.model.services[0].name)].into();
        let scope = if all {
            Scope::All
        } else {
            Scope::Services(&names)
        };
        let desired = Desired {
            model: &self.model,
            views: &self.views,
            overrides: &self.overrides,
            seed: &self.seed,
            progress: &progress,
            scope,
        };
        let plan = reconcile(&desired, &self.image).expect("there is room for everything");
        self.apply(&plan, most)?;
        if most == usize::MAX {
            let scope = if all {
                Scope::All
            } else {
                Scope::Services(&names)
            };
            self.upkeep
                .observe(&self.model, &self.image, scope, self.now);
        }
        Ok(())
    }

    fn apply(&mut self, plan: &Plan, most: usize) -> Result<(), Lost> {
        let mut after = self.image.clone();
        plan.writes().for_each(|write| after.apply(write));
        let homes: BTreeSet<Home> = self.flows.values().map(|flow| flow.home).collect();
        let is_removed = |home: &Home| is_alive(&self.image, *home) && !is_alive(&after, *home);
        self.doomed.extend(homes.into_iter().filter(is_removed));
        self.is_planning = true;
        let mut left = most;
        for (number, phase) in plan.phases.iter().enumerate() {
            if number > 0 {
                self.flush();
            }
            for write in &phase.0 {
                if left == 0 {
                    self.is_planning = false;
                    return Ok(());
                }
                left -= 1;
                // Runs of slots are not written at once.
                for write in single(write) {
                    self.image.apply(&write);
                    self.meanwhile()?;
                }
                self.check("after a write")
                    .map_err(|Lost(text)| Lost(format!("{text}; {write:?}")))?;
            }
        }
        self.is_planning = false;
        self.doomed.clear();
        Ok(())
    }

    /// Some packets come in between.
    fn meanwhile(&mut self) -> Result<(), Lost> {
        for _ in 0..self.random.below(2) {
            if self.random.one_in(3) && self.shape.flows > 0 {
                let _made = self.begin();
                continue;
            }
            let number = self.random.below(self.flows.len().max(1) as u64) as usize;
            if let Some(key) = self.flows.keys().nth(number).copied() {
                self.speak(key);
            }
        }
        Ok(())
    }

    fn sabotage(&self, progress: &mut Progress) {
        let Some(held) = self.image.service(SERVICE) else {
            return;
        };
        let slots_in = |wanted: fn(motion::State) -> bool| -> Vec<u32> {
            (0_u32..)
                .zip(held.slots)
                .filter(|(_, slot)| wanted(motion::state(**slot)))
                .map(|(number, _)| number)
                .collect()
        };
        match self.shape.sabotage {
            Sabotage::NoWindow => {
                let new = progress.services.entry(SERVICE).or_default();
                new.expired = slots_in(|state| matches!(state, motion::State::Transition { .. }));
            }
            Sabotage::NoSweep => {
                let new = progress.services.entry(SERVICE).or_default();
                new.settled = slots_in(|state| matches!(state, motion::State::Tracked(_)));
            }
            _ => {}
        }
    }

    /// The daemon is killed and another takes its place.
    pub(super) fn adopt(&mut self) -> Result<(), Lost> {
        self.counted.adopted += 1;
        // In the middle of a plan.
        let most = self.random.below(6) as usize;
        self.plan(false, most)?;
        if self.program.last_refused > 0 {
            self.forgive_flows_of_the_dead();
        }
        if self.random.one_in(4) {
            self.counted.adopted_reseeded += 1;
            self.reseed();
        }
        if self.random.one_in(4) {
            self.rehash();
        }
        self.upkeep = Upkeep::default();
        self.cursor = None;
        self.flush();
        self.doomed.clear();
        self.upkeep
            .observe(&self.model, &self.image, Scope::All, self.now);
        let known = self.image.last_known(&self.model, Scope::All);
        for (key, view) in &mut self.views {
            *view = known.get(key).copied().unwrap_or(*view);
        }
        self.plan(true, usize::MAX)
    }

    /// One of three seeds: some changes come back to an earlier one, some change nothing.
    pub(super) fn reseed(&mut self) {
        let seeds = ["sim", "other", "third"];
        self.seed = Seed::derive(Some(seeds[self.random.below(3) as usize]));
    }

    /// Another part of a flow chooses its slot: some changes come back to an earlier one.
    pub(super) fn rehash(&mut self) {
        let source = |prefix_ipv4, prefix_ipv6| FlowHash::Source {
            prefix_ipv4,
            prefix_ipv6,
        };
        let hashes = [FlowHash::FiveTuple, source(32, 128), source(30, 126)];
        let hash = hashes[self.random.below(3) as usize];
        let service = self.service();
        let changes = service.hash != hash;
        service.hash = hash;
        self.counted.rehashed += u64::from(changes);
    }

    /// Since when a backend is dead is not known to the next daemon: where flows were refused, it may
    /// count them wrongly to the dead backend or to the living one. See the module.
    fn forgive_flows_of_the_dead(&mut self) {
        let keys: Vec<FlowKey> = self.flows.keys().copied().collect();
        for key in keys {
            let home_is_dead = !is_alive(&self.image, self.flows[&key].home);
            let owner_is_dead = !self.owner_is_alive(&key);
            let remembered = self.program.flows.contains_key(&key);
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.promised &= !home_is_dead && (remembered || !owner_is_dead);
            }
        }
    }

    /// One turn over the flow table.
    pub(super) fn sweep(&mut self) -> Result<(), Lost> {
        let Some(Cursor::From(from)) = self.cursor else {
            if self.upkeep.need() != Need::None {
                self.flush();
                self.upkeep.begin_pass();
                self.cursor = Some(Cursor::From(None));
            }
            return Ok(());
        };
        let most = 1 + self.random.below(40) as usize;
        let batch: Vec<(FlowKey, FlowEntry)> = self
            .program
            .flows
            .iter()
            .filter(|(key, _)| from.is_none_or(|from| **key > from))
            .take(most)
            .map(|(key, entry)| (*key, *entry))
            .collect();
        let mut unneeded = self.upkeep.judge(&self.image, &batch, self.now);
        if self.shape.sabotage == Sabotage::SweepInTransition {
            unneeded.extend(self.agreeing(&batch));
        }
        for (key, judged) in unneeded {
            if self.flows.contains_key(&key) && self.random.one_in(2) {
                self.speak(key);
            }
            let taken = self.program.flows.remove(&key);
            self.counted.swept += u64::from(taken.is_some());
            if self.random.one_in(4) && self.flows.contains_key(&key) {
                self.speak(key);
            }
            if let Some(back) = self.upkeep.took(&self.image, &key, judged, taken) {
                self.counted.put_back += 1;
                self.program.flows.entry(key).or_insert(back);
            }
            self.check("after an entry was taken")?;
        }
        self.cursor = match batch.last() {
            Some((key, _)) => Some(Cursor::From(Some(*key))),
            None => {
                self.upkeep.end_pass();
                None
            }
        };
        Ok(())
    }

    fn agreeing(&self, batch: &[(FlowKey, FlowEntry)]) -> Vec<(FlowKey, FlowEntry)> {
        let held = self.image.service(SERVICE).expect("it is published");
        let agrees =
            |key: &FlowKey, entry: &FlowEntry| slot(&held, key).current() == entry.backend();
        let agreeing = batch.iter().filter(|(key, entry)| agrees(key, entry));
        agreeing.copied().collect()
    }
}

/// The same write, a slot at a time.
fn single(write: &crate::plan::Write) -> Vec<crate::plan::Write> {
    use crate::plan::{SlotIndex, Write};
    match write {
        Write::Slots { first, slots } => (first.0..)
            .zip(slots)
            .map(|(index, slot)| Write::Slots {
                first: SlotIndex(index),
                slots: vec![*slot],
            })
            .collect(),
        other => vec![other.clone()],
    }
}

//! A daemon, its maps, clients: time passes, things happen, and no flow may notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use lb_common::{
    abi::{
        backend::NextHop,
        flow::{FlowEntry, FlowKeyV4, TICK_SHIFT},
    },
    endian::{Be16, Be32},
};

use super::packets::{
    Broken, Decision, Effect, Home, Kind, Program, SERVICE, is_alive, old_slot, slot,
};
use crate::{
    model::{
        Admin, Backend, BackendKey, Connections, Daemon, Forward, Health, Limits, Listener, Model,
        OnDeath, OnStop, Override, Protocol, Service, Tracking,
    },
    plan::{Desired, Image, Plan, Progress, Scope, Seed, View, motion, reconcile},
    upkeep::{Need, Upkeep},
};

const WINDOW: Duration = Duration::from_secs(8);
/// A flow that is silent for at most so long is not to be lost.
const SILENCE: u64 = (WINDOW.as_nanos() >> TICK_SHIFT) as u64;

/// What a simulation is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) table_size: u32,
    pub(super) flows: usize,
    /// Room in the flow table.
    pub(super) capacity: usize,
    /// Entries that can be made in a tick, most of the time.
    pub(super) budget: u32,
    pub(super) tracking: Tracking,
    pub(super) ticks: u32,
    /// Of 100 ticks in how many something happens.
    pub(super) unrest: u64,
    pub(super) sabotage: Sabotage,
}

/// Which rule is broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// None.
    #[default]
    None,
    /// What cannot be remembered goes to the current backend.
    RefusedGoesToCurrent,
    /// Upkeep does not hear of flows that could not be remembered.
    RefusalsAreNotTold,
    /// Windows end at once.
    NoWindow,
    /// Tracked slots come to rest at once.
    NoSweep,
    /// Entries that agree with the slot are swept in transition, too.
    SweepInTransition,
}

/// A flow that would leave a living backend, or be dropped.
#[derive(Debug)]
pub(super) struct Lost(pub(super) String);

#[derive(Clone, Copy, Debug)]
struct Flow {
    home: Home,
    last: u64,
    /// A promise was made to it; not to those caught in a gap that is documented.
    promised: bool,
}

pub(super) struct Sim {
    shape: Shape,
    random: Random,
    now: u64,
    model: Model,
    views: BTreeMap<BackendKey, View>,
    overrides: BTreeMap<BackendKey, Override>,
    seed: Seed,
    pub(super) image: Image,
    pub(super) upkeep: Upkeep,
    pub(super) program: Program,
    flows: BTreeMap<FlowKeyV4, Flow>,
    /// Inserts of packets that began before the last write and are not through yet.
    late: Vec<(FlowKeyV4, FlowEntry)>,
    /// Backends that the plan being written removes.
    doomed: BTreeSet<Home>,
    is_planning: bool,
    /// Where the pass is.
    cursor: Option<Cursor>,
    fresh_port: u16,
    pub(super) counted: Counted,
}

/// What happened, so that a simulation of nothing is noticed.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) packets: u64,
    pub(super) remembered: u64,
    pub(super) refused: u64,
    pub(super) swept: u64,
    pub(super) put_back: u64,
    pub(super) settled: u64,
    pub(super) resized: u64,
    /// Changes of the seed while the daemon runs, and at its start.
    pub(super) reseeded: u64,
    pub(super) adopted_reseeded: u64,
    pub(super) adopted: u64,
    pub(super) departed: u64,
    pub(super) disowned: u64,
}

#[derive(Clone, Copy, Debug)]
enum Cursor {
    From(Option<FlowKeyV4>),
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

impl Sim {
    pub(super) fn new(shape: Shape, seed: u64) -> Self {
        let model = model(shape);
        let views = model.services[0]
            .backends
            .iter()
            .map(|backend| (model.services[0].key(backend), up()))
            .collect();
        let keys = Seed::derive(Some("sim"));
        let broken = Broken {
            refused_goes_to_current: shape.sabotage == Sabotage::RefusedGoesToCurrent,
        };
        Self {
            shape,
            random: Random(seed),
            now: 1000,
            model,
            views,
            overrides: BTreeMap::new(),
            seed: keys,
            image: Image::default(),
            upkeep: Upkeep::default(),
            program: Program {
                flows: BTreeMap::new(),
                capacity: shape.capacity,
                budget: shape.budget,
                last_refused: 0,
                broken,
            },
            flows: BTreeMap::new(),
            late: Vec::new(),
            doomed: BTreeSet::new(),
            is_planning: false,
            cursor: None,
            fresh_port: 20_000,
            counted: Counted::default(),
        }
    }

    /// Lets time pass and things happen.
    pub(super) fn run(&mut self) -> Result<(), Lost> {
        self.plan(true, usize::MAX)?;
        for _ in 0..self.shape.ticks {
            self.tick()?;
        }
        Ok(())
    }

    /// Lets time pass without events, until everything is at rest.
    pub(super) fn rest(&mut self, ticks: u32) -> Result<(), Lost> {
        self.shape.unrest = 0;
        self.run_on(ticks)
    }

    /// Lets time pass; clients go on.
    fn run_on(&mut self, ticks: u32) -> Result<(), Lost> {
        for _ in 0..ticks {
            self.tick()?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Lost> {
        self.now += 1;
        self.flush();
        self.program.budget = if self.random.one_in(8) {
            0
        } else {
            self.shape.budget
        };
        self.clients()?;
        if self.random.below(100) < self.shape.unrest {
            self.event()?;
        }
        self.plan(false, usize::MAX)?;
        for _ in 0..4 {
            self.sweep()?;
        }
        Ok(())
    }

    fn service(&mut self) -> &mut Service {
        &mut self.model.services[0]
    }

    // Clients.

    fn clients(&mut self) -> Result<(), Lost> {
        while self.flows.len() < self.shape.flows {
            if !self.begin() {
                break;
            }
        }
        let keys: Vec<FlowKeyV4> = self.flows.keys().copied().collect();
        for key in keys {
            let silent = self.now - self.flows[&key].last;
            // Most speak in time; some are silent for too long.
            let must = silent >= SILENCE && !self.random.one_in(20);
            if must || self.random.one_in(3) {
                self.speak(key);
            }
        }
        self.check("a tick")
    }

    fn begin(&mut self) -> bool {
        let udp = self.random.one_in(4);
        let port = if udp {
            // A datagram does not say that it is the first: old entries would speak for it.
            self.fresh_port = self.fresh_port.wrapping_add(1).max(20_000);
            self.fresh_port
        } else {
            1000 + self.random.below(2 * self.shape.flows as u64 + 1) as u16
        };
        let key = FlowKeyV4 {
            source: Be32::new(0x0a4d_010a),
            destination: Be32::new(0x0a09_0001),
            source_port: Be16::new(port),
            destination_port: Be16::new(80),
            protocol: if udp { 17 } else { 6 },
            reserved: [0; 3],
        };
        if self.flows.contains_key(&key) {
            return true;
        }
        let kind = if udp { Kind::Datagram } else { Kind::Syn };
        let Some((to, promised)) = self.packet(key, kind) else {
            return false;
        };
        let flow = Flow {
            home: to,
            last: self.now,
            promised,
        };
        self.flows.insert(key, flow);
        true
    }

    /// One more packet of a flow.
    fn speak(&mut self, key: FlowKeyV4) {
        let flow = self.flows[&key];
        let fin = key.protocol == 6 && self.random.one_in(12);
        let kind = match (key.protocol, fin) {
            (17, _) => Kind::Datagram,
            (_, true) => Kind::Fin,
            (_, false) => Kind::Data,
        };
        let result = self.packet(key, kind);
        let ended = fin || (key.protocol == 17 && self.random.one_in(12));
        match result {
            Some((to, promised)) if to == flow.home && !ended => {
                let flow = self.flows.get_mut(&key).expect("looked up above");
                flow.last = self.now;
                flow.promised &= promised;
            }
            // Closed; or reset by another backend, its own being dead or it having been silent.
            _ => {
                self.flows.remove(&key);
            }
        }
    }

    /// Sends a packet: where it goes, and whether a promise can be made.
    fn packet(&mut self, key: FlowKeyV4, kind: Kind) -> Option<(Home, bool)> {
        let Decision { to, effect } = self.program.decide(&self.image, &key, kind, self.now);
        self.counted.packets += 1;
        let mut promised = true;
        match effect {
            Effect::Insert(entry) => {
                self.counted.remembered += 1;
                if self.random.one_in(8) && !self.late.iter().any(|(late, _)| *late == key) {
                    self.late.push((key, entry));
                    return to.map(|to| (to, promised));
                }
            }
            Effect::Refused => {
                self.counted.refused += 1;
                let held = self.image.service(SERVICE)?;
                // The two gaps: see the module, and the test of the second.
                let owner_is_alive = self.owner_is_alive(&key);
                promised =
                    !self.is_planning && (held.record.old_slots_count == 0 || owner_is_alive);
            }
            Effect::None | Effect::Replace(_) => {}
        }
        self.program.carry_out(key, effect, self.now);
        to.map(|to| (to, promised))
    }

    fn owner_is_alive(&self, key: &FlowKeyV4) -> bool {
        let Some(held) = self.image.service(SERVICE) else {
            return false;
        };
        let slot = if held.old_slots.is_empty() {
            slot(&held, key)
        } else {
            old_slot(&held, key)
        };
        let owner = motion::owner(slot);
        let index = crate::plan::Range::backends(&held.record).backend(owner);
        index
            .and_then(|index| self.image.backend(index))
            .is_some_and(|backend| {
                let home = Home {
                    local: owner,
                    generation: backend.generation,
                };
                is_alive(&self.image, home)
            })
    }

    /// Packets that were on their way are through.
    fn flush(&mut self) {
        for (key, entry) in std::mem::take(&mut self.late) {
            self.program.flows.entry(key).or_insert(entry);
        }
    }

    /// The next packet of every flow that was promised something goes to its backend.
    fn check(&self, when: &str) -> Result<(), Lost> {
        for (key, flow) in &self.flows {
            let spoke = self.now - flow.last <= SILENCE;
            let on_its_way = self.late.iter().any(|(late, _)| late == key);
            if !spoke || !flow.promised || on_its_way {
                continue;
            }
            if self.doomed.contains(&flow.home) || !is_alive(&self.image, flow.home) {
                continue;
            }
            let kind = if key.protocol == 17 {
                Kind::Datagram
            } else {
                Kind::Data
            };
            let Decision { to, .. } = self.program.decide(&self.image, key, kind, self.now);
            if to != Some(flow.home) {
                return Err(Lost(self.describe(key, flow, to, when)));
            }
        }
        Ok(())
    }

    fn describe(&self, key: &FlowKeyV4, flow: &Flow, to: Option<Home>, when: &str) -> String {
        let slot = self.image.service(SERVICE).map(|held| {
            let state = motion::state(slot(&held, key));
            (state, held.record.old_slots_count)
        });
        format!(
            "{when}, tick {}: {key:?} of {flow:?} would go to {to:?}; slot and old range {slot:?}; \
             entry {:?}; last refused {}",
            self.now,
            self.program.flows.get(key),
            self.program.last_refused,
        )
    }

    // The daemon.

    /// One turn of the daemon: what time has brought, and a plan. `most`: it dies after so many writes.
    fn plan(&mut self, all: bool, most: usize) -> Result<(), Lost> {
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
    fn adopt(&mut self) -> Result<(), Lost> {
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
        self.upkeep = Upkeep::default();
        self.cursor = None;
        self.flush();
        self.doomed.clear();
        self.upkeep
            .observe(&self.model, &self.image, Scope::All, self.now);
        let known = self.image.last_known(&self.model);
        for (key, view) in &mut self.views {
            *view = known.get(key).copied().unwrap_or(*view);
        }
        self.plan(true, usize::MAX)
    }

    /// One of three seeds: some changes come back to an earlier one, some change nothing.
    fn reseed(&mut self) {
        let seeds = ["sim", "other", "third"];
        self.seed = Seed::derive(Some(seeds[self.random.below(3) as usize]));
    }

    /// Since when a backend is dead is not known to the next daemon: where flows were refused, it may
    /// count them wrongly to the dead backend or to the living one. See the module.
    fn forgive_flows_of_the_dead(&mut self) {
        let keys: Vec<FlowKeyV4> = self.flows.keys().copied().collect();
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
    fn sweep(&mut self) -> Result<(), Lost> {
        let Some(Cursor::From(from)) = self.cursor else {
            if self.upkeep.need() != Need::None {
                self.flush();
                self.upkeep.begin_pass();
                self.cursor = Some(Cursor::From(None));
            }
            return Ok(());
        };
        let most = 1 + self.random.below(40) as usize;
        let batch: Vec<(FlowKeyV4, FlowEntry)> = self
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

    fn agreeing(&self, batch: &[(FlowKeyV4, FlowEntry)]) -> Vec<(FlowKeyV4, FlowEntry)> {
        let held = self.image.service(SERVICE).expect("it is published");
        let agrees =
            |key: &FlowKeyV4, entry: &FlowEntry| slot(&held, key).current() == entry.backend();
        let agreeing = batch.iter().filter(|(key, entry)| agrees(key, entry));
        agreeing.copied().collect()
    }

    // What happens.

    fn event(&mut self) -> Result<(), Lost> {
        let number = self.random.below(10) as u8;
        let backend = backend(number);
        let key = self.model.services[0].key(&backend);
        let configured = (self.model.services[0].backends).contains(&backend);
        let all = match self.random.below(25) {
            0..=2 if !configured => {
                self.service().backends.push(backend);
                self.views.insert(key, up());
                true
            }
            0..=2 => {
                self.service().backends.retain(|other| *other != backend);
                self.views.remove(&key);
                self.overrides.remove(&key);
                true
            }
            3..=8 => {
                // A death, and most often a false alarm.
                if let Some(view) = self.views.get_mut(&key) {
                    view.health = match view.health {
                        Health::Up => Health::Down,
                        _ => Health::Up,
                    };
                }
                false
            }
            9..=12 => {
                for view in self.views.values_mut() {
                    view.health = Health::Up;
                }
                false
            }
            13..=15 => {
                let admin = [Admin::Draining, Admin::Enabled, Admin::Disabled]
                    [self.random.below(3) as usize];
                self.overrides.insert(
                    key,
                    Override {
                        admin,
                        weight: None,
                    },
                );
                false
            }
            16..=17 => {
                self.overrides.clear();
                false
            }
            18..=19 => {
                let weight = self.random.below(4) as u16;
                self.overrides.insert(
                    key,
                    Override {
                        admin: Admin::Enabled,
                        weight: Some(weight),
                    },
                );
                false
            }
            20 => {
                let sizes = [self.shape.table_size, self.shape.table_size + 6, 11];
                let size = sizes[self.random.below(3) as usize];
                self.service().table_size = size;
                true
            }
            21 => {
                let keep = self.random.one_in(3);
                self.service().connections.on_death =
                    if keep { OnDeath::Keep } else { OnDeath::Reset };
                false
            }
            22 => {
                self.counted.reseeded += 1;
                self.reseed();
                // At times together with another size.
                if self.random.one_in(3) {
                    self.service().table_size = self.shape.table_size + 6;
                }
                true
            }
            _ => return self.adopt(),
        };
        self.plan(all, usize::MAX)
    }

    /// Slots that are not stable, and entries.
    pub(super) fn unrest(&self) -> (usize, usize) {
        let held = self.image.service(SERVICE).expect("it is published");
        let moving = held.slots.iter().filter(|slot| !slot.is_stable()).count();
        (moving + held.old_slots.len(), self.program.flows.len())
    }

    pub(super) fn stop_clients(&mut self) {
        self.flows.clear();
        self.shape.flows = 0;
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

fn up() -> View {
    View {
        health: Health::Up,
        next_hop: Some(NextHop::new([2, 0, 0, 0, 0, 1], 1)),
    }
}

fn backend(number: u8) -> Backend {
    let address = Ipv4Addr::new(10, 0, 0, number + 1);
    Backend {
        name: address.to_string().into(),
        address: address.into(),
        port: Some(80),
        weight: 1,
    }
}

fn model(shape: Shape) -> Model {
    let listener = |protocol| Listener {
        protocol,
        address: "10.9.0.1:80".parse().expect("it is one"),
    };
    Model {
        daemon: Daemon {
            instance: "sim".into(),
            admin_socket: PathBuf::new(),
            bpffs: PathBuf::new(),
            state_dir: PathBuf::new(),
            on_stop: OnStop::Keep,
            seed: None,
        },
        limits: Limits {
            services: 4,
            backends: 64,
            slots: 4096,
            flows_ipv4: 1024,
        },
        interfaces: Vec::new(),
        services: vec![Service {
            name: "sim".into(),
            listeners: vec![listener(Protocol::Tcp), listener(Protocol::Udp)],
            forward: Forward::Dnat,
            table_size: shape.table_size,
            connections: Connections {
                tracking: shape.tracking,
                transition_window: WINDOW,
                flow_idle: WINDOW * 2,
                on_death: OnDeath::Reset,
                drain_timeout: Duration::from_secs(30),
                slow_start: Duration::from_secs(4),
            },
            health: None,
            backends: (0..5).map(backend).collect(),
        }],
    }
}

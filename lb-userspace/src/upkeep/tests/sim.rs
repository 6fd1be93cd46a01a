//! A daemon, its maps, clients: time passes, things happen, and no flow may notice.

mod clients;
mod daemon;
mod events;
mod setup;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lb_common::abi::flow::{FlowEntry, TICK_SHIFT};

use self::setup::{model, up};
use super::packets::{Broken, Home, Program, SERVICE};
use crate::{
    model::{BackendKey, Forward, Model, Override, Service, Tracking},
    plan::{FlowKey, Image, Seed, View},
    upkeep::Upkeep,
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
    /// With `dnat` clients are IPv4 only, since backends are.
    pub(super) forward: Forward,
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
    flows: BTreeMap<FlowKey, Flow>,
    /// Inserts of packets that began before the last write and are not through yet.
    late: Vec<(FlowKey, FlowEntry)>,
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
    /// Changes of what is hashed.
    pub(super) rehashed: u64,
    /// Packets over IPv6.
    pub(super) ipv6: u64,
    /// Changes of the seed while the daemon runs, and at its start.
    pub(super) reseeded: u64,
    pub(super) adopted_reseeded: u64,
    pub(super) adopted: u64,
    pub(super) departed: u64,
    pub(super) disowned: u64,
}

#[derive(Clone, Copy, Debug)]
enum Cursor {
    From(Option<FlowKey>),
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

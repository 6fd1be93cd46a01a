//! What is remembered of flows: two tables, and how many entries may be made.

use std::{collections::HashMap, net::IpAddr};

use super::world::FlowTuple;

/// The flow tables, and what is left of the budgets.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    /// Flows of slots in motion.
    pub transition: Store,
    /// Flows of services that are always tracked. The least recently used entry gives way, so nothing
    /// is ever refused for want of room; what gives way is not part of the model.
    pub always: Store,
    /// How many entries are made in a tick.
    pub budget: Budget,
}

/// How many entries are made in a tick: for SYNs, and for other packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// At most so many for SYNs.
    pub syn: u32,
    /// At most so many for others.
    pub other: u32,
    /// The tick that the two below are of.
    pub tick: u64,
    /// Spent on SYNs.
    pub syn_spent: u32,
    /// Spent on others.
    pub other_spent: u32,
}

/// A flow table: a map for each IP version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// IPv4 flows.
    pub ipv4: Half,
    /// IPv6 flows.
    pub ipv6: Half,
}

/// The flows of one IP version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// The entries.
    pub entries: HashMap<FlowTuple, Entry>,
    /// The most entries; `None`: no limit.
    pub room: Option<usize>,
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// [`Flows::transition`].
    Transition,
    /// [`Flows::always`].
    Always,
}

/// What is remembered of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The backend's number in the service.
    pub backend: u16,
    /// Its generation when the entry was made.
    pub generation: u16,
    /// A packet other than a SYN was seen.
    pub established: bool,
    /// A FIN or RST was seen.
    pub closing: bool,
    /// The tick in which it last spoke.
    pub last_seen: u64,
}

impl Flows {
    /// A table.
    pub const fn store(&mut self, which: Which) -> &mut Store {
        match which {
            Which::Transition => &mut self.transition,
            Which::Always => &mut self.always,
        }
    }

    /// Makes an entry where none is, at the cost of a budget, which is spent also where the table has no
    /// room. False: it could not be made.
    pub fn insert(&mut self, which: Which, flow: FlowTuple, entry: Entry, syn: bool) -> bool {
        if !self.budget.spend(entry.last_seen, syn) {
            return false;
        }
        let half = self.store(which).half(&flow);
        if half.room.is_some_and(|room| half.entries.len() >= room) {
            return false;
        }
        half.entries.insert(flow, entry);
        true
    }

    /// Writes an entry in the place of one that is there.
    pub fn replace(&mut self, which: Which, flow: FlowTuple, entry: Entry) {
        let before = self.store(which).half(&flow).entries.insert(flow, entry);
        assert!(before.is_some(), "only what is there is replaced");
    }
}

impl Budget {
    /// Takes one from a tick's budget. False: there is none left.
    const fn spend(&mut self, tick: u64, syn: bool) -> bool {
        if self.tick != tick {
            self.tick = tick;
            self.syn_spent = 0;
            self.other_spent = 0;
        }
        let (spent, most) = if syn {
            (&mut self.syn_spent, self.syn)
        } else {
            (&mut self.other_spent, self.other)
        };
        let is_left = *spent < most;
        if is_left {
            *spent += 1;
        }
        is_left
    }
}

impl Store {
    /// The map of a flow's IP version.
    pub const fn half(&mut self, flow: &FlowTuple) -> &mut Half {
        match flow.source {
            IpAddr::V4(_) => &mut self.ipv4,
            IpAddr::V6(_) => &mut self.ipv6,
        }
    }

    /// A flow's entry.
    pub fn get(&self, flow: &FlowTuple) -> Option<&Entry> {
        let half = match flow.source {
            IpAddr::V4(_) => &self.ipv4,
            IpAddr::V6(_) => &self.ipv6,
        };
        half.entries.get(flow)
    }
}

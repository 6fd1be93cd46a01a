//! What time has brought: the part of the desired state that `upkeep` makes.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{service::ServiceId, slot::LocalBackend};

/// What time has brought, by service; one that is missing has nothing new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of each service.
    pub services: BTreeMap<ServiceId, ServiceProgress>,
}

/// What time has brought a service. Slots are offsets in its table, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceProgress {
    /// Slots in transition whose window is over.
    pub expired: Vec<u32>,
    /// Tracked slots that no entry contradicts any more.
    pub settled: Vec<u32>,
    /// The old range is not needed any more.
    pub resized: bool,
    /// Dead backends some of whose flows went elsewhere without being remembered: when they come
    /// back, flows without an entry are not theirs.
    pub disowned: BTreeSet<LocalBackend>,
    /// Backends that left the configuration and whose drain is over.
    pub departed: BTreeSet<LocalBackend>,
    /// Slow start: the part of new flows admitted, out of 65535.
    pub admit: BTreeMap<LocalBackend, u16>,
}

static NOTHING: Progress = Progress {
    services: BTreeMap::new(),
};

static NOTHING_NEW: ServiceProgress = ServiceProgress {
    expired: Vec::new(),
    settled: Vec::new(),
    resized: false,
    disowned: BTreeSet::new(),
    departed: BTreeSet::new(),
    admit: BTreeMap::new(),
};

impl Progress {
    /// Nothing new.
    pub fn none() -> &'static Self {
        &NOTHING
    }

    /// Whether there is anything to plan.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// What is new of one service.
    pub(super) fn of(&self, service: ServiceId) -> &ServiceProgress {
        self.services.get(&service).unwrap_or(&NOTHING_NEW)
    }
}

impl ServiceProgress {
    /// Whether there is nothing new.
    pub fn is_empty(&self) -> bool {
        *self == NOTHING_NEW
    }
}

//! `sluice status --output json`, read back.
//!
//! Fields are only ever added there, so unknown ones are ignored here.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
pub use lb_userspace::admin::status::Plans;
use serde::Deserialize;

/// The daemon's state.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Names pins and sockets.
    pub instance: String,
    /// The daemon's process.
    pub pid: u32,
    /// What configuration is in force.
    pub config: ConfigState,
    /// Where the program is attached.
    pub interfaces: Vec<Interface>,
    /// Services, in the file's order.
    pub services: Vec<Service>,
    /// Packets, by what was done with them.
    pub verdicts: BTreeMap<String, u64>,
    /// Dropped packets, by reason.
    pub drops: BTreeMap<String, u64>,
    /// What is odd about the configuration.
    pub warnings: Vec<String>,
    /// What somebody should look at.
    pub alarms: Vec<String>,
    /// What the daemon has written into the maps.
    pub plans: Plans,
}

/// What configuration is in force.
#[derive(Clone, Debug, Deserialize)]
pub struct ConfigState {
    /// Counts applied configurations.
    pub generation: u64,
    /// How the last reload went, if there was one.
    pub last_reload: Option<Reload>,
}

/// How a reload went.
#[derive(Clone, Debug, Deserialize)]
pub struct Reload {
    /// It was applied.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number; 0 while it is gone.
    pub ifindex: u32,
    /// `native`, `generic` or `none`.
    pub xdp: String,
    /// Whether the link is up.
    pub up: bool,
    /// Whether frames may lie in several buffers.
    #[serde(default)]
    pub frags: bool,
}

/// A service.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How packets reach its backends.
    pub forward: String,
    /// Slots of its table.
    pub table_size: u64,
    /// Packets to its backends.
    pub packets: u64,
    /// Bytes to its backends.
    pub bytes: u64,
    /// SYNs.
    pub new_flows: u64,
    /// Its slots by state.
    pub slots: Slots,
    /// Its remembered flows; absent where none are remembered.
    #[serde(default)]
    pub flows: Option<Flows>,
    /// Its backends.
    pub backends: Vec<Backend>,
}

/// Slots by state.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Slots {
    /// At rest.
    pub stable: u64,
    /// Moved within the window.
    pub transition: u64,
    /// Moved before.
    pub tracked: u64,
}

/// A service's remembered flows.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Flows {
    /// How many there were at the last complete pass over them; absent before one.
    #[serde(default)]
    pub entries: Option<u64>,
    /// Packets that looked for one.
    pub lookups: u64,
    /// Those that found none.
    pub misses: u64,
    /// Entries made.
    pub inserts: u64,
    /// Entries that should have been made and were not.
    pub refused: u64,
}

/// A backend.
#[derive(Clone, Debug, Deserialize)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// Where packets go.
    pub address: String,
    /// The weight that holds.
    pub weight: u16,
    /// What the table was made with.
    pub effective_weight: u16,
    /// `enabled`, `draining` or `disabled`.
    pub admin: String,
    /// How many of its flows are remembered, where that is known.
    #[serde(default)]
    pub flows: Option<u64>,
    /// Whether nothing of it is left, where that is known.
    #[serde(default)]
    pub drained: Option<bool>,
    /// `unknown`, `up`, `down` or `none`.
    pub health: String,
    /// `resolved`, `failed`, `unresolved` or `unreachable`.
    pub neighbor: String,
    /// Slots of the table that are its own.
    pub slots: u64,
    /// Packets to it.
    pub packets: u64,
    /// Bytes to it.
    pub bytes: u64,
    /// SYNs to it.
    pub new_flows: u64,
    /// How its last health check went, if there was one.
    pub last_check: Option<LastCheck>,
}

/// A health check.
#[derive(Clone, Debug, Deserialize)]
pub struct LastCheck {
    /// It passed.
    pub ok: bool,
    /// When, as RFC 3339 writes it.
    pub at: String,
    /// How long it took.
    pub duration_ms: f64,
    /// Why it did not pass, or what passed.
    pub reason: String,
}

impl Status {
    /// Reads the JSON.
    pub fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).with_context(|| format!("reading the status:\n{json}"))
    }

    /// The service `web`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn web(&self) -> &Service {
        self.service("web")
    }

    /// The service `name`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn service(&self, name: &str) -> &Service {
        let found = self.services.iter().find(|service| service.name == name);
        found.unwrap_or_else(|| panic!("the service `{name}` is not in the status"))
    }

    /// An interface.
    ///
    /// # Panics
    /// Where there is none of that name.
    pub fn interface(&self, name: &str) -> &Interface {
        let found = self.interfaces.iter().find(|one| one.name == name);
        found.unwrap_or_else(|| panic!("the interface {name} is not in the status"))
    }

    /// Whether an alarm has all of `words` in it.
    pub fn has_alarm(&self, words: &[&str]) -> bool {
        let has = |alarm: &String| words.iter().all(|word| alarm.contains(word));
        self.alarms.iter().any(has)
    }

    /// A backend of `web`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn backend(&self, name: &str) -> &Backend {
        let found = self
            .web()
            .backends
            .iter()
            .find(|backend| backend.name == name);
        found.unwrap_or_else(|| panic!("the backend {name} is not in the status"))
    }

    /// Slots of each backend of `web`, by name.
    pub fn slots(&self) -> BTreeMap<String, u64> {
        self.web()
            .backends
            .iter()
            .map(|one| (one.name.clone(), one.slots))
            .collect()
    }

    /// Whether every backend of every service is up and has slots.
    pub fn all_up(&self) -> bool {
        let up = |service: &Service| {
            !service.backends.is_empty() && service.backends.iter().all(Backend::serves)
        };
        !self.services.is_empty() && self.services.iter().all(up)
    }

    /// How many packets met the verdict `name`.
    pub fn verdict(&self, name: &str) -> u64 {
        self.verdicts
            .get(name)
            .copied()
            .unwrap_or_else(|| panic!("no verdict {name} in the status"))
    }

    /// Packets that the program saw.
    pub fn packets_seen(&self) -> u64 {
        self.verdicts.values().sum()
    }
}

impl Service {
    /// Whether flows were looked up and remembered, and none refused.
    pub fn remembers(&self) -> bool {
        self.flows
            .is_some_and(|flows| flows.lookups > 0 && flows.inserts > 0 && flows.refused == 0)
    }
}

impl Backend {
    /// Up, with slots.
    pub fn serves(&self) -> bool {
        self.health == "up" && self.slots > 0
    }

    /// Why the last health check ended as it did; empty where there was none.
    pub fn reason(&self) -> &str {
        self.last_check.as_ref().map_or("", |last| &last.reason)
    }

    /// Down, without slots.
    pub fn is_left_out(&self) -> bool {
        self.health == "down" && self.slots == 0
    }
}

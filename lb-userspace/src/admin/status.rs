//! The status, as JSON: what `sluice status` shows and monitoring reads.
//!
//! **Invariant:** fields are only ever added, and behind those that are there. Times are RFC 3339,
//! in UTC; what is not known is `null`. Counters count from the moment the maps were made, which
//! may be before this daemon started.

use std::time::{Duration, SystemTime};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use crate::model;

/// The value of [`Status::schema`].
pub const SCHEMA: u32 = 1;

/// Everything that `GET /v1/status` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`]: raised only if a field ever had to go.
    pub schema: u32,
    /// The daemon's release.
    pub version: String,
    /// `ABI_VERSION` of the maps in use.
    pub abi: u32,
    /// The instance's name.
    pub instance: String,
    /// The daemon's process.
    pub pid: u32,
    /// How long it runs, in seconds.
    pub uptime_s: u64,
    /// The configuration in force.
    pub config: Config,
    /// Where the program is attached, or should be.
    pub interfaces: Vec<Interface>,
    /// In the configuration's order.
    pub services: Vec<Service>,
    /// What became of the packets: their sum is what the program saw.
    pub verdicts: Verdicts,
    /// Drops by reason, in the order of the reasons' numbers.
    pub drops: Drops,
    /// What is odd about the configuration but not wrong.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What goes wrong while running and needs somebody's attention.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// What the loaded program has compiled in, by the names of `lb_common::abi::settings::feature`.
    #[serde(default)]
    pub features: Vec<String>,
    /// What this daemon has written into the maps.
    #[serde(default)]
    pub plans: Plans,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The file; `null` when the daemon runs without.
    pub path: Option<String>,
    /// How many configurations this daemon has put in force.
    pub generation: u64,
    /// When the one in force was read.
    pub loaded_at: Option<String>,
    /// How the last reload went; `null` before the first.
    pub last_reload: Option<LastReload>,
}

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// Whether the file is in force now.
    pub ok: bool,
    /// When.
    pub at: String,
    /// Why not, one problem a line.
    pub error: Option<String>,
}

/// A configured interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Kernel name.
    pub name: String,
    /// Kernel number; 0 while the interface is gone.
    pub ifindex: u32,
    /// `native` or `generic`: how the program is attached; `none` while it is not.
    pub xdp: String,
    /// Whether the link is up.
    pub up: bool,
    /// Whether its frames may lie in several buffers: its MTU is beyond what the driver has room for in one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frags: bool,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Unique name.
    pub name: String,
    /// Its listeners, `tcp://ADDRESS:PORT`.
    pub listen: Vec<String>,
    /// How packets reach the backends.
    pub forward: String,
    /// How slots are given to backends.
    pub scheduler: String,
    /// Slots of the table.
    pub table_size: u32,
    /// The slots by their state; the sum is `table_size`.
    pub slots: Slots,
    /// Sum over its backends, those that are gone included.
    pub packets: u64,
    /// Likewise, in bytes.
    pub bytes: u64,
    /// Likewise.
    pub new_flows: u64,
    /// In the configuration's order, then those that left it and finish their connections, whose
    /// name is their address.
    pub backends: Vec<Backend>,
    /// Which connections are remembered: `transition`, `always` or `never`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tracking: String,
    /// What became of the packets that looked for an entry; absent where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<Flows>,
}

/// A service's remembered flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// How many there are, at the last complete pass over them; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Packets that looked for one.
    pub lookups: u64,
    /// Those that found none.
    pub misses: u64,
    /// Entries made.
    pub inserts: u64,
    /// Entries that should have been made and were not: the table was full, or too many came at
    /// once.
    pub refused: u64,
}

/// A service's slots by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// Their backend has not changed for longer than the transition window.
    pub stable: u32,
    /// Their backend changed lately: flows are tracked.
    pub transition: u32,
    /// Always tracked.
    pub tracked: u32,
}

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Unique in its service.
    pub name: String,
    /// `ADDRESS:PORT`, or an address where the listener's port is kept.
    pub address: String,
    /// As configured or set by an administrator.
    pub weight: u16,
    /// What the table was made with: 0 while it gets no new connections.
    pub effective_weight: u16,
    /// What the administrator wants.
    pub admin: Admin,
    /// What its checks say.
    pub health: Health,
    /// Whether packets can be sent to it.
    pub neighbor: Neighbor,
    /// How many of the service's slots are its own.
    pub slots: u32,
    /// Packets sent to it.
    pub packets: u64,
    /// Their IP lengths in bytes.
    pub bytes: u64,
    /// SYNs sent to it.
    pub new_flows: u64,
    /// The last health check that ended; `null` before the first, and where none is configured.
    pub last_check: Option<Check>,
    /// The weight that the configuration gives it, where an administrator set another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_weight: Option<u16>,
    /// How many of its flows are remembered; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<u64>,
    /// Whether no slot names it and no flow of it is remembered, so that it can be switched off;
    /// absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<bool>,
}

/// A health check that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Whether it passed.
    pub ok: bool,
    /// When it ended.
    pub at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// What was answered, or what went wrong.
    pub reason: String,
}

/// What the administrator wants of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// To take part.
    #[default]
    Enabled,
    /// To get no new connections.
    Draining,
    /// To get nothing.
    Disabled,
}

/// What the checks say of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not checked yet.
    Unknown,
    /// It passes.
    Up,
    /// It fails.
    Down,
    /// Its service has no check.
    None,
}

/// What is known of a backend's next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Neighbor {
    /// Its link-layer address is known.
    Resolved,
    /// It was known, and the kernel cannot confirm it any more: the last one is kept.
    Failed,
    /// It was never known: nothing can be sent.
    Unresolved,
    /// There is no route to it.
    Unreachable,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Sent out of the interface they came in by.
    pub tx: u64,
    /// Sent out of another.
    pub redirect: u64,
    /// Left to the kernel.
    pub pass: u64,
    /// Dropped: the sum of [`Status::drops`].
    pub drop: u64,
    /// Sent by the daemon, since the kernel had to resolve their next hop first.
    #[serde(default)]
    pub punt: u64,
}

/// What the daemon has written into the maps since it started: sums over the plans that were carried
/// out. Without any change of configuration, health or next hops they stand still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plans {
    /// Plans that had something to write.
    pub applied: u64,
    /// Their single writes; a run of neighbouring slots counts as one.
    pub writes: u64,
    /// Slots written, those of new tables included.
    pub slots_written: u64,
    /// Slots of tables in force that got another backend.
    pub slots_moved: u64,
    /// Waits for an RCU grace period.
    pub barriers: u64,
}

/// Drops by reason, as a JSON object that keeps its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(pub Vec<DropCount>);

/// How many packets were dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCount {
    /// `DropReason::name`.
    pub reason: String,
    /// Packets.
    pub packets: u64,
}

impl Service {
    /// Whether a new connection finds a backend. A service that has none configured does not.
    pub fn is_usable(&self) -> bool {
        self.backends.iter().any(Backend::is_usable)
    }
}

impl Backend {
    /// Whether it may get new connections.
    pub fn is_usable(&self) -> bool {
        self.admin == Admin::Enabled
            && matches!(self.health, Health::Up | Health::None)
            && matches!(self.neighbor, Neighbor::Resolved | Neighbor::Failed)
            && self.effective_weight > 0
    }
}

impl Admin {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }
}

impl Health {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::None => "none",
        }
    }
}

impl From<model::Admin> for Admin {
    fn from(admin: model::Admin) -> Self {
        match admin {
            model::Admin::Enabled => Self::Enabled,
            model::Admin::Draining => Self::Draining,
            model::Admin::Disabled => Self::Disabled,
        }
    }
}

impl From<model::Health> for Health {
    fn from(health: model::Health) -> Self {
        match health {
            model::Health::Unknown => Self::Unknown,
            model::Health::Up => Self::Up,
            model::Health::Down => Self::Down,
            model::Health::Unchecked => Self::None,
        }
    }
}

impl Neighbor {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Failed => "failed",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Serialize for Drops {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|d| (&d.reason, d.packets)))
    }
}

impl<'de> Deserialize<'de> for Drops {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Drops;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of counters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Drops, A::Error> {
                let mut drops = Vec::new();
                while let Some((reason, packets)) = map.next_entry()? {
                    drops.push(DropCount { reason, packets });
                }
                Ok(Drops(drops))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// A time as the status writes it: RFC 3339, UTC, milliseconds.
pub fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// How long before `now` a time of the status was; `None` where it cannot be read.
pub fn age(at: &str, now: SystemTime) -> Option<Duration> {
    let at = humantime::parse_rfc3339_weak(at).ok()?;
    Some(now.duration_since(at).unwrap_or_default())
}

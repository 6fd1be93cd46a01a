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
    /// Where the program is attached.
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

/// An interface that the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Kernel name.
    pub name: String,
    /// Kernel number.
    pub ifindex: u32,
    /// `native` or `generic`: how it is attached.
    pub xdp: String,
    /// Whether the link is up.
    pub up: bool,
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
    /// In the configuration's order.
    pub backends: Vec<Backend>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixtures;

    /// As it stands in the interface's description, but for the times.
    const DOCUMENTED: &str = concat!(
        r#"{"schema":1,"version":"0.1.0","abi":1,"instance":"default","pid":1,"uptime_s":12,"#,
        r#""config":{"path":"/etc/sluice/sluice.toml","generation":3,"loaded_at":"2026-01-02T03:04:05.000Z","#,
        r#""last_reload":{"ok":false,"at":"2026-01-02T03:04:06.000Z","error":"file:12: service[0].backend[1].weight: 257"}},"#,
        r#""interfaces":[{"name":"eth0","ifindex":2,"xdp":"native","up":true}],"#,
        r#""services":[{"name":"web","listen":["tcp://203.0.113.80:80"],"forward":"dnat","scheduler":"maglev","table_size":16381,"#,
        r#""slots":{"stable":16381,"transition":0,"tracked":0},"packets":0,"bytes":0,"new_flows":0,"#,
        r#""backends":[{"name":"web-1","address":"10.0.1.11:8080","weight":1,"effective_weight":1,"admin":"enabled","health":"up","neighbor":"resolved","#,
        r#""slots":5461,"packets":0,"bytes":0,"new_flows":0,"last_check":{"ok":true,"at":"2026-01-02T03:04:05.000Z","duration_ms":1.2,"reason":"200"}}]}],"#,
        r#""verdicts":{"tx":0,"redirect":0,"pass":0,"drop":0},"drops":{"no_backend":0,"malformed":0}"#,
    );

    #[test]
    fn the_documented_status_reads_and_writes_as_it_stands() {
        let text = format!("{DOCUMENTED}}}");
        let status: Status = serde_json::from_str(&text).unwrap();
        let added = r#","warnings":[],"alarms":[],"features":[]}"#;
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            format!("{DOCUMENTED}{added}")
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let mut status = fixtures::status();
        status.config.path = None;
        status.config.loaded_at = None;
        status.config.last_reload = None;
        status.services[0].backends[0].last_check = None;
        let json = serde_json::to_value(&status).unwrap();
        for path in [
            "/config/path",
            "/config/loaded_at",
            "/config/last_reload",
            "/services/0/backends/0/last_check",
        ] {
            assert_eq!(json.pointer(path), Some(&serde_json::Value::Null), "{path}");
        }
        assert_eq!(
            serde_json::from_value::<Status>(json).unwrap(),
            status,
            "and reads back"
        );
    }

    #[test]
    fn fields_of_a_later_daemon_are_no_trouble() {
        let text = format!(r#"{DOCUMENTED},"later":{{"a":1}}}}"#);
        assert!(serde_json::from_str::<Status>(&text).is_ok());
    }

    #[test]
    fn drops_keep_their_order() {
        let text = r#"{"no_backend":1,"malformed":2,"a":3}"#;
        let drops: Drops = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&drops).unwrap(), text);
    }

    #[test]
    fn names_are_those_of_the_json() {
        for admin in [Admin::Enabled, Admin::Draining, Admin::Disabled] {
            assert_eq!(serde_json::to_value(admin).unwrap(), admin.name());
        }
        for health in [Health::Unknown, Health::Up, Health::Down, Health::None] {
            assert_eq!(serde_json::to_value(health).unwrap(), health.name());
        }
        for neighbor in [
            Neighbor::Resolved,
            Neighbor::Failed,
            Neighbor::Unresolved,
            Neighbor::Unreachable,
        ] {
            assert_eq!(serde_json::to_value(neighbor).unwrap(), neighbor.name());
        }
    }

    #[test]
    fn a_backend_is_usable_only_if_everything_about_it_is() {
        let usable = fixtures::status().services[0].backends[0].clone();
        assert!(usable.is_usable());
        type Spoil = fn(&mut Backend);
        let spoils: [Spoil; 6] = [
            |b| b.admin = Admin::Draining,
            |b| b.admin = Admin::Disabled,
            |b| b.health = Health::Down,
            |b| b.health = Health::Unknown,
            |b| b.neighbor = Neighbor::Unresolved,
            |b| b.effective_weight = 0,
        ];
        for spoil in spoils {
            let mut backend = usable.clone();
            spoil(&mut backend);
            assert!(!backend.is_usable(), "{backend:?}");
        }
    }

    #[test]
    fn a_time_is_as_old_as_it_says() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let now = then + Duration::from_secs(3);
        assert_eq!(rfc3339(then), "2023-11-14T22:13:20.000Z");
        assert_eq!(age(&rfc3339(then), now), Some(Duration::from_secs(3)));
        assert_eq!(age(&rfc3339(now), then), Some(Duration::ZERO));
        assert_eq!(age("yesterday", now), None);
    }
}

//! What is asked and answered about the flows that are remembered.

use serde::{Deserialize, Serialize};

/// The most flows that one answer lists.
pub const MAX_FLOWS: u32 = 100_000;

/// Which flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowsQuery {
    /// Only those of the service of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only those of backends of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// List at most so many, [`MAX_FLOWS`] at the most and by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// List none, count all.
    #[serde(default)]
    pub count: bool,
}

/// Where a reading of the tables goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowCursor {
    /// Which table.
    pub table: FlowTable,
    /// The one of IPv6.
    pub ipv6: bool,
    /// Where in it; `None`: its begin.
    pub bucket: Option<u32>,
}

/// Some of the flows that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowPage {
    /// As they were when they were read.
    pub flows: Vec<Flow>,
    /// `None`: that was all.
    pub next: Option<FlowCursor>,
}

/// Flows that are remembered: the answer to `GET /v1/flows`. They come and go while they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowList {
    /// In no order. None, where they are counted.
    pub flows: Vec<Flow>,
    /// By service, backend and state. None, where they are listed.
    pub counts: Vec<FlowCount>,
    /// Whether there are more than the limit allowed to list.
    pub more: bool,
}

/// A flow that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The client, `ADDRESS:PORT`.
    pub source: String,
    /// The VIP, `ADDRESS:PORT`.
    pub destination: String,
    /// Its service; `null` where none listens there any more.
    pub service: Option<String>,
    /// Where its packets go; the address of one that left the configuration, `null` where it is
    /// gone.
    pub backend: Option<String>,
    /// How far it is.
    pub state: FlowState,
    /// Seconds since its last packet, to a second or two.
    pub idle_s: u64,
    /// Where it is remembered.
    pub table: FlowTable,
}

/// How many flows are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCount {
    /// As [`Flow::service`].
    pub service: Option<String>,
    /// As [`Flow::backend`].
    pub backend: Option<String>,
    /// As [`Flow::state`].
    pub state: FlowState,
    /// How many.
    pub flows: u64,
}

/// How far a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    /// Only a SYN was seen.
    Syn,
    /// More than that was seen.
    Established,
    /// A FIN or RST was seen.
    Closing,
    /// Its backend is gone, so it counts for nothing and will be removed.
    Stale,
}

/// Where flows are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowTable {
    /// Those of slots in motion.
    Transition,
    /// Those of services that are always tracked.
    Always,
}

impl FlowState {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Stale => "stale",
        }
    }
}

impl FlowTable {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transition => "transition",
            Self::Always => "always",
        }
    }
}

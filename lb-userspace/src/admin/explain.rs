//! What is asked and answered about one connection: where its packets go and why.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::flows::{FlowState, FlowTable};

/// A connection as its client sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// Its protocol.
    pub protocol: Transport,
    /// The client.
    pub source: SocketAddr,
    /// The VIP.
    pub destination: SocketAddr,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Where a connection's packets go and why: the answer to `GET /v1/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked.
    pub connection: ExplainQuery,
    /// The service that listens there; `null`: none, so packets are left to the kernel.
    pub service: Option<String>,
    /// `transition`, `always` or `never`.
    pub tracking: Option<String>,
    /// The slot that it falls into.
    pub slot: Option<SlotExplained>,
    /// What is remembered of it, if its slot makes the program look.
    pub entry: Option<EntryExplained>,
    /// What becomes of its packets: a SYN and any other, or a datagram.
    pub packets: Vec<PacketExplained>,
    /// False: for some packet the program does something else than the rules say.
    pub agrees: bool,
}

/// A slot of a service's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotExplained {
    /// From 0.
    pub number: u32,
    /// The table's size.
    pub of: u32,
    /// `stable`, `transition`, `tracked` or `unset`.
    pub state: String,
    /// Who gets new connections.
    pub current: Option<String>,
    /// Who had the slot before, in transition.
    pub previous: Option<String>,
    /// The slot that it falls into in the table before, while the table's size or seed changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<SlotExplained>>,
}

/// What is remembered of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryExplained {
    /// Where.
    pub table: FlowTable,
    /// Who it names; `null` where it is gone.
    pub backend: Option<String>,
    /// How far the connection is.
    pub state: FlowState,
    /// Seconds since its last packet.
    pub idle_s: u64,
}

/// What becomes of one sort of packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketExplained {
    /// Which.
    pub kind: PacketKind,
    /// Who gets it by the rules; `null`: nobody.
    pub backend: Option<String>,
    /// Why.
    pub why: String,
    /// Whether it would be remembered, or what is remembered be changed.
    pub remembered: bool,
    /// The program's verdict or drop reason.
    pub verdict: String,
    /// Who gets it by the program; `null`: nobody, or it cannot be told.
    pub program: Option<String>,
    /// Whether that is the same; `null` where the program stopped for a reason that the rules do not
    /// know, such as a next hop that is missing.
    pub agrees: Option<bool>,
}

/// A sort of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PacketKind {
    /// The first of a TCP connection.
    Syn,
    /// Any other of it.
    Segment,
    /// Of UDP.
    Datagram,
}

impl Transport {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl PacketKind {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "a SYN",
            Self::Segment => "any other segment",
            Self::Datagram => "a datagram",
        }
    }
}

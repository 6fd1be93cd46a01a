//! What can become of a packet, and what is counted for it.

/// What becomes of a packet; each is counted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Left to the kernel as it came in.
    Pass,
    /// Sent out of the interface that it came in by.
    Transmit,
    /// Sent out of another interface.
    Redirect {
        /// That interface's index.
        to: u32,
    },
    /// Given to the daemon, from its IP header to the end of the IP packet.
    Punt {
        /// Those bytes.
        packet: Vec<u8>,
    },
    /// Dropped.
    Drop(Reason),
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nobody to send it to.
    NoBackend,
    /// Headers that contradict themselves.
    Malformed,
    /// Too many hops.
    TtlExpired,
    /// A first fragment for a VIP.
    Fragment,
    /// The next hop has no MAC address.
    NoNextHop,
    /// The way leads out of an interface that there is not.
    NoEgress,
    /// A reply larger than its route's MTU.
    TooBig,
    /// A source that no client can have.
    MartianSource,
    /// Larger than the way to the backend, with its outer header.
    TunnelTooBig,
    /// The driver has no room for an outer header.
    NoHeadroom,
}

impl Reason {
    /// The name in the status and in the documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoBackend => "no_backend",
            Self::Malformed => "malformed",
            Self::TtlExpired => "ttl_expired",
            Self::Fragment => "fragment",
            Self::NoNextHop => "no_next_hop",
            Self::NoEgress => "no_egress",
            Self::TooBig => "too_big",
            Self::MartianSource => "martian_source",
            Self::TunnelTooBig => "tunnel_too_big",
            Self::NoHeadroom => "no_headroom",
        }
    }
}

/// A dropped packet, as an early end of the walk.
pub const fn drop(reason: Reason) -> Verdict {
    Verdict::Drop(reason)
}

/// All that one packet leaves behind, but for the flow tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where it goes.
    pub verdict: Verdict,
    /// The frame then.
    pub frame: Vec<u8>,
    /// What it adds to a backend's counters.
    pub backend: Option<BackendCount>,
    /// What it adds to a service's flow counters.
    pub flow: Option<FlowCount>,
}

/// What a packet adds to a backend's counters; the number of packets is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendCount {
    /// The service's place in [`World::services`](super::World::services).
    pub service: usize,
    /// The backend's number in it, from 1 on.
    pub backend: u16,
    /// The packet's IP length before any outer header.
    pub bytes: u64,
    /// Whether it is a new flow.
    pub new_flow: bool,
}

/// What a packet adds to a service's flow counters; it looked for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowCount {
    /// The service's place in [`World::services`](super::World::services).
    pub service: usize,
    /// It found none that holds.
    pub missed: bool,
    /// One was made.
    pub inserted: bool,
    /// One should have been made and could not.
    pub refused: bool,
}

/// What is counted on the way, also for packets that are dropped in the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// For a backend.
    pub backend: Option<BackendCount>,
    /// For a service.
    pub flow: Option<FlowCount>,
}

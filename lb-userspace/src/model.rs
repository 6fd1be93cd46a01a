//! The desired state: what a valid configuration means. Nothing in here can be wrong.
//!
//! `config` makes it, everybody else reads it. Names stand as in the configuration; durations are
//! [`Duration`]s, addresses are parsed, defaults are filled in.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use compact_str::CompactString;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The daemon's own settings.
    pub daemon: Daemon,
    /// Map sizes.
    pub limits: Limits,
    /// Interfaces to attach to.
    pub interfaces: Vec<Interface>,
    /// Services, in the file's order; names are unique.
    pub services: Vec<Service>,
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Names pins and sockets; `[a-z0-9-]{1,32}`.
    pub instance: String,
    /// Path of the admin API's unix socket.
    pub admin_socket: PathBuf,
    /// Where the BPF file system is mounted.
    pub bpffs: PathBuf,
    /// Where admin overrides are kept.
    pub state_dir: PathBuf,
    /// What SIGTERM and SIGINT do to the attached program.
    pub on_stop: OnStop,
    /// Keys table and flow hash; `None` where the file names none (a warning).
    pub seed: Option<String>,
    /// Source of outer IPv4 headers; `None`: the kernel's on the way to each backend.
    pub tunnel_source_ipv4: Option<TunnelSource<Ipv4Addr>>,
    /// Source of outer IPv6 headers; `None`: the kernel's on the way to each backend.
    pub tunnel_source_ipv6: Option<TunnelSource<Ipv6Addr>>,
}

/// Source address of a tunnel's outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelSource<A> {
    /// The address.
    pub address: A,
    /// With `ipip`, the bits behind so many come from the flow hash, at most the last 32.
    pub prefix: u8,
}

/// What stopping the daemon does to the data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// Detach, remove pins: nothing is left.
    Detach,
    /// Packets keep flowing; the next daemon adopts.
    Keep,
}

/// `[limits]`: map sizes in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services (and, doubled, their records; listeners fit eight times).
    pub services: u32,
    /// Backends over all services.
    pub backends: u32,
    /// Slots over all services.
    pub slots: u32,
    /// IPv4 flow entries over all services.
    pub flows_ipv4: u32,
    /// IPv6 flow entries over all services.
    pub flows_ipv6: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 1024,
            backends: 16_384,
            slots: 2_097_152,
            flows_ipv4: 131_072,
            flows_ipv6: 32_768,
        }
    }
}

/// `[[interface]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Kernel name.
    pub name: String,
    /// How to attach.
    pub xdp: XdpMode,
    /// Whether frames may have VLAN tags that are to be looked behind.
    pub vlan: bool,
}

/// How to attach to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// Native, generic where the driver cannot.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's stack.
    Generic,
}

/// `[[service]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique name.
    pub name: Arc<str>,
    /// At least one; unique over all services.
    pub listeners: Vec<Listener>,
    /// How packets reach the backends.
    pub forward: Forward,
    /// Slots of the Maglev table, a prime.
    pub table_size: u32,
    /// What of a flow chooses its slot.
    pub hash: FlowHash,
    /// How connections survive changes.
    pub connections: Connections,
    /// `None`: backends are taken as healthy.
    pub health: Option<HealthCheck>,
    /// Unique by address and port; may be empty.
    pub backends: Vec<Backend>,
}

/// What of a flow chooses its slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowHash {
    /// Addresses, ports and protocol.
    #[default]
    FiveTuple,
    /// The source address, cut to a prefix: a client's flows go to one backend.
    Source {
        /// 1..=32.
        prefix_ipv4: u8,
        /// 1..=128.
        prefix_ipv6: u8,
    },
}

/// How a service's connections survive changes of its backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Which flows get an entry.
    pub tracking: Tracking,
    /// A flow that speaks at least once in this time is found when its slot moves.
    pub transition_window: Duration,
    /// An entry that was silent for so long is forgotten; at least the window.
    pub flow_idle: Duration,
    /// What becomes of a backend's flows when its health check fails.
    pub on_death: OnDeath,
    /// How long a backend that leaves the configuration may finish its connections; 0: not at all.
    pub drain_timeout: Duration,
    /// How long until a backend that comes takes its whole share of new flows; 0: at once.
    pub slow_start: Duration,
}

/// Which flows get an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// Those in slots that are in motion.
    #[default]
    Transition,
    /// All.
    Always,
    /// None: every move of a slot breaks its flows.
    Never,
}

/// What becomes of a backend's flows when its health check fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeath {
    /// Their packets go to other backends, which reset them.
    #[default]
    Reset,
    /// They go on to it; only new flows go elsewhere.
    Keep,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            tracking: Tracking::Transition,
            transition_window: Duration::from_secs(15 * 60),
            flow_idle: Duration::from_secs(15 * 60),
            on_death: OnDeath::Reset,
            drain_timeout: Duration::ZERO,
            slow_start: Duration::ZERO,
        }
    }
}

/// What the operator said of a backend; it wins over the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Whether it takes part.
    pub admin: Admin,
    /// Instead of the configured weight.
    pub weight: Option<u16>,
}

/// Whether a backend takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Admin {
    /// As its health says.
    #[default]
    Enabled,
    /// It keeps its flows and gets no new ones.
    Draining,
    /// As if dead.
    Disabled,
}

/// One of a service's `listen` addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listener {
    /// Transport protocol.
    pub protocol: Protocol,
    /// VIP and port.
    pub address: SocketAddr,
}

/// Transport protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// IANA protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// How packets reach the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Destination rewritten; replies pass back through the load balancer.
    Dnat,
    /// Only the destination MAC rewritten; the backend has the VIP and answers the client itself.
    Dsr,
    /// IP in IP; the backend takes the packet out, has the VIP and answers the client itself.
    Ipip,
    /// The same with Generic UDP Encapsulation, variant 1.
    Gue {
        /// Destination port of the outer UDP header.
        port: u16,
    },
}

impl Forward {
    /// Whether packets get an outer header.
    pub const fn is_tunnel(self) -> bool {
        matches!(self, Self::Ipip | Self::Gue { .. })
    }

    /// Whether replies come back through the load balancer.
    pub const fn has_replies(self) -> bool {
        matches!(self, Self::Dnat)
    }
}

/// `[[service.backend]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Unique in its service; its address where the file gives none.
    pub name: CompactString,
    /// Where packets go.
    pub address: IpAddr,
    /// `None`: the listener's port is kept.
    pub port: Option<u16>,
    /// 0..=256; 0 drains.
    pub weight: u16,
}

/// `[[service.health]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Successes in a row that bring a backend up.
    pub rise: u32,
    /// Failures in a row that take it down.
    pub fall: u32,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection is accepted.
    Tcp,
    /// A GET is answered with an expected status.
    Http(HttpProbe),
}

/// What an HTTP health check asks, and which answers pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Path and query of the request, from its `/` on.
    pub path: String,
    /// The `Host` header; `None`: address and port that the probe goes to.
    pub host: Option<String>,
    /// Status codes that pass; at least one, 200 to 599.
    pub expect_status: Vec<u16>,
}

/// What is known of a backend's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Not probed yet: gets no traffic.
    #[default]
    Unknown,
    /// Passes its checks.
    Up,
    /// Fails them.
    Down,
    /// Its service has no health check: taken as healthy.
    Unchecked,
}

impl Health {
    /// Whether the backend may get traffic.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Up | Self::Unchecked)
    }
}

/// Identifies a backend over reloads: neither name, order nor weight, but where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    /// The service's name.
    pub service: Arc<str>,
    /// The backend's address.
    pub address: IpAddr,
    /// `None`: the listener's port is kept.
    pub port: Option<u16>,
}

impl Service {
    /// The key of one of its backends.
    pub fn key(&self, backend: &Backend) -> BackendKey {
        BackendKey {
            service: Arc::clone(&self.name),
            address: backend.address,
            port: backend.port,
        }
    }

    /// Where a health check of `backend` connects: its own port, or else the first that a listener
    /// names.
    pub fn probe_address(&self, backend: &Backend) -> Option<SocketAddr> {
        let port = backend.port.or_else(|| {
            self.listeners
                .iter()
                .map(|l| l.address.port())
                .find(|port| *port != 0)
        })?;
        Some(SocketAddr::new(backend.address, port))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol, self.address)
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dnat => "dnat",
            Self::Dsr => "dsr",
            Self::Ipip => "ipip",
            Self::Gue { .. } => "gue",
        })
    }
}

impl fmt::Display for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transition => "transition",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::Unchecked => "none",
        })
    }
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.service)?;
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

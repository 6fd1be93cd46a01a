//! One configuration, and the state that its tables are put into: all that packets are judged by, as
//! data, so that it can be drawn at random, made smaller, and kept in a file.
//!
//! Backends are named by their number in their service's list here, from 1 on; where the plan seats them
//! is found out later.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A configuration and a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Whether frames may have VLAN tags.
    pub vlan: bool,
    /// Whether replies of `dnat` backends come in by the clients' interface, too.
    pub front_faces_backends: bool,
    /// `tunnel_source_ipv4` and `tunnel_source_ipv6`, with a prefix length.
    pub tunnel_sources: Vec<String>,
    /// Whether the daemon takes what it is given.
    pub punts_are_read: bool,
    /// Whether a copy of the program that writes no map is asked, too.
    pub asks_first: bool,
    /// Entries that may be made for SYNs and for other packets in a tick.
    pub inserts: [u32; 2],
    /// Flow entries that there is room for, of each IP version.
    pub room: u32,
    /// The services.
    pub services: Vec<ServiceSetup>,
    /// What is remembered at the beginning.
    pub flows: Vec<FlowSetup>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSetup {
    /// `dnat`, `dsr`, `ipip`, `gue`.
    pub forward: ForwardSetup,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// What the flow hash is over.
    pub hash: HashSetup,
    /// Which flows are remembered.
    pub tracking: TrackingSetup,
    /// Slots of the table, a prime.
    pub table_size: u32,
    /// The backends.
    pub backends: Vec<BackendSetup>,
    /// Current and previous of slots, over and over; none: as planned.
    pub slots: Vec<[u16; 2]>,
    /// The table that is being left.
    pub old: Option<OldSetup>,
}

/// How packets reach backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardSetup {
    /// Rewritten.
    Dnat,
    /// As they are.
    Dsr,
    /// In an IP packet.
    Ipip,
    /// In a UDP datagram to this port.
    Gue(u16),
}

/// Where a service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Whether it is UDP.
    pub udp: bool,
    /// VIP and port.
    pub at: SocketAddr,
}

/// What a flow hash is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashSetup {
    /// All that identifies a flow.
    FiveTuple,
    /// The source, cut to so many bits of an IPv4 and of an IPv6 address.
    Source(u8, u8),
}

/// Which flows are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackingSetup {
    /// Those in slots in motion.
    Transition,
    /// All.
    Always,
    /// None.
    Never,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSetup {
    /// Where it is.
    pub address: IpAddr,
    /// `None`: the packet's port stays.
    pub port: Option<u16>,
    /// Where its frames go.
    pub way: WaySetup,
    /// Failed.
    pub dead: bool,
    /// Being drained.
    pub drained: bool,
    /// Its place was freed.
    pub freed: bool,
    /// The part of new flows that it takes.
    pub admit: u16,
    /// How often its place was given away.
    pub generation: u16,
    /// The MTU of a tunnel to it; 0: not known.
    pub mtu: u32,
}

/// Where a backend's frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaySetup {
    /// Out of the backends' interface.
    Back,
    /// Out of the clients'.
    Front,
    /// Nobody knows its MAC address.
    Unresolved,
    /// Out of an interface that there is not.
    Nowhere,
}

/// A table that is being left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OldSetup {
    /// How many slots it has.
    pub size: u32,
    /// What its hash is keyed by; `None`: the same as the table in force.
    pub seed: Option<String>,
    /// What its hash is over.
    pub hash: HashSetup,
    /// Its slots, over and over.
    pub slots: Vec<[u16; 2]>,
}

/// What is remembered of a flow at the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowSetup {
    /// In the table of services that are always tracked.
    pub always: bool,
    /// The client.
    pub from: SocketAddr,
    /// The VIP.
    pub to: SocketAddr,
    /// Whether it is UDP.
    pub udp: bool,
    /// The service's number in the list, from 0 on.
    pub service: usize,
    /// The backend's number in it.
    pub backend: u16,
    /// How far its generation is from the backend's.
    pub generations_ago: u16,
    /// Not only a SYN was seen.
    pub established: bool,
    /// A FIN or RST was seen.
    pub closing: bool,
    /// Ticks ago that it last spoke.
    pub idle: u32,
}

impl Setup {
    /// The `[[service]]` part of a configuration, and what of `[daemon]` these services use.
    pub fn toml(&self) -> (String, String) {
        let mut daemon = String::new();
        for source in &self.tunnel_sources {
            let family = if source.contains(':') { "ipv6" } else { "ipv4" };
            daemon += &format!("tunnel_source_{family} = \"{source}\"\n");
        }
        let services = self.services.iter().enumerate();
        let services = services.map(|(number, service)| service.toml(number));
        (daemon, services.collect())
    }
}

impl Setup {
    /// Whether some service remembers every flow. Otherwise there is no table for it.
    pub fn always_tracks(&self) -> bool {
        let mut services = self.services.iter();
        services.any(|service| service.tracking == TrackingSetup::Always)
    }

    /// Whether some service listens on IPv6. Otherwise there are no tables for it.
    pub fn has_ipv6(&self) -> bool {
        let mut listeners = self.services.iter().flat_map(|service| &service.listen);
        listeners.any(|listen| listen.at.is_ipv6())
    }

    /// What is remembered where there is a table.
    pub fn remembered(&self) -> impl Iterator<Item = &FlowSetup> {
        let (always, ipv6) = (self.always_tracks(), self.has_ipv6());
        let has_table =
            move |flow: &&FlowSetup| (always || !flow.always) && (ipv6 || flow.from.is_ipv4());
        self.flows.iter().filter(has_table)
    }
}

impl ServiceSetup {
    /// The name of the service with this number.
    pub fn name(number: usize) -> String {
        format!("s{number}")
    }

    fn toml(&self, number: usize) -> String {
        let Self {
            forward,
            listen,
            hash,
            tracking,
            table_size,
            backends,
            slots: _,
            old: _,
        } = self;
        let listen: Vec<String> = listen
            .iter()
            .map(|Listen { udp, at }| {
                let protocol = if *udp { "udp" } else { "tcp" };
                format!("\"{protocol}://{at}\"")
            })
            .collect();
        let tracking = match tracking {
            TrackingSetup::Transition => "transition",
            TrackingSetup::Always => "always",
            TrackingSetup::Never => "never",
        };
        let mut text = format!(
            "[[service]]\nname = \"{}\"\nlisten = [{}]\ntable_size = {table_size}\n\
             tracking = \"{tracking}\"\n",
            Self::name(number),
            listen.join(", "),
        );
        text += &match forward {
            ForwardSetup::Dnat => "forward = \"dnat\"\n".to_owned(),
            ForwardSetup::Dsr => "forward = \"dsr\"\n".to_owned(),
            ForwardSetup::Ipip => "forward = \"ipip\"\n".to_owned(),
            ForwardSetup::Gue(port) => format!("forward = \"gue\"\ngue_port = {port}\n"),
        };
        if let HashSetup::Source(ipv4, ipv6) = hash {
            text += &format!(
                "hash = \"source\"\nsource_prefix_ipv4 = {ipv4}\nsource_prefix_ipv6 = {ipv6}\n"
            );
        }
        for backend in backends {
            let at = match (backend.address, backend.port) {
                (address, Some(port)) => SocketAddr::new(address, port).to_string(),
                (address, None) => address.to_string(),
            };
            text += &format!("[[service.backend]]\naddress = \"{at}\"\n");
        }
        text
    }

    /// The backend with this number.
    pub fn backend(&self, number: u16) -> Option<&BackendSetup> {
        self.backends.get(usize::from(number).checked_sub(1)?)
    }
}

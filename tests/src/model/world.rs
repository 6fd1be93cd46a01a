//! All that the model takes as given, as data: what the daemon wrote, and what the kernel would answer.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use super::flows::Flows;

/// Where packets come in.
#[derive(Clone, Debug)]
pub struct World {
    /// What the configuration uses.
    pub features: Features,
    /// By their index.
    pub interfaces: BTreeMap<u32, Interface>,
    /// Which service listens where, by its place in `services`. Port 0 is every port.
    pub listeners: BTreeMap<Endpoint, usize>,
    /// The services.
    pub services: Vec<Service>,
    /// The VIP that a `dnat` backend's address, port and protocol stand for.
    pub replies: BTreeMap<Endpoint, Vip>,
    /// What the kernel's routes say of destinations; the first that covers one holds, and what none
    /// covers is not routed.
    pub routes: Vec<Route>,
    /// What is remembered of flows. Packets change it.
    pub flows: Flows,
    /// Ticks since boot.
    pub tick: u64,
    /// Bytes that the driver has before a frame.
    pub headroom: usize,
    /// The largest packet that can be given to the daemon.
    pub punt_max: usize,
    /// How many packets can be given to it until it takes some. Packets change it.
    pub punt_room: usize,
}

/// What is looked for at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// IPv6.
    pub ipv6: bool,
    /// UDP.
    pub udp: bool,
    /// VLAN tags.
    pub vlan: bool,
    /// Replies of `dnat` backends.
    pub dnat: bool,
    /// Flow entries of slots in motion.
    pub transition: bool,
    /// Flow entries of services that are, or were, always tracked.
    pub always: bool,
}

/// An interface that the program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Whether replies of `dnat` backends come in here.
    pub faces_backends: bool,
}

/// An address, a port and a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// IANA protocol number.
    pub protocol: u8,
}

/// What a reply comes from after it was turned back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// How packets reach its backends.
    pub forward: Forward,
    /// Whether every flow gets an entry.
    pub always_tracked: bool,
    /// The table in force.
    pub table: Table,
    /// The one being left, while the table changes its size or its seed.
    pub old: Option<Table>,
    /// The backends; number 1 is the first.
    pub backends: Vec<Backend>,
}

/// How packets reach backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Destination rewritten.
    Dnat,
    /// As they are.
    Dsr,
    /// In an IP packet.
    Ipip,
    /// In a UDP datagram.
    Gue {
        /// Where to.
        port: u16,
    },
}

/// What the flow hash is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashOver {
    /// Addresses, ports and protocol.
    FiveTuple,
    /// The source address, cut to a prefix.
    Source {
        /// Bits of an IPv4 address.
        prefix_ipv4: u8,
        /// Bits of an IPv6 address.
        prefix_ipv6: u8,
    },
}

/// A table of slots, and the keyed hash that leads into it.
#[derive(Clone)]
pub struct Table {
    /// The slots.
    pub slots: Vec<Slot>,
    /// What the flow hash is over.
    pub over: HashOver,
    /// The 64-bit flow hash with the table's key. How it mixes bits is the one thing that the model
    /// does not know.
    pub hash: Arc<dyn Fn(&Hashed) -> u64 + Send + Sync>,
}

/// What is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// A flow.
    Flow(FlowTuple),
    /// A source address, zero behind its prefix.
    Source(IpAddr),
}

/// A flow as the client sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowTuple {
    /// The client's address.
    pub source: IpAddr,
    /// The VIP.
    pub destination: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// The VIP's port.
    pub destination_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
}

/// A slot. Numbers are those of backends; 0 is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Who gets new flows.
    pub current: u16,
    /// Who had the slot before; [`NONE`] where that does not matter any more, and `current` at rest.
    pub previous: u16,
}

/// [`Slot::previous`] of a tracked slot.
pub const NONE: u16 = 0xffff;

/// A backend. An entry that is not in use is one that was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where packets go.
    pub address: IpAddr,
    /// `None`: the packet's port stays.
    pub port: Option<u16>,
    /// `None`: without a MAC address.
    pub next_hop: Option<NextHop>,
    /// Whether it is a backend at all.
    pub in_use: bool,
    /// No packet is sent there.
    pub dead: bool,
    /// It takes no new flows.
    pub drained: bool,
    /// The part of new flows that it takes, out of 65535.
    pub admit: u16,
    /// Flow entries repeat it.
    pub generation: u16,
    /// How it is reached through a tunnel; unused in other modes.
    pub tunnel: Tunnel,
}

/// Where frames to a backend go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// To this MAC address.
    pub mac: [u8; 6],
    /// Out of this interface; `None`, or one that there is not: nowhere.
    pub interface: Option<u32>,
}

/// The way through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The outer source.
    pub source: IpAddr,
    /// With `ipip`, the bits of `source` behind so many come from the flow hash.
    pub prefix: u8,
    /// The MTU of the way, in bytes.
    pub mtu: usize,
}

/// A route of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations' prefix.
    pub network: IpAddr,
    /// Its length.
    pub prefix: u8,
    /// How they are reached; `None`: not by forwarding.
    pub way: Option<Way>,
}

/// How a destination is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Out of this interface.
    pub interface: u32,
    /// Its MAC address.
    pub from: [u8; 6],
    /// To this MAC address; `None`: not known yet.
    pub to: Option<[u8; 6]>,
    /// The route's MTU, in bytes.
    pub mtu: usize,
}

impl World {
    /// What the kernel's routes say of a destination.
    pub fn way(&self, destination: IpAddr) -> Option<Way> {
        let covers = |route: &&Route| {
            let cut = |address| cut(address, route.prefix);
            cut(route.network) == cut(destination)
        };
        self.routes.iter().find(covers)?.way
    }
}

impl Service {
    /// The backend that slots name by this number.
    pub fn backend(&self, number: u16) -> Option<&Backend> {
        self.backends.get(usize::from(number).checked_sub(1)?)
    }

    /// The same, if packets may be sent there.
    pub fn living(&self, number: u16) -> Option<u16> {
        self.backend(number)?.is_alive().then_some(number)
    }
}

impl Backend {
    /// Whether packets may be sent there.
    pub const fn is_alive(&self) -> bool {
        self.in_use && !self.dead
    }

    /// Whether new flows may, too.
    pub const fn takes_new_flows(&self) -> bool {
        self.is_alive() && !self.drained
    }
}

impl Slot {
    /// Whether packets need no flow table.
    pub const fn is_at_rest(self) -> bool {
        self.current == self.previous
    }

    /// Whether it is tracked: it moved, and its window is over.
    pub const fn is_tracked(self) -> bool {
        self.previous == NONE
    }

    /// Whose flows without an entry are.
    pub const fn owner(self) -> u16 {
        if self.is_tracked() {
            self.current
        } else {
            self.previous
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            slots,
            over,
            hash: _,
        } = self;
        let mut table = f.debug_struct("Table");
        table.field("slots", slots).field("over", over).finish()
    }
}

/// An address with the bits behind a prefix set to zero.
pub fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    let keep = |octets: &[u8]| -> Vec<u8> {
        let kept = |(place, octet): (usize, &u8)| {
            (0..8)
                .filter(|bit| place * 8 + bit < usize::from(prefix))
                .fold(0, |kept, bit| kept | octet & 0x80 >> bit)
        };
        octets.iter().enumerate().map(kept).collect()
    };
    match address {
        IpAddr::V4(address) => {
            let octets: [u8; 4] = keep(&address.octets()).try_into().expect("4 bytes");
            IpAddr::from(octets)
        }
        IpAddr::V6(address) => {
            let octets: [u8; 16] = keep(&address.octets()).try_into().expect("16 bytes");
            IpAddr::from(octets)
        }
    }
}

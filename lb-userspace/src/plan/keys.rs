//! Keys of the tables that there is one of for each version of IP, as one type each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    abi::flow::{FlowKeyV4, FlowKeyV6},
    endian::{Be16, Be32, Be128},
    family::{Family, FlowTuple, Hashing, V4, V6},
    hash::FlowHash,
};

/// A flow as the client sends it: a key of the flow tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowKey {
    /// Of `FLOWS_IPV4` and `ALWAYS_FLOWS_IPV4`.
    V4(FlowKeyV4),
    /// Of `FLOWS_IPV6` and `ALWAYS_FLOWS_IPV6`.
    V6(FlowKeyV6),
}

impl FlowKey {
    /// The key of a flow; `None` where its ends are of different families.
    pub fn new(client: SocketAddr, vip: SocketAddr, protocol: u8) -> Option<Self> {
        let (source_port, destination_port) = (Be16::new(client.port()), Be16::new(vip.port()));
        match (client.ip(), vip.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4(FlowKeyV4::new(
                source.into(),
                destination.into(),
                source_port,
                destination_port,
                protocol,
            ))),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6(FlowKeyV6::new(
                source.into(),
                destination.into(),
                source_port,
                destination_port,
                protocol,
            ))),
            _ => None,
        }
    }

    /// The client.
    pub fn client(&self) -> SocketAddr {
        match self {
            Self::V4(key) => socket(Ipv4Addr::from(key.source), key.source_port),
            Self::V6(key) => socket(Ipv6Addr::from(key.source), key.source_port),
        }
    }

    /// The address and port that the client speaks to.
    pub fn vip(&self) -> SocketAddr {
        match self {
            Self::V4(key) => socket(Ipv4Addr::from(key.destination), key.destination_port),
            Self::V6(key) => socket(Ipv6Addr::from(key.destination), key.destination_port),
        }
    }

    /// IANA protocol number.
    pub const fn protocol(&self) -> u8 {
        match self {
            Self::V4(key) => key.protocol,
            Self::V6(key) => key.protocol,
        }
    }

    /// The flow's hash, which its slot follows from.
    pub fn hash(&self, hashing: Hashing) -> FlowHash {
        match self {
            Self::V4(key) => V4::hash(hashing, tuple_v4(key)),
            Self::V6(key) => V6::hash(hashing, tuple_v6(key)),
        }
    }
}

const fn tuple_v4(key: &FlowKeyV4) -> FlowTuple<Be32> {
    let FlowKeyV4 {
        source,
        destination,
        source_port,
        destination_port,
        protocol,
        reserved: _,
    } = *key;
    FlowTuple {
        source,
        destination,
        source_port,
        destination_port,
        protocol,
    }
}

const fn tuple_v6(key: &FlowKeyV6) -> FlowTuple<Be128> {
    let FlowKeyV6 {
        source,
        destination,
        source_port,
        destination_port,
        protocol,
        reserved: _,
    } = *key;
    FlowTuple {
        source,
        destination,
        source_port,
        destination_port,
        protocol,
    }
}

fn socket(address: impl Into<IpAddr>, port: Be16) -> SocketAddr {
    SocketAddr::new(address.into(), port.get())
}

//! Keys and values of the tables that there is one of for each version of IP, as one type each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    abi::{
        flow::{FlowKeyV4, FlowKeyV6},
        reply::{ReplyV4, ReplyV6},
        service::ServiceId,
        vip::{VipKeyV4, VipKeyV6},
    },
    endian::Be16,
    family::{Family, Hashing, V4, V6},
    hash::FlowHash,
    tuple::FlowTuple,
};

/// Address, port and protocol: a key of the tables of VIPs and of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VipKey {
    /// Of `VIPS_IPV4` and `REPLIES_IPV4`.
    V4(VipKeyV4),
    /// Of `VIPS_IPV6` and `REPLIES_IPV6`.
    V6(VipKeyV6),
}

/// What a reply is turned back into: a value of the tables of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTarget {
    /// Of `REPLIES_IPV4`.
    V4(ReplyV4),
    /// Of `REPLIES_IPV6`.
    V6(ReplyV6),
}

/// A flow as the client sends it: a key of the flow tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowKey {
    /// Of `FLOWS_IPV4` and `ALWAYS_FLOWS_IPV4`.
    V4(FlowKeyV4),
    /// Of `FLOWS_IPV6` and `ALWAYS_FLOWS_IPV6`.
    V6(FlowKeyV6),
}

impl VipKey {
    /// The key of an address, a port (0: every port) and an IANA protocol number.
    pub fn new(address: IpAddr, port: u16, protocol: u8) -> Self {
        let port = Be16::new(port);
        match address {
            IpAddr::V4(address) => Self::V4(VipKeyV4::new(address.into(), port, protocol)),
            IpAddr::V6(address) => Self::V6(VipKeyV6::new(address.into(), port, protocol)),
        }
    }

    /// The address.
    pub fn address(&self) -> IpAddr {
        match self {
            Self::V4(key) => Ipv4Addr::from(key.address).into(),
            Self::V6(key) => Ipv6Addr::from(key.address).into(),
        }
    }

    /// The port; 0: every port.
    pub const fn port(&self) -> u16 {
        match self {
            Self::V4(key) => key.port.get(),
            Self::V6(key) => key.port.get(),
        }
    }

    /// IANA protocol number.
    pub const fn protocol(&self) -> u8 {
        match self {
            Self::V4(key) => key.protocol,
            Self::V6(key) => key.protocol,
        }
    }
}

impl ReplyTarget {
    /// The VIP of a service that a backend (by its index) answers for.
    pub fn new(vip: SocketAddr, service: ServiceId, backend: u32) -> Self {
        let port = Be16::new(vip.port());
        match vip.ip() {
            IpAddr::V4(address) => Self::V4(ReplyV4 {
                address: address.into(),
                port,
                reserved: 0,
                service,
                backend,
            }),
            IpAddr::V6(address) => Self::V6(ReplyV6 {
                address: address.into(),
                port,
                reserved: 0,
                service,
                backend,
                padding: 0,
            }),
        }
    }

    /// The VIP.
    pub fn vip(&self) -> SocketAddr {
        match self {
            Self::V4(reply) => socket(Ipv4Addr::from(reply.address), reply.port),
            Self::V6(reply) => socket(Ipv6Addr::from(reply.address), reply.port),
        }
    }

    /// The service.
    pub const fn service(&self) -> ServiceId {
        match self {
            Self::V4(reply) => reply.service,
            Self::V6(reply) => reply.service,
        }
    }

    /// Whether it can stand under a key: both are of one family.
    pub const fn fits(&self, key: &VipKey) -> bool {
        matches!(
            (self, key),
            (Self::V4(_), VipKey::V4(_)) | (Self::V6(_), VipKey::V6(_))
        )
    }
}

impl FlowKey {
    /// The key of a flow; `None` where its ends are of different families.
    pub fn new(client: SocketAddr, vip: SocketAddr, protocol: u8) -> Option<Self> {
        let ports = (client.port(), vip.port());
        match (client.ip(), vip.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let flow = tuple(source.into(), destination.into(), ports, protocol);
                Some(Self::V4(FlowKeyV4::new(flow)))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let flow = tuple(source.into(), destination.into(), ports, protocol);
                Some(Self::V6(FlowKeyV6::new(flow)))
            }
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
            Self::V4(key) => V4::hash(hashing, key.tuple()),
            Self::V6(key) => V6::hash(hashing, key.tuple()),
        }
    }
}

/// A flow from the first to the second of the ports.
const fn tuple<A>(source: A, destination: A, ports: (u16, u16), protocol: u8) -> FlowTuple<A>
where
    A: Copy,
{
    FlowTuple {
        source,
        destination,
        source_port: Be16::new(ports.0),
        destination_port: Be16::new(ports.1),
        protocol,
    }
}

fn socket(address: impl Into<IpAddr>, port: Be16) -> SocketAddr {
    SocketAddr::new(address.into(), port.get())
}

#[cfg(test)]
mod tests {
    use lb_common::endian::Be32;

    use super::*;

    #[test]
    fn keys_give_back_what_they_were_made_of() {
        for address in ["10.9.0.1", "fd77::1"] {
            let address: IpAddr = address.parse().unwrap();
            let key = VipKey::new(address, 443, 6);
            assert_eq!(
                (key.address(), key.port(), key.protocol()),
                (address, 443, 6)
            );
            let vip = SocketAddr::new(address, 443);
            let reply = ReplyTarget::new(vip, ServiceId(3), 7);
            assert_eq!((reply.vip(), reply.service()), (vip, ServiceId(3)));
            assert!(reply.fits(&key));
            let client = SocketAddr::new(address, 50_000);
            let flow = FlowKey::new(client, vip, 17).unwrap();
            assert_eq!(
                (flow.client(), flow.vip(), flow.protocol()),
                (client, vip, 17)
            );
        }
    }

    #[test]
    fn families_do_not_mix() {
        let (v4, v6) = (
            "10.0.0.1:80".parse().unwrap(),
            "[fd77::1]:80".parse().unwrap(),
        );
        assert_eq!(FlowKey::new(v4, v6, 6), None);
        assert_eq!(FlowKey::new(v6, v4, 6), None);
        let reply = ReplyTarget::new(v4, ServiceId(0), 0);
        assert!(!reply.fits(&VipKey::new(v6.ip(), 80, 6)));
    }

    #[test]
    fn by_source_a_clients_flows_have_one_hash() {
        let record = |by_source| Hashing {
            key: lb_common::hash::HashKey { k0: 1, k1: 2 },
            by_source,
            mask_ipv4: Be32::new(0xffff_ff00),
            mask_ipv6: "ffff:ffff:ffff:ffff::".parse::<Ipv6Addr>().unwrap().into(),
        };
        for (vip, client, neighbour, stranger) in [
            ("10.9.0.1:80", "192.0.2.1:1", "192.0.2.9:7", "192.0.3.1:1"),
            (
                "[fd77::1]:80",
                "[fd00::1]:1",
                "[fd00::9]:7",
                "[fd00:0:0:1::1]:1",
            ),
        ] {
            let hash = |client: &str, by_source| {
                let (client, vip) = (client.parse().unwrap(), vip.parse().unwrap());
                FlowKey::new(client, vip, 6)
                    .unwrap()
                    .hash(record(by_source))
            };
            assert_eq!(hash(client, true), hash(neighbour, true));
            assert_ne!(hash(client, true), hash(stranger, true));
            assert_ne!(hash(client, false), hash(neighbour, false));
        }
    }
}

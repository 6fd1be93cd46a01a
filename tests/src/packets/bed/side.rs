//! The two sides of a bed's load balancer, and who is on them.

use std::net::{IpAddr, Ipv4Addr};

use crate::mode::Family;

/// The client's MAC, on the front network.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 10];

/// The MAC of the backend with this last number in its address.
pub const fn backend_mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 2, number]
}

/// An interface of the load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// 10.77.1.0/24 and fd77:1::/64: clients.
    Front,
    /// 10.77.2.0/24 and fd77:2::/64: backends.
    Back,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Front, Self::Back];

    /// The interface's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
        }
    }

    /// An IPv4 address of the network that it faces.
    pub const fn network(self, octet: u8) -> Ipv4Addr {
        match self {
            Self::Front => Ipv4Addr::new(10, 77, 1, octet),
            Self::Back => Ipv4Addr::new(10, 77, 2, octet),
        }
    }

    /// The address of the same host in a family.
    pub const fn address(self, family: Family, number: u8) -> IpAddr {
        family.at(IpAddr::V4(self.network(number)))
    }

    /// The side that an address is on, and the host's number there.
    pub(in crate::packets) const fn of(address: IpAddr) -> (Self, u8) {
        match Family::Ipv4.at(address) {
            IpAddr::V4(address) => match address.octets() {
                [_, _, 1, number] => (Self::Front, number),
                [.., number] => (Self::Back, number),
            },
            IpAddr::V6(_) => (Self::Back, 0),
        }
    }
}

//! The addresses of the network. Every host has one of each family, written with the same digits:
//! 10.77.N.X is fd77:N::X.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::{host::has_ipv6, mode::Family};

/// The service.
pub const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 80), 80);
/// The same by IPv6: `[fd77::80]:80`.
pub const VIP6: SocketAddrV6 = SocketAddrV6::new(beside(*VIP.ip()), VIP.port(), 0, 0);
/// The client.
pub const CLIENT: Ipv4Addr = front(10);
/// The client's IPv6 address.
pub const CLIENT6: Ipv6Addr = beside(CLIENT);
/// The load balancer's interface `front`.
pub const LB_FRONT: Ipv4Addr = front(1);
/// The load balancer's interface `back`.
pub const LB_BACK: Ipv4Addr = back(1);
/// The router on the front network.
pub const ROUTER_FRONT: Ipv4Addr = front(254);
/// The router on the back network.
pub const ROUTER_BACK: Ipv4Addr = back(254);
/// The gateway to the far network, on the back network.
pub const GATEWAY: Ipv4Addr = back(253);

/// The network of VIPs.
pub const VIP_NET: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 0);
/// Where clients are.
pub const FRONT_NET: Ipv4Addr = front(0);
pub(super) const BACK_NET: Ipv4Addr = back(0);
pub(super) const FAR_NET: Ipv4Addr = far(0);
pub(super) const GATEWAY_FAR: Ipv4Addr = far(254);

/// A host among the clients.
const fn front(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, host)
}

/// A host among the backends.
pub(super) const fn back(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 2, host)
}

/// A host behind the gateway.
pub(super) const fn far(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 3, host)
}

impl Family {
    /// Those that this kernel knows.
    pub fn known() -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter();
        all.filter(|family| *family == Self::Ipv4 || has_ipv6())
    }

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The service.
    pub const fn vip(self) -> SocketAddr {
        match self {
            Self::Ipv4 => SocketAddr::V4(VIP),
            Self::Ipv6 => SocketAddr::V6(VIP6),
        }
    }

    /// The address in this family of the host that has `address`, of either one.
    pub const fn at(self, address: IpAddr) -> IpAddr {
        match (self, address) {
            (Self::Ipv6, IpAddr::V4(address)) => IpAddr::V6(beside(address)),
            (Self::Ipv4, IpAddr::V6(address)) => IpAddr::V4(below(address)),
            _ => address,
        }
    }

    /// The length of a network's prefix.
    pub const fn network(self) -> u8 {
        match self {
            Self::Ipv4 => 24,
            Self::Ipv6 => 64,
        }
    }

    /// The length of an IP header without options.
    pub const fn header(self) -> u32 {
        match self {
            Self::Ipv4 => 20,
            Self::Ipv6 => 40,
        }
    }

    /// Every address, as the network of a default route.
    pub const fn anywhere(self) -> IpAddr {
        match self {
            Self::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// The IPv6 address of the host that has this one.
pub const fn beside(address: Ipv4Addr) -> Ipv6Addr {
    let [_, _, network, host] = address.octets();
    Ipv6Addr::new(0xfd77, as_written(network), 0, 0, 0, 0, 0, as_written(host))
}

/// fe80::N:X, for the same host on its link.
pub const fn link_local(address: Ipv4Addr) -> Ipv6Addr {
    let [_, network, .., host] = beside(address).segments();
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, network, host)
}

const fn below(address: Ipv6Addr) -> Ipv4Addr {
    let [_, network, .., host] = address.segments();
    Ipv4Addr::new(10, 77, as_read(network), as_read(host))
}

/// The number whose hexadecimal digits are the decimal ones of `number`.
const fn as_written(number: u8) -> u16 {
    let number = number as u16;
    number / 100 * 0x100 + number / 10 % 10 * 0x10 + number % 10
}

/// The inverse.
const fn as_read(number: u16) -> u8 {
    ((number >> 8) * 100 + (number >> 4 & 0xf) * 10 + (number & 0xf)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ipv6_address_reads_like_the_ipv4_one() {
        for (v4, v6) in [
            (CLIENT, "fd77:1::10"),
            (ROUTER_BACK, "fd77:2::254"),
            (far(19), "fd77:3::19"),
            (*VIP.ip(), "fd77::80"),
        ] {
            let v6: IpAddr = v6.parse().expect("an address");
            assert_eq!(Family::Ipv6.at(v4.into()), v6);
            assert_eq!(Family::Ipv4.at(v6), IpAddr::V4(v4));
            assert_eq!(Family::Ipv6.at(v6), v6);
        }
        assert_eq!(Family::Ipv6.vip().to_string(), "[fd77::80]:80");
    }
}

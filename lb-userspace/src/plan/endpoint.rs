//! Where a backend is: what identifies it inside its service.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use lb_common::{
    abi::backend::{Backend as Entry, family},
    endian::{Be16, Be128},
};

use crate::model;

/// A backend's address and port. Its order is by value, the same on every host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// `None`: the listener's port is kept.
    pub port: Option<u16>,
}

impl Endpoint {
    /// Where an entry of `BACKENDS` leads.
    pub fn of_entry(entry: &Entry) -> Self {
        let address = match entry.family {
            family::IPV6 => IpAddr::V6(Ipv6Addr::from(entry.address)),
            _ => IpAddr::V4(Ipv4Addr::from(entry.address.leading())),
        };
        let port = match entry.port.get() {
            0 => None,
            port => Some(port),
        };
        Self { address, port }
    }

    /// The address as an entry holds it.
    pub(super) fn address_field(self) -> Be128 {
        address_field(self.address)
    }

    /// Which family that is.
    pub(super) const fn family(self) -> u8 {
        match self.address {
            IpAddr::V4(_) => family::IPV4,
            IpAddr::V6(_) => family::IPV6,
        }
    }

    /// The port as an entry holds it: 0 keeps the listener's.
    pub(super) fn port_word(self) -> Be16 {
        Be16::new(self.port.unwrap_or(0))
    }
}

/// An address as an entry holds it.
pub(super) fn address_field(address: IpAddr) -> Be128 {
    match address {
        IpAddr::V4(address) => Be128::from_leading(address.into()),
        IpAddr::V6(address) => address.into(),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

impl From<&model::Backend> for Endpoint {
    fn from(backend: &model::Backend) -> Self {
        Self {
            address: backend.address,
            port: backend.port,
        }
    }
}

impl From<&model::BackendKey> for Endpoint {
    fn from(key: &model::BackendKey) -> Self {
        Self {
            address: key.address,
            port: key.port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_gives_its_endpoint_back() {
        for address in ["10.0.0.1", "fd77::1", "fd77::", "255.255.255.255"] {
            for port in [None, Some(80)] {
                let endpoint = Endpoint {
                    address: address.parse().unwrap(),
                    port,
                };
                let entry = Entry {
                    family: endpoint.family(),
                    address: endpoint.address_field(),
                    port: endpoint.port_word(),
                    ..Entry::default()
                };
                assert_eq!(Endpoint::of_entry(&entry), endpoint);
            }
        }
    }
}

//! Where a backend is: what identifies it inside its service.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use lb_common::{
    abi::backend::Backend as Entry,
    endian::{Be16, Be32},
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
    /// Where an entry of `BACKENDS` leads. An address whose last 12 bytes are zero is IPv4.
    pub fn of_entry(entry: &Entry) -> Self {
        let [first, rest @ ..] = entry.address;
        let address = if rest == [Be32::default(); 3] {
            IpAddr::V4(Ipv4Addr::from(first))
        } else {
            let mut octets = [0; 16];
            for (bytes, word) in octets.chunks_exact_mut(4).zip(entry.address) {
                bytes.copy_from_slice(&word.to_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        let port = match entry.port.get() {
            0 => None,
            port => Some(port),
        };
        Self { address, port }
    }

    /// The address as an entry holds it.
    pub(super) fn address_words(self) -> [Be32; 4] {
        let mut words = [Be32::default(); 4];
        match self.address {
            IpAddr::V4(address) => words[0] = address.into(),
            IpAddr::V6(address) => {
                for (word, bytes) in words.iter_mut().zip(address.octets().chunks_exact(4)) {
                    *word = Be32::from_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
            }
        }
        words
    }

    /// The port as an entry holds it: 0 keeps the listener's.
    pub(super) fn port_word(self) -> Be16 {
        Be16::new(self.port.unwrap_or(0))
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
        for address in ["10.0.0.1", "fd77::1", "255.255.255.255"] {
            for port in [None, Some(80)] {
                let endpoint = Endpoint {
                    address: address.parse().unwrap(),
                    port,
                };
                let entry = Entry {
                    address: endpoint.address_words(),
                    port: endpoint.port_word(),
                    ..Entry::default()
                };
                assert_eq!(Endpoint::of_entry(&entry), endpoint);
            }
        }
    }
}

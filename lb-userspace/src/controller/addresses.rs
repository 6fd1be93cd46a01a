//! Which configured backends are at which address: what is heard of an address concerns few of them.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use crate::model::BackendKey;

/// Backends, by address.
#[derive(Debug, Default)]
pub(super) struct Addresses(BTreeSet<Place>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    address: IpAddr,
    service: Arc<str>,
    port: Option<u16>,
}

impl Addresses {
    /// The backends at an address.
    pub(super) fn at(&self, address: IpAddr) -> impl Iterator<Item = BackendKey> {
        let first = Place {
            address,
            service: "".into(),
            port: None,
        };
        self.0
            .range(first..)
            .take_while(move |place| place.address == address)
            .map(move |place| BackendKey {
                service: Arc::clone(&place.service),
                address,
                port: place.port,
            })
    }

    /// Whether there is a backend at an address.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.at(address).next().is_some()
    }

    pub(super) fn insert(&mut self, key: &BackendKey) {
        self.0.insert(key.into());
    }

    pub(super) fn remove(&mut self, key: &BackendKey) {
        self.0.remove(&key.into());
    }
}

impl From<&BackendKey> for Place {
    fn from(key: &BackendKey) -> Self {
        let BackendKey {
            service,
            address,
            port,
        } = key;
        Self {
            address: *address,
            service: Arc::clone(service),
            port: *port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_backends_at_an_address_are_found_and_no_others() {
        let key = |service: &str, address: &str, port| BackendKey {
            service: service.into(),
            address: address.parse().unwrap(),
            port,
        };
        let keys = [
            key("a", "10.0.0.1", None),
            key("b", "10.0.0.1", Some(80)),
            key("b", "10.0.0.1", Some(81)),
        ];
        let others = [key("a", "10.0.0.0", Some(80)), key("a", "10.0.0.2", None)];
        let mut addresses = Addresses::default();
        keys.iter()
            .chain(&others)
            .for_each(|key| addresses.insert(key));
        let address = keys[0].address;
        assert_eq!(addresses.at(address).collect::<Vec<_>>(), keys);
        keys.iter().for_each(|key| addresses.remove(key));
        assert!(!addresses.contains(address));
        assert!(addresses.contains(others[0].address));
    }
}

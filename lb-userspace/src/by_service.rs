//! Maps by backends, a service at a time: keys begin with the service's name.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    sync::Arc,
};

use crate::model::BackendKey;

/// Takes out what a map has of some services' backends.
pub(crate) fn take<T>(
    map: &mut BTreeMap<BackendKey, T>,
    services: &BTreeSet<Arc<str>>,
) -> BTreeMap<BackendKey, T> {
    let mut taken = BTreeMap::new();
    for service in services {
        taken.extend(map.extract_if(range(service), |_, _| true));
    }
    taken
}

/// From the first to the last backend that a service could have.
fn range(service: &Arc<str>) -> RangeInclusive<BackendKey> {
    let key = |address, port| BackendKey {
        service: Arc::clone(service),
        address,
        port,
    };
    let first = key(Ipv4Addr::UNSPECIFIED.into(), None);
    first..=key(Ipv6Addr::from_bits(u128::MAX).into(), Some(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_services_is_taken_and_nothing_else() {
        let keys = |service: &str| {
            ["0.0.0.0", "255.255.255.255", "::", "ffff::ffff"].map(|address| BackendKey {
                service: service.into(),
                address: address.parse().unwrap(),
                port: Some(80),
            })
        };
        let all = ["a", "b", "bb", "c"].iter().flat_map(|name| keys(name));
        let mut map: BTreeMap<BackendKey, ()> = all.map(|key| (key, ())).collect();
        let taken = take(&mut map, &["b".into(), "d".into()].into());
        assert!(taken.into_keys().eq(keys("b")));
        let left = ["a", "bb", "c"].iter().flat_map(|name| keys(name));
        assert!(map.into_keys().eq(left));
    }
}

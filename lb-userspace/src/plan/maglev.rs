//! The Maglev table (Eisenbud et al., NSDI'16, section 3.4), weighted.
//!
//! Every backend has a permutation of the slots, from the hash of its address and port. They take
//! turns; at a turn a backend claims the next slot of its permutation that is still free. A backend
//! of weight w has w turns while the heaviest one, of weight W, has W. So the table is a function of
//! the set of backends, the weights, the size and the key; not of order, time or host.

use std::{collections::BTreeMap, net::IpAddr};

use super::{endpoint::Endpoint, seed::TableKey};

const FREE: u32 = u32::MAX;

/// Fills `size` slots: for each the position, in the order of `weights`, of the backend that owns it.
/// Empty where no weight is above zero. Sizes that are not prime work, with a poorer permutation.
///
/// The number of slots of a backend is within one of its weight's share of the turns, and within
/// two of its share of the table; a share below one slot may get none.
pub fn table(weights: &BTreeMap<Endpoint, u16>, size: u32, key: TableKey) -> Vec<u32> {
    let mut claimants: Vec<Claimant> = (0_u32..)
        .zip(weights)
        .filter(|(_, (_, weight))| **weight > 0)
        .map(|(position, (endpoint, weight))| {
            Claimant::new(position, *endpoint, *weight, size, key)
        })
        .collect();
    let Some(heaviest) = claimants.iter().map(|c| c.weight).max() else {
        return Vec::new();
    };

    let mut slots = vec![FREE; size as usize];
    let mut left = size;
    while left > 0 {
        for claimant in &mut claimants {
            if claimant.has_turn(heaviest) && left > 0 {
                claimant.claim(&mut slots);
                left -= 1;
            }
        }
    }
    slots
}

/// A backend on its way through its permutation.
struct Claimant {
    position: u32,
    weight: u32,
    /// Turns earned and not taken, in parts of the heaviest weight.
    credit: u32,
    /// The next slot of the permutation.
    next: u32,
    /// From one slot of the permutation to the next, modulo the size.
    skip: u32,
    /// `size - skip`: stepping forward by `skip` or back by this is the same modulo the size.
    back: u32,
}

impl Claimant {
    fn new(position: u32, endpoint: Endpoint, weight: u16, size: u32, key: TableKey) -> Self {
        let hash = key.hash(&hashed_bytes(endpoint));
        let skip = coprime(1 + reduce(hash.h2, size.saturating_sub(1)), size);
        Self {
            position,
            weight: u32::from(weight),
            credit: 0,
            next: reduce(hash.h1, size),
            skip,
            back: size.saturating_sub(skip),
        }
    }

    fn has_turn(&mut self, heaviest: u32) -> bool {
        self.credit += self.weight;
        let turn = self.credit >= heaviest;
        if turn {
            self.credit -= heaviest;
        }
        turn
    }

    /// Claims the next free slot. One must be left: the permutation reaches every slot.
    fn claim(&mut self, slots: &mut [u32]) {
        loop {
            let slot = &mut slots[self.next as usize];
            self.next = if self.next >= self.back {
                self.next - self.back
            } else {
                self.next + self.skip
            };
            if *slot == FREE {
                *slot = self.position;
                return;
            }
        }
    }
}

/// Family, address and port in network order: no two endpoints have the same bytes.
fn hashed_bytes(endpoint: Endpoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(19);
    match endpoint.address {
        IpAddr::V4(address) => {
            bytes.push(4);
            bytes.extend(address.octets());
        }
        IpAddr::V6(address) => {
            bytes.push(6);
            bytes.extend(address.octets());
        }
    }
    bytes.extend(endpoint.port.unwrap_or(0).to_be_bytes());
    bytes
}

/// `hash` modulo `bound`; 0 for a bound of 0.
fn reduce(hash: u64, bound: u32) -> u32 {
    let reduced = hash.checked_rem(u64::from(bound)).unwrap_or(0);
    u32::try_from(reduced).unwrap_or(0)
}

/// The first step from `skip` on that reaches every slot; `skip` itself where `size` is prime.
fn coprime(mut skip: u32, size: u32) -> u32 {
    while gcd(skip, size) > 1 {
        skip = skip % (size - 1) + 1;
    }
    skip
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::plan::seed::Seed;

    fn key() -> TableKey {
        Seed::derive(Some("test")).table
    }

    fn endpoint(number: u32) -> Endpoint {
        Endpoint {
            address: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)),
            port: Some(80),
        }
    }

    fn equal(count: u32) -> BTreeMap<Endpoint, u16> {
        (0..count).map(|n| (endpoint(n), 1)).collect()
    }

    fn owners(weights: &BTreeMap<Endpoint, u16>, size: u32) -> Vec<Endpoint> {
        let endpoints: Vec<Endpoint> = weights.keys().copied().collect();
        table(weights, size, key())
            .into_iter()
            .map(|position| endpoints[position as usize])
            .collect()
    }

    fn counts(weights: &BTreeMap<Endpoint, u16>, size: u32) -> BTreeMap<Endpoint, u32> {
        let mut counts = BTreeMap::new();
        for owner in owners(weights, size) {
            *counts.entry(owner).or_default() += 1;
        }
        counts
    }

    /// The table is from an independent implementation.
    #[test]
    fn the_table_never_changes_over_versions() {
        let weights = BTreeMap::from([(endpoint(1), 1), (endpoint(2), 2), (endpoint(3), 1)]);
        let golden = [1, 1, 1, 2, 0, 2, 1, 2, 2, 1, 0, 0, 0, 1, 1, 1, 1];
        assert_eq!(table(&weights, 17, key()), golden);
    }

    #[test]
    fn no_backend_or_no_weight_gives_no_table() {
        assert!(table(&BTreeMap::new(), 31, key()).is_empty());
        assert!(table(&BTreeMap::from([(endpoint(1), 0)]), 31, key()).is_empty());
        assert!(table(&equal(2), 0, key()).is_empty());
    }

    #[test]
    fn a_single_backend_owns_everything() {
        for size in [1, 2, 31, 16_381] {
            assert_eq!(table(&equal(1), size, key()), vec![0; size as usize]);
        }
    }

    #[test]
    fn a_weight_of_zero_gets_none_and_changes_nothing() {
        let mut weights = equal(5);
        let without = owners(&weights, 1009);
        weights.insert(endpoint(100), 0);
        assert_eq!(owners(&weights, 1009), without);
    }

    #[test]
    fn shares_are_equal_within_one_per_cent() {
        for (backends, size) in [(100, 16_381), (100, 65_537), (7, 1009), (3, 16_381)] {
            let counts = counts(&equal(backends), size);
            let (least, most) = (counts.values().min(), counts.values().max());
            // Equal weights take turns one by one: a slot apart at most, and a slot is below 1 %.
            assert_eq!(counts.len(), backends as usize);
            assert!(most.unwrap() - least.unwrap() <= 1, "{least:?}..{most:?}");
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let weights: BTreeMap<_, _> = (1..=20_u16)
            .map(|n| (endpoint(u32::from(n)), n * 12))
            .collect();
        let total: u32 = weights.values().map(|w| u32::from(*w)).sum();
        for (endpoint, count) in counts(&weights, 16_381) {
            let share = 16_381.0 * f64::from(weights[&endpoint]) / f64::from(total);
            assert!(
                (f64::from(count) - share).abs() <= 2.0,
                "{count} for {share}"
            );
        }
    }

    /// Slots that moved though their owner stayed, when one backend is removed.
    fn needlessly_moved(backends: u32, size: u32, removed: u32) -> usize {
        let mut weights = equal(backends);
        let before = owners(&weights, size);
        weights.remove(&endpoint(removed));
        let after = owners(&weights, size);
        before
            .iter()
            .zip(&after)
            .filter(|(before, after)| **before != endpoint(removed) && before != after)
            .count()
    }

    #[test]
    fn removing_a_backend_moves_few_slots_of_the_others() {
        for removed in [0, 1, 17, 50, 98, 99] {
            let moved = needlessly_moved(100, 65_537, removed);
            assert!(moved <= 655, "{removed}: {moved} of 65,537");
            let moved = needlessly_moved(100, 16_381, removed);
            assert!(moved <= 327, "{removed}: {moved} of 16,381");
        }
    }

    #[test]
    fn another_key_gives_another_table() {
        let other = Seed::derive(Some("other")).table;
        let (a, b) = (
            table(&equal(10), 1009, key()),
            table(&equal(10), 1009, other),
        );
        let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
        assert!(same < 200, "{same} of 1009 slots agree; 101 expected");
    }

    proptest! {
        #[test]
        fn every_slot_is_owned_in_any_table(
            weights in proptest::collection::btree_map(0_u32..1000, 0_u16..=256, 1..40),
            size in 1_u32..500,
        ) {
            let weights: BTreeMap<_, _> =
                weights.into_iter().map(|(n, weight)| (endpoint(n), weight)).collect();
            let weighted = weights.values().filter(|w| **w > 0).count();
            let table = table(&weights, size, key());
            prop_assert_eq!(table.len(), if weighted == 0 { 0 } else { size as usize });
            let weights: Vec<u16> = weights.into_values().collect();
            for position in table {
                prop_assert!(weights[position as usize] > 0);
            }
        }
    }
}

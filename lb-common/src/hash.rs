//! The flow hash: keyed, the same on every load balancer that shares the seed, and in tests.
//!
//! It is a keyed mixer (two multiply-xorshift rounds of the `SplitMix64` finaliser, Steele, Lea and
//! Flood, OOPSLA'14, variant 13), not a cryptographic hash: whoever knows the seed can aim at one
//! backend, whoever does not cannot tell flows apart by more than chance.
//!
//! The key comes last where it can, since it is known last: the program mixes what it has while it still
//! looks for the service. For IPv4 the first round is a permutation of both addresses, so that it needs no key:
//! flows that are equal after it are pairs by chance, too few to fill a backend with. IPv6 has addresses
//! enough to choose such flows, so there the first round is keyed, too.

use crate::{
    endian::{Be32, Be128},
    tuple::FlowTuple,
};

/// Derived from the configured seed; see the daemon's `seed` module.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKey {
    /// Added before the last round; for IPv6 mixed into the addresses.
    pub k0: u64,
    /// Mixed in before the last round.
    pub k1: u64,
}

/// 64 hash bits of a flow, used as two independent 32-bit hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHash(u64);

impl FlowHash {
    /// Hashes an IPv4 5-tuple.
    #[inline(always)]
    pub const fn ipv4(key: HashKey, flow: FlowTuple<Be32>) -> Self {
        let addresses = flow.source.raw() as u64 | (flow.destination.raw() as u64) << 32;
        let unkeyed = mix(addresses).wrapping_add(flow.rest());
        Self(mix(unkeyed.wrapping_add(key.k0) ^ key.k1))
    }

    /// Hashes an IPv6 5-tuple. The four halves of the addresses are mixed beside each other, not one
    /// after the other, each with a key of its own.
    #[inline(always)]
    pub const fn ipv6(key: HashKey, flow: FlowTuple<Be128>) -> Self {
        let ((a, b), (c, d)) = (flow.source.raw(), flow.destination.raw());
        let addresses = mix(a ^ key.k0)
            .wrapping_add(mix(b ^ key.k1.rotate_left(16)))
            .wrapping_add(mix(c ^ key.k0.rotate_left(32)))
            .wrapping_add(mix(d ^ key.k1.rotate_left(48)));
        Self(mix(addresses.wrapping_add(flow.rest()) ^ key.k1))
    }

    /// Hashes an IPv4 source address, cut by a mask: all flows of a client go to one backend.
    #[inline(always)]
    pub const fn source_ipv4(key: HashKey, masked: Be32) -> Self {
        Self(mix(mix(masked.raw() as u64 ^ key.k0) ^ key.k1))
    }

    /// Hashes an IPv6 source address, cut by a mask.
    #[inline(always)]
    pub const fn source_ipv6(key: HashKey, masked: Be128) -> Self {
        let (a, b) = masked.raw();
        let address = mix(a ^ key.k0).wrapping_add(mix(b ^ key.k1.rotate_left(16)));
        Self(mix(address ^ key.k1))
    }

    /// The first hash: chooses the slot.
    #[inline(always)]
    pub const fn primary(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The second hash: admission under slow start, source entropy of tunnels.
    #[inline(always)]
    pub const fn secondary(self) -> u32 {
        self.0 as u32
    }

    /// The slot in a table of `size` slots: `(hash32 x size) >> 32`, no division.
    #[inline(always)]
    pub const fn slot(self, size: u32) -> u32 {
        ((self.primary() as u64 * size as u64) >> 32) as u32
    }
}

#[inline(always)]
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endian::Be16;

    const KEY: HashKey = HashKey {
        k0: 0x0123_4567_89ab_cdef,
        k1: 0xfedc_ba98_7654_3210,
    };

    fn hash_v6(source: u128, source_port: u16) -> FlowHash {
        let flow = FlowTuple {
            source: core::net::Ipv6Addr::from(source).into(),
            destination: core::net::Ipv6Addr::from(0xfd77_u128 << 112 | 0x80).into(),
            source_port: Be16::new(source_port),
            destination_port: Be16::new(80),
            protocol: 6,
        };
        FlowHash::ipv6(KEY, flow)
    }

    fn evenly(hashes: impl Iterator<Item = FlowHash>) {
        const SLOTS: u32 = 61;
        let mut counts = [0_u32; SLOTS as usize];
        for hash in hashes {
            counts[hash.slot(SLOTS) as usize] += 1;
        }
        // 1000 expected each, standard deviation 31: five of them either way.
        for (slot, count) in counts.iter().enumerate() {
            assert!((840..=1160).contains(count), "slot {slot} got {count}");
        }
    }

    #[test]
    fn ipv6_flows_spread_evenly_whatever_part_of_them_varies() {
        let base = 0x2001_0db8_u128 << 96;
        evenly((1..=61_000).map(|port| hash_v6(base, port)));
        evenly((0..61_000).map(|host| hash_v6(base | host, 1024)));
        evenly((0..61_000).map(|net| hash_v6(base | net << 64, 1024)));
    }

    #[test]
    fn source_addresses_spread_evenly() {
        evenly((0..61_000).map(|n| FlowHash::source_ipv4(KEY, Be32::new(0x0a00_0000 + n))));
        evenly((0..61_000_u128).map(|n| {
            let source = core::net::Ipv6Addr::from(0x2001_0db8_u128 << 96 | n << 64);
            FlowHash::source_ipv6(KEY, source.into())
        }));
    }

    fn hash(key: HashKey, source_port: u16) -> FlowHash {
        let flow = FlowTuple {
            source: Be32::new(0x0a4d_010a),
            destination: Be32::new(0x0a4d_0050),
            source_port: Be16::new(source_port),
            destination_port: Be16::new(80),
            protocol: 6,
        };
        FlowHash::ipv4(key, flow)
    }

    #[test]
    fn neighbouring_ports_spread_evenly_over_the_slots() {
        evenly((1..=61_000).map(|port| hash(KEY, port)));
    }

    #[test]
    fn the_key_decides_where_a_flow_goes() {
        let other = HashKey {
            k0: KEY.k0,
            k1: KEY.k1 ^ 1,
        };
        let same = (0..10_000)
            .filter(|port| hash(KEY, *port).slot(1009) == hash(other, *port).slot(1009))
            .count();
        assert!(
            same < 40,
            "{same} of 10,000 flows kept their slot under another key"
        );
    }

    #[test]
    fn the_slot_is_always_inside_the_table() {
        for size in [1, 2, 16_381, 65_537, u32::MAX] {
            for port in 0..=u16::MAX {
                assert!(hash(KEY, port).slot(size) < size);
            }
        }
    }
}

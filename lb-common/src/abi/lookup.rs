//! Look-up tables that need no call into the kernel: arrays of rows, each with four keys and their values. A
//! key stands in one of two rows that its hash names, so whoever looks for it reads two rows at most.
//!
//! Two choices of buckets of four: Dietzfelbinger and Weidling, "Balanced allocation and dictionaries with
//! tightly packed constant size bins" (2007). Such a table could be filled to 97 %; ours have a row for each
//! entry, so that nearly every key stands in its first row.
//!
//! The daemon writes, the program reads meanwhile. **Invariant:** the last word of a key is written last
//! when it comes and is zeroed first when it goes, and its place is not used again before a barrier has
//! passed. A reader that compares the last word first has then read the value of its key or finds none: the
//! loads of x86-64 keep their order.

use super::{
    reply::{ReplyV4, ReplyV6},
    vip::{Vip, VipKeyV4, VipKeyV6},
};

/// Keys of a row.
pub const KEYS_PER_ROW: usize = 4;

/// A row of a table.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<K, V> {
    /// The keys; one whose last word is zero stands for nothing.
    pub keys: [K; KEYS_PER_ROW],
    /// Their values.
    pub values: [V; KEYS_PER_ROW],
}

/// The two rows where a key may stand; the same one twice, at times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Where it stands as long as there is room.
    pub first: u32,
    /// Where it stands else.
    pub second: u32,
}

/// A key of such a table: whole words, of which the last one is never zero.
pub trait LookupKey: Copy {
    /// The same hash in every program and daemon. Not keyed: nobody but the configuration chooses what is in
    /// a table, and whoever looks for something else reads two rows whatever it is.
    fn hash(&self) -> u64;

    /// Whether it is what stands at a place.
    ///
    /// # Safety
    /// The place is inside a row; its words may be written meanwhile, each as one.
    unsafe fn is_at(&self, place: *const Self) -> bool;
}

impl Places {
    /// Those of a hash in a table of `rows`.
    #[inline(always)]
    pub const fn of(hash: u64, rows: u32) -> Self {
        let rows = rows as u64;
        Self {
            first: (((hash >> 32) * rows) >> 32) as u32,
            second: (((hash & 0xffff_ffff) * rows) >> 32) as u32,
        }
    }
}

impl LookupKey for VipKeyV4 {
    #[inline(always)]
    fn hash(&self) -> u64 {
        finish(spread(self.word(), ODD[0]))
    }

    #[inline(always)]
    unsafe fn is_at(&self, place: *const Self) -> bool {
        // SAFETY: the key is one word, and aligned like one.
        unsafe { place.cast::<u64>().read_volatile() == self.word() }
    }
}

impl LookupKey for VipKeyV6 {
    #[inline(always)]
    fn hash(&self) -> u64 {
        let [a, b, c] = self.words();
        finish(
            spread(a, ODD[0])
                .wrapping_add(spread(b, ODD[1]))
                .wrapping_add(spread(c, ODD[2])),
        )
    }

    #[inline(always)]
    unsafe fn is_at(&self, place: *const Self) -> bool {
        let [a, b, c] = self.words();
        let word = place.cast::<u64>();
        // SAFETY: the key is three words, and aligned like them.
        unsafe {
            word.add(2).read_volatile() == c
                && word.add(1).read_volatile() == b
                && word.read_volatile() == a
        }
    }
}

/// Odd numbers without a pattern: the fractional parts of the square roots of 2, 3 and 5.
const ODD: [u64; 3] = [
    0x6a09_e667_f3bc_c909,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
];

/// Multiplication carries upwards only, and the last bytes of an address stand highest in its word.
#[inline(always)]
const fn spread(word: u64, odd: u64) -> u64 {
    (word ^ word >> 32).wrapping_mul(odd)
}

/// Brings what the high half has gathered to both halves.
#[inline(always)]
const fn finish(sum: u64) -> u64 {
    (sum ^ sum >> 32).wrapping_mul(0x9fb2_1c65_1e98_df25)
}

/// The read-only global `ROWS`: how many rows each table has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Of `VIPS_IPV4`.
    pub vips_ipv4: u32,
    /// Of `VIPS_IPV6`.
    pub vips_ipv6: u32,
    /// Of `REPLIES_IPV4`.
    pub replies_ipv4: u32,
    /// Of `REPLIES_IPV6`.
    pub replies_ipv6: u32,
}

const _: () = assert!(size_of::<Rows>() == 16);
const _: () = assert!(size_of::<Row<VipKeyV4, Vip>>() == 64);
const _: () = assert!(size_of::<Row<VipKeyV6, Vip>>() == 128);
const _: () = assert!(size_of::<Row<VipKeyV4, ReplyV4>>() == 96);
const _: () = assert!(size_of::<Row<VipKeyV6, ReplyV6>>() == 224);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::endian::{Be16, Be32, Be128};

    /// How many of the rows have so many keys that chose them first or second.
    fn crowds(
        hashes: impl Iterator<Item = u64>,
        rows: u32,
    ) -> (BTreeMap<u32, u32>, BTreeMap<u32, u32>) {
        let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
        for hash in hashes {
            let places = Places::of(hash, rows);
            assert!(places.first < rows && places.second < rows);
            *first.entry(places.first).or_default() += 1;
            *second.entry(places.second).or_default() += 1;
        }
        (first, second)
    }

    /// With as many rows as keys, at random, 63 % of the rows have a key, 0.4 % have more than four, and
    /// nearly none more than eight.
    fn spreads(hashes: impl Iterator<Item = u64>, count: u32) {
        let (first, second) = crowds(hashes, count);
        for crowds in [first, second] {
            let used = crowds.len() as f64 / f64::from(count);
            assert!((0.60..0.66).contains(&used), "{used}");
            let crowded = crowds.values().filter(|keys| **keys > 4).count() as f64;
            assert!(crowded / f64::from(count) < 0.008, "{crowded}");
            assert!(crowds.values().all(|keys| *keys < 12));
        }
    }

    #[test]
    fn ipv4_keys_spread_whatever_part_of_them_varies() {
        let address = |n: u32| Be32::new(0x0a50_0001 + n);
        spreads(
            (0..8192).map(|n| VipKeyV4::new(address(n), Be16::new(80), 6).hash()),
            8192,
        );
        spreads(
            (0..8192).map(|n| VipKeyV4::new(address(0), Be16::new(n as u16), 6).hash()),
            8192,
        );
        spreads(
            (0..8192).map(|n| VipKeyV4::new(address(n << 16), Be16::new(443), 17).hash()),
            8192,
        );
        let both = |n: u32| VipKeyV4::new(address(n / 90), Be16::new((n % 90) as u16), 6);
        spreads((0..8192).map(|n| both(n).hash()), 8192);
    }

    #[test]
    fn ipv6_keys_spread_whatever_part_of_them_varies() {
        let address = |n: u128| Be128::from(core::net::Ipv6Addr::from(0xfd77_u128 << 112 | n));
        spreads(
            (0..8192).map(|n| VipKeyV6::new(address(n), Be16::new(80), 6).hash()),
            8192,
        );
        spreads(
            (0..8192).map(|n| VipKeyV6::new(address(n << 64), Be16::new(80), 6).hash()),
            8192,
        );
        spreads(
            (0..8192).map(|n| VipKeyV6::new(address(n << 40), Be16::new(80), 6).hash()),
            8192,
        );
        spreads(
            (0..8192_u16).map(|n| VipKeyV6::new(address(1), Be16::new(n), 17).hash()),
            8192,
        );
    }

    #[test]
    fn a_key_is_known_by_every_part_of_it() {
        let key = VipKeyV4::new(Be32::new(0x0a50_0001), Be16::new(80), 6);
        let (protocol, port) = (
            VipKeyV4 {
                protocol: 17,
                ..key
            },
            VipKeyV4 {
                port: Be16::new(81),
                ..key
            },
        );
        let address = VipKeyV4 {
            address: Be32::new(0x0a50_0002),
            ..key
        };
        // SAFETY: places of this function's own.
        unsafe {
            assert!(key.is_at(&raw const key));
            for other in [protocol, port, address, VipKeyV4::default()] {
                assert!(!key.is_at(&raw const other));
            }
        }
        let wide =
            |n: u128, port| VipKeyV6::new(core::net::Ipv6Addr::from(n).into(), Be16::new(port), 6);
        let key = wide(1 << 127 | 1, 80);
        // SAFETY: as above.
        unsafe {
            assert!(key.is_at(&raw const key));
            for other in [
                wide(1, 80),
                wide(1 << 127, 80),
                wide(1 << 127 | 1, 81),
                VipKeyV6::default(),
            ] {
                assert!(!key.is_at(&raw const other));
            }
        }
    }
}

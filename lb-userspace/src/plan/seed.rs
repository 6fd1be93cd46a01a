//! From the configured seed to the keys of the flow hash and of the table hash.
//!
//! Load balancers that share a seed must derive the same keys on every host and in every version:
//! SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, INDOCRYPT'12) under a fixed key,
//! over a tag that names the purpose, a zero byte, and the seed's bytes.

use std::hash::Hasher as _;

use lb_common::hash::HashKey;
use siphasher::sip128::{Hash128, Hasher128 as _, SipHasher24};

/// What stands for a seed where the configuration names none. It is public, so whoever reads this
/// can aim flows at one backend: the configuration warns.
pub const DEFAULT_SEED: &str = "sluice-default-seed";

/// The fixed key of the derivation: the ASCII bytes `sluice/seed-key1`, read as little-endian words.
const DERIVATION_KEY: (u64, u64) = (
    u64::from_le_bytes(*b"sluice/s"),
    u64::from_le_bytes(*b"eed-key1"),
);

const FLOW_TAG: &[u8] = b"flow-hash";
const TABLE_TAG: &[u8] = b"maglev-table";

/// The keys derived from a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Keys the flow hash, which chooses a flow's slot.
    pub flow: HashKey,
    /// Keys the table hash, which chooses a slot's backend.
    pub table: TableKey,
}

/// Keys the hash of a backend's address that orders its claims in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableKey {
    k0: u64,
    k1: u64,
}

impl Seed {
    /// Derives the keys; `None` stands for [`DEFAULT_SEED`].
    pub fn derive(configured: Option<&str>) -> Self {
        let seed = configured.unwrap_or(DEFAULT_SEED).as_bytes();
        let flow = tagged(FLOW_TAG, seed);
        let table = tagged(TABLE_TAG, seed);
        Self {
            flow: HashKey {
                k0: flow.h1,
                k1: flow.h2,
            },
            table: TableKey {
                k0: table.h1,
                k1: table.h2,
            },
        }
    }
}

impl TableKey {
    /// 128 hash bits of `bytes`.
    pub(super) fn hash(self, bytes: &[u8]) -> Hash128 {
        let mut hasher = SipHasher24::new_with_keys(self.k0, self.k1);
        hasher.write(bytes);
        hasher.finish128()
    }
}

fn tagged(tag: &[u8], seed: &[u8]) -> Hash128 {
    let mut hasher = SipHasher24::new_with_keys(DERIVATION_KEY.0, DERIVATION_KEY.1);
    hasher.write(tag);
    hasher.write(&[0]);
    hasher.write(seed);
    hasher.finish128()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are from an independent implementation of SipHash.
    #[test]
    fn the_keys_never_change() {
        let hex = |seed: Seed| {
            format!(
                "{:016x} {:016x} {:016x} {:016x}",
                seed.flow.k0, seed.flow.k1, seed.table.k0, seed.table.k1
            )
        };
        assert_eq!(
            hex(Seed::derive(None)),
            "f2b7c150991220bd ffe20142c10242a9 cbbf86974219a44e 5b2398345b80ca30"
        );
        assert_eq!(
            hex(Seed::derive(Some(""))),
            "a973810a38129bde e16b209aab9ff918 c6ec2483b213b099 d3d60a4d49b0a21c"
        );
        assert_eq!(
            hex(Seed::derive(Some("correct horse"))),
            "74903243596bc42f e17eb70e947baace 4c905ffe77219620 9e155818ba70b1b6"
        );
    }

    #[test]
    fn a_missing_seed_is_the_default_one() {
        assert_eq!(Seed::derive(None), Seed::derive(Some(DEFAULT_SEED)));
    }

    #[test]
    fn flow_and_table_have_keys_of_their_own() {
        let seed = Seed::derive(Some("x"));
        assert_ne!((seed.flow.k0, seed.flow.k1), (seed.table.k0, seed.table.k1));
    }
}

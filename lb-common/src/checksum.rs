//! Checksums that change by their difference (RFC 1624, equation 3): `HC' = ~(~HC + ~m + m')`.
//!
//! One's complement sums do not depend on byte order (RFC 1071, section 2 (B)), so everything here
//! works on the bytes as they stand in the packet, without swapping.

use crate::endian::{Be16, Be32, Be128};

/// What a set of replaced fields adds to a checksum: the sum of all `~m + m'`, not yet folded.
///
/// Holds at least a thousand replaced fields before it could overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u32);

impl Delta {
    /// Nothing was replaced.
    pub const NONE: Self = Self(0);

    /// A 16-bit field came to those that are summed up.
    #[inline(always)]
    #[must_use]
    pub const fn add16(self, new: Be16) -> Self {
        Self(self.0 + new.raw() as u32)
    }

    /// A 32-bit field came to those that are summed up.
    #[inline(always)]
    #[must_use]
    pub const fn add32(self, new: Be32) -> Self {
        Self(self.0 + (new.raw() & 0xffff) + (new.raw() >> 16))
    }

    /// A 16-bit field was replaced.
    #[inline(always)]
    #[must_use]
    pub const fn replace16(self, old: Be16, new: Be16) -> Self {
        Self(self.0 + (!old.raw()) as u32 + new.raw() as u32)
    }

    /// A 32-bit field was replaced.
    #[inline(always)]
    #[must_use]
    pub const fn replace32(self, old: Be32, new: Be32) -> Self {
        let (old, new) = (!old.raw(), new.raw());
        Self(self.0 + (old & 0xffff) + (old >> 16) + (new & 0xffff) + (new >> 16))
    }

    /// A 128-bit field was replaced.
    #[inline(always)]
    #[must_use]
    pub const fn replace128(self, old: Be128, new: Be128) -> Self {
        let ((a, b), (c, d)) = (old.raw(), new.raw());
        let sum = halves(!a) + halves(!b) + halves(c) + halves(d);
        // At most 35 bits: folded to 33, then to 17, a difference like that of two 16-bit fields.
        let sum = halves(sum);
        Self(self.0 + ((sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32)) as u32)
    }

    /// The checksum after the replacement. That of nothing yet is 0xffff.
    #[inline(always)]
    #[must_use]
    pub const fn apply(self, checksum: Be16) -> Be16 {
        let mut sum = self.0 + (!checksum.raw()) as u32;
        // Two folds are enough: the first leaves at most 0x1fffe.
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        Be16::from_bytes((!(sum as u16)).to_ne_bytes())
    }
}

/// The sum of a word's halves.
#[inline(always)]
const fn halves(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The Internet checksum in full (RFC 1071), as the witness.
    fn full(bytes: &[u8]) -> [u8; 2] {
        let mut sum: u32 = bytes
            .chunks(2)
            .map(|c| u32::from(u16::from_be_bytes([c[0], c[1]])))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    proptest! {
        #[test]
        fn a_difference_equals_a_full_sum(mut bytes in proptest::collection::vec(any::<u8>(), 40..=40),
                                          port in any::<u16>(), address in any::<u32>()) {
            // A header whose words are all zero is not a packet, and the one case with two zeros.
            bytes[0] = 0x45;
            let before = Be16::from_bytes(full(&bytes));
            let delta = Delta::NONE
                .replace16(Be16::from_bytes([bytes[20], bytes[21]]), Be16::new(port))
                .replace32(Be32::from_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]), Be32::new(address));
            bytes[20..22].copy_from_slice(&port.to_be_bytes());
            bytes[16..20].copy_from_slice(&address.to_be_bytes());
            prop_assert_eq!(delta.apply(before).to_bytes(), full(&bytes));
        }

        #[test]
        fn a_long_difference_equals_a_full_sum(mut bytes in any::<[u8; 40]>(), address in any::<u128>()) {
            bytes[0] = 0x60;
            let halves = |bytes: &[u8]| {
                let half = |at: usize| bytes[at..at + 8].try_into().unwrap();
                Be128::from_halves(half(0), half(8))
            };
            let before = Be16::from_bytes(full(&bytes));
            let delta = Delta::NONE.replace128(halves(&bytes[24..]), halves(&address.to_be_bytes()));
            bytes[24..].copy_from_slice(&address.to_be_bytes());
            prop_assert_eq!(delta.apply(before).to_bytes(), full(&bytes));
        }
    }
}

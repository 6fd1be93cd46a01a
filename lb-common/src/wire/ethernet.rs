//! Ethernet II. Addresses are kept as integers: copying them as arrays becomes a call to a
//! byte-by-byte copy on the BPF target.

use super::{Header, link::EtherType};
use crate::abi::backend::NextHop;

/// An Ethernet header as it stands in a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination (6 bytes) and the first 2 bytes of the source.
    head: [u8; 8],
    /// The last 4 bytes of the source.
    tail: [u8; 4],
    /// What follows.
    pub ether_type: EtherType,
}

// SAFETY: bytes only.
unsafe impl Header for Ethernet {}

impl Ethernet {
    /// Bytes of the header.
    pub const LENGTH: usize = 14;

    /// Writes both addresses, given as in [`NextHop::mac`].
    #[inline(always)]
    pub const fn set_addresses(&mut self, destination: u64, source: u64) {
        self.head = (destination | source << 48).to_le_bytes();
        self.tail = ((source >> 16) as u32).to_le_bytes();
    }

    /// Destination address, as in [`NextHop::mac`].
    #[inline(always)]
    pub const fn destination(&self) -> u64 {
        NextHop(u64::from_le_bytes(self.head)).mac()
    }

    /// Source address, as in [`NextHop::mac`].
    #[inline(always)]
    pub const fn source(&self) -> u64 {
        u64::from_le_bytes(self.head) >> 48 | (u32::from_le_bytes(self.tail) as u64) << 16
    }
}

const _: () = assert!(size_of::<Ethernet>() == Ethernet::LENGTH);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Cursor;

    #[test]
    fn addresses_are_written_where_the_standard_has_them() {
        let mut frame = [0_u8; 14];
        frame[12] = 8;
        let header = Cursor::new(&mut frame).read::<Ethernet>().unwrap();
        assert_eq!(header.ether_type, EtherType::IPV4);
        let (to, from) = ([2, 3, 4, 5, 6, 7], [0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7]);
        header.set_addresses(NextHop::new(to, 0).mac(), NextHop::new(from, 0).mac());
        assert_eq!(header.destination(), NextHop::new(to, 0).mac());
        assert_eq!(header.source(), NextHop::new(from, 0).mac());
        assert_eq!(frame[..6], to);
        assert_eq!(frame[6..12], from);
    }
}

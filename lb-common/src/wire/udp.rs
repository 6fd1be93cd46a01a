//! UDP (RFC 768).

use super::Header;
use crate::{checksum::Delta, endian::Be16};

/// A UDP header as it stands in a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Udp {
    source_port: [u8; 2],
    destination_port: [u8; 2],
    length: [u8; 2],
    checksum: [u8; 2],
}

// SAFETY: bytes only.
unsafe impl Header for Udp {}

impl Udp {
    /// Bytes of the header.
    pub const LENGTH: u16 = 8;

    /// Source port.
    #[inline(always)]
    pub const fn source_port(&self) -> Be16 {
        Be16::from_bytes(self.source_port)
    }

    /// Destination port.
    #[inline(always)]
    pub const fn destination_port(&self) -> Be16 {
        Be16::from_bytes(self.destination_port)
    }

    /// Bytes of header and payload as the header claims.
    #[inline(always)]
    pub const fn length(&self) -> u16 {
        Be16::from_bytes(self.length).get()
    }

    /// Replaces the source port; `address` is what the pseudo-header's address became.
    #[inline(always)]
    pub const fn rewrite_source(&mut self, port: Be16, address: Delta) {
        self.mend(address.replace16(self.source_port(), port));
        self.source_port = port.to_bytes();
    }

    /// Replaces the destination port; `address` is what the pseudo-header's address became.
    #[inline(always)]
    pub const fn rewrite_destination(&mut self, port: Be16, address: Delta) {
        self.mend(address.replace16(self.destination_port(), port));
        self.destination_port = port.to_bytes();
    }

    /// Zero means that the sender computed no checksum, and stays; a checksum that comes out as zero
    /// is sent as all ones.
    #[inline(always)]
    const fn mend(&mut self, delta: Delta) {
        let checksum = Be16::from_bytes(self.checksum);
        if checksum.raw() != 0 {
            let mended = delta.apply(checksum);
            self.checksum = if mended.raw() == 0 {
                [0xff; 2]
            } else {
                mended.to_bytes()
            };
        }
    }
}

const _: () = assert!(size_of::<Udp>() == Udp::LENGTH as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum_after(before: [u8; 2], old_port: u16, new_port: u16) -> [u8; 2] {
        let mut header = Udp {
            destination_port: old_port.to_be_bytes(),
            checksum: before,
            ..Udp::default()
        };
        header.rewrite_destination(Be16::new(new_port), Delta::NONE);
        header.checksum
    }

    #[test]
    fn no_checksum_stays_no_checksum() {
        assert_eq!(checksum_after([0, 0], 53, 5353), [0, 0]);
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        // 0x0001 with a port larger by one: comes out as zero.
        assert_eq!(checksum_after([0, 1], 53, 54), [0xff, 0xff]);
        assert_eq!(checksum_after([0, 2], 53, 54), [0, 1]);
    }
}

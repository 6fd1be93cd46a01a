//! TCP (RFC 9293): ports and the flags that steering asks for.

use super::Header;
use crate::{checksum::Delta, endian::Be16};

/// A TCP header without options, as it stands in a packet.
///
/// Our own layout: in network-types the flags are bit fields, read through indexing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    source_port: [u8; 2],
    destination_port: [u8; 2],
    sequence: [u8; 4],
    acknowledgment: [u8; 4],
    data_offset: u8,
    flags: Flags,
    window: [u8; 2],
    checksum: [u8; 2],
    urgent_pointer: [u8; 2],
}

/// The flags byte of a TCP header.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

// SAFETY: bytes only.
unsafe impl Header for Tcp {}

impl Flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;

    /// A client's first packet of a connection.
    #[inline(always)]
    pub const fn is_syn(self) -> bool {
        self.0 & (Self::SYN | Self::ACK) == Self::SYN
    }

    /// SYN together with FIN or RST: no stack sends that, scanners do.
    #[inline(always)]
    pub const fn is_impossible(self) -> bool {
        self.0 & Self::SYN != 0 && self.0 & (Self::FIN | Self::RST) != 0
    }
}

impl Tcp {
    /// Bytes of the header without options.
    pub const LENGTH: u16 = 20;

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

    /// The flags.
    #[inline(always)]
    pub const fn flags(&self) -> Flags {
        self.flags
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

    #[inline(always)]
    const fn mend(&mut self, delta: Delta) {
        self.checksum = delta.apply(Be16::from_bytes(self.checksum)).to_bytes();
    }
}

const _: () = assert!(size_of::<Tcp>() == Tcp::LENGTH as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_syn_opens_a_connection() {
        assert!(Flags(Flags::SYN).is_syn());
        assert!(
            Flags(Flags::SYN | 0xc0).is_syn(),
            "ECN setup SYN (RFC 3168)"
        );
        assert!(!Flags(Flags::SYN | Flags::ACK).is_syn());
        assert!(!Flags(Flags::ACK).is_syn());
        assert!(Flags(Flags::SYN | Flags::FIN).is_impossible());
        assert!(Flags(Flags::SYN | Flags::RST).is_impossible());
        assert!(!Flags(Flags::FIN | Flags::ACK).is_impossible());
    }
}

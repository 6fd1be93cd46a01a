//! TCP (RFC 9293): ports and the flags that steering asks for.

use super::{Header, ports::Ports};

/// A TCP header without options, as it stands in a packet.
///
/// Our own layout: in network-types the flags are bit fields, read through indexing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Both ports.
    pub ports: Ports,
    sequence: [u8; 4],
    acknowledgment: [u8; 4],
    data_offset: u8,
    /// The flags.
    pub flags: Flags,
    window: [u8; 2],
    /// The checksum, over a pseudo-header, too.
    pub checksum: [u8; 2],
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

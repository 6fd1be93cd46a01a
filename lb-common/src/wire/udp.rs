//! UDP (RFC 768).

use super::{Header, ports::Ports};
use crate::endian::Be16;

/// A UDP header as it stands in a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Udp {
    /// Both ports.
    pub ports: Ports,
    length: [u8; 2],
    /// The checksum, over a pseudo-header, too; zero: the sender computed none.
    pub checksum: [u8; 2],
}

// SAFETY: bytes only.
unsafe impl Header for Udp {}

impl Udp {
    /// Bytes of the header.
    pub const LENGTH: u16 = 8;

    /// Bytes of header and payload as the header claims.
    #[inline(always)]
    pub const fn length(&self) -> u16 {
        Be16::from_bytes(self.length).get()
    }
}

const _: () = assert!(size_of::<Udp>() == Udp::LENGTH as usize);

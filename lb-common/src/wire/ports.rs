//! The two ports that TCP and UDP headers begin with.

use crate::endian::Be16;

/// Source and destination port as they stand in a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    source: [u8; 2],
    destination: [u8; 2],
}

impl Ports {
    /// Source port.
    #[inline(always)]
    pub const fn source(&self) -> Be16 {
        Be16::from_bytes(self.source)
    }

    /// Destination port.
    #[inline(always)]
    pub const fn destination(&self) -> Be16 {
        Be16::from_bytes(self.destination)
    }

    /// Replaces the source port.
    #[inline(always)]
    pub const fn set_source(&mut self, port: Be16) {
        self.source = port.to_bytes();
    }

    /// Replaces the destination port.
    #[inline(always)]
    pub const fn set_destination(&mut self, port: Be16) {
        self.destination = port.to_bytes();
    }
}

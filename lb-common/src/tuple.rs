//! What tells one flow from another.

use crate::endian::Be16;

/// A flow as the client sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTuple<A> {
    /// Client address.
    pub source: A,
    /// VIP.
    pub destination: A,
    /// Client port.
    pub source_port: Be16,
    /// VIP port.
    pub destination_port: Be16,
    /// IANA protocol number.
    pub protocol: u8,
}

impl<A> FlowTuple<A> {
    /// Ports and protocol as one word.
    #[inline(always)]
    pub(crate) const fn rest(&self) -> u64 {
        self.source_port.raw() as u64
            | (self.destination_port.raw() as u64) << 16
            | (self.protocol as u64) << 32
    }
}

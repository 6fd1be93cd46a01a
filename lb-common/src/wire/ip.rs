//! What stages ask of an IP header, whichever its version.

use super::{Cursor, Header, packet::Unparsed};
use crate::checksum::Delta;

/// Where a packet stands among the fragments of its datagram.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Not fragmented.
    Whole,
    /// The first of several: has the transport header.
    First,
    /// A later one: has no transport header.
    Later,
}

/// What follows an IP header and its extensions. Whole words: smaller fields would be packed beside each
/// other, and be unpacked by loads that the verifier refuses.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    /// IANA protocol number.
    pub protocol: u32,
    /// Bytes, as the header claims; 16 bits.
    pub length: u32,
    /// The packet's place among the fragments.
    pub fragment: Fragment,
}

/// An IP header in place in its frame.
pub trait Ip: Header {
    /// An address.
    type Address: Copy + Eq;

    /// The protocol number by which an outer header announces this one.
    const PROTOCOL: u8;

    /// Reads the header and what stands between it and its payload.
    ///
    /// # Errors
    /// [`Unparsed::Malformed`] where lengths contradict each other or the frame.
    fn read<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a mut Self, Payload), Unparsed>;

    /// Source address.
    fn source(&self) -> Self::Address;
    /// Destination address.
    fn destination(&self) -> Self::Address;
    /// Replaces the source address, and no checksum.
    fn set_source(&mut self, address: Self::Address);
    /// Replaces the destination address, and no checksum.
    fn set_destination(&mut self, address: Self::Address);
    /// Bytes of the whole packet as the header claims; up to 65575.
    fn total_length(&self) -> u32;
    /// DSCP and ECN.
    fn traffic_class(&self) -> u8;
    /// Replaces DSCP and ECN, and mends the header checksum where there is one.
    fn set_traffic_class(&mut self, class: u8);
    /// Whether no host can have this source address, be it the destination itself.
    fn has_martian_source(&self) -> bool;
    /// Whether the time to live or hop limit allows no further hop.
    fn is_expiring(&self) -> bool;
    /// Decrements it; a header checksum also takes in `delta`.
    fn forward(&mut self, delta: Delta);
}

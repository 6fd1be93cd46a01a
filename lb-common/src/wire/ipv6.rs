//! IPv6 (RFC 8200), with the extension headers that may stand before TCP and UDP.

use super::{Cursor, Header, packet::Unparsed};
use crate::endian::{Be16, Be32, Be128};

/// An IPv6 header as it stands in a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ipv6 {
    /// Version, traffic class, flow label.
    first: [u8; 4],
    payload_length: [u8; 2],
    next_header: u8,
    hop_limit: u8,
    source: Halves,
    destination: Halves,
}

// SAFETY: bytes only.
unsafe impl Header for Ipv6 {}

/// An address as two words: arrays are copied byte by byte on the BPF target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Halves {
    first: [u8; 8],
    last: [u8; 8],
}

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: destination options.
pub const DESTINATION: u8 = 60;

impl Ipv6 {
    /// Bytes of the header.
    pub const LENGTH: u32 = 40;

    /// Reads the header alone; extension headers are left to the caller.
    ///
    /// # Errors
    /// [`Unparsed::Malformed`] where the frame ends in it, or its version is another.
    #[inline(always)]
    pub fn alone<'a>(cursor: &mut Cursor<'a>) -> Result<&'a mut Self, Unparsed> {
        let ip = cursor.read::<Self>()?;
        let [version, ..] = ip.first;
        if version >> 4 != 6 {
            return Err(Unparsed::Malformed);
        }
        Ok(ip)
    }

    /// The first word as it stands in the packet: version, traffic class, flow label.
    #[inline(always)]
    pub const fn first_word(&self) -> Be32 {
        Be32::from_bytes(self.first)
    }

    /// What follows: a protocol or an extension header.
    #[inline(always)]
    pub const fn next_header(&self) -> u8 {
        self.next_header
    }

    /// Bytes behind the header, as it claims.
    #[inline(always)]
    pub const fn payload_length(&self) -> u16 {
        Be16::from_bytes(self.payload_length).get()
    }

    /// Source address.
    #[inline(always)]
    pub const fn source(&self) -> Be128 {
        Be128::from_halves(self.source.first, self.source.last)
    }

    /// DSCP and ECN.
    #[inline(always)]
    pub const fn traffic_class(&self) -> u8 {
        (self.first_word().get() >> 20) as u8
    }

    /// Replaces DSCP and ECN.
    #[inline(always)]
    pub const fn set_traffic_class(&mut self, class: u8) {
        let word = self
            .first_word()
            .with_bits(0x0ff0_0000, (class as u32) << 20);
        self.first = word.to_bytes();
    }
}

const _: () = assert!(size_of::<Ipv6>() == Ipv6::LENGTH as usize);

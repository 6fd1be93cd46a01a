//! What stages ask of an IP header, whichever its version.

use network_types::ip::Ipv4Hdr;

use super::{
    Cursor, Header,
    ipv4::{Fragment, Ipv4},
    packet::Unparsed,
};
use crate::{
    checksum::Delta,
    endian::{Be16, Be32},
};

/// What follows an IP header and its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    /// IANA protocol number.
    pub protocol: u8,
    /// Bytes, as the header claims.
    pub length: u16,
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
    /// Bytes of the whole packet as the header claims; up to 65575.
    fn total_length(&self) -> u32;
    /// DSCP and ECN.
    fn traffic_class(&self) -> u8;
    /// Replaces DSCP and ECN, and mends a header checksum.
    fn set_traffic_class(&mut self, class: u8);
}

impl Ip for Ipv4Hdr {
    type Address = Be32;

    /// RFC 2003.
    const PROTOCOL: u8 = 4;

    #[inline(always)]
    fn read<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a mut Self, Payload), Unparsed> {
        let ip = cursor.read_sized(Ipv4Hdr::header_length)?;
        let total = Be16::from_bytes(ip.tot_len).get();
        let Some(length) = total.checked_sub(ip.header_length()) else {
            return Err(Unparsed::Malformed);
        };
        let payload = Payload {
            protocol: ip.proto,
            length,
            fragment: ip.fragment(),
        };
        Ok((ip, payload))
    }

    #[inline(always)]
    fn source(&self) -> Be32 {
        Be32::from_bytes(self.src_addr)
    }

    #[inline(always)]
    fn total_length(&self) -> u32 {
        Be16::from_bytes(self.tot_len).get() as u32
    }

    #[inline(always)]
    fn traffic_class(&self) -> u8 {
        self.tos
    }

    #[inline(always)]
    fn set_traffic_class(&mut self, class: u8) {
        // It is the low byte of a 16-bit word that it shares with version and header length.
        let before = Be16::from_bytes([self.vihl, self.tos]);
        self.tos = class;
        let after = Be16::from_bytes([self.vihl, self.tos]);
        self.check = Delta::NONE
            .replace16(before, after)
            .apply(Be16::from_bytes(self.check))
            .to_bytes();
    }
}

//! IPv4 (RFC 791): what of a header must hold before the rest of a packet is read.

use network_types::ip::Ipv4Hdr;

use super::{
    Cursor,
    cursor::Ahead,
    ip::{Fragment, Ip, Payload},
    packet::Unparsed,
};
use crate::{
    checksum::Delta,
    endian::{Be16, Be32},
};

/// More fragments follow.
const MORE_FRAGMENTS: u16 = 0x2000;
/// Offset of the fragment, in units of 8 bytes.
const FRAGMENT_OFFSET: u16 = 0x1fff;

impl Ip for Ipv4Hdr {
    type Address = Be32;

    /// RFC 2003.
    const PROTOCOL: u8 = 4;

    #[inline(always)]
    fn read<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a mut Self, Payload), Unparsed> {
        let ip = cursor.read::<Self>()?;
        let total = u32::from(Be16::from_bytes(ip.tot_len).get());
        // Version 4, and a length of 5 to 15 words of 4 bytes.
        let header = u32::from(ip.vihl) << 2 & 0x3c;
        let Some(options) = header.checked_sub(20) else {
            return Err(Unparsed::Malformed);
        };
        if ip.vihl >> 4 != 4 {
            return Err(Unparsed::Malformed);
        }
        cursor.advance(Ahead::by(options))?;
        let Some(length) = total.checked_sub(header) else {
            return Err(Unparsed::Malformed);
        };
        let payload = Payload {
            protocol: u32::from(ip.proto),
            length,
            fragment: fragment(ip),
        };
        Ok((ip, payload))
    }

    #[inline(always)]
    fn source(&self) -> Be32 {
        Be32::from_bytes(self.src_addr)
    }

    #[inline(always)]
    fn destination(&self) -> Be32 {
        Be32::from_bytes(self.dst_addr)
    }

    #[inline(always)]
    fn set_source(&mut self, address: Be32) {
        self.src_addr = address.to_bytes();
    }

    #[inline(always)]
    fn set_destination(&mut self, address: Be32) {
        self.dst_addr = address.to_bytes();
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
        // The low byte of a 16-bit word that it shares with version and header length.
        let before = Be16::from_bytes([self.vihl, self.tos]);
        self.tos = class;
        let after = Be16::from_bytes([self.vihl, self.tos]);
        self.check = Delta::NONE
            .replace16(before, after)
            .apply(Be16::from_bytes(self.check))
            .to_bytes();
    }

    /// This network (0/8), loopback (127/8), multicast and reserved (224/3, which has the broadcast
    /// address).
    #[inline(always)]
    fn has_martian_source(&self) -> bool {
        let [first, ..] = self.src_addr;
        matches!(first, 0 | 127 | 224..) || self.source() == self.destination()
    }

    #[inline(always)]
    fn is_expiring(&self) -> bool {
        self.ttl <= 1
    }

    #[inline(always)]
    fn forward(&mut self, delta: Delta) {
        // The time to live is the high byte of a 16-bit word that it shares with the protocol.
        let before = Be16::from_bytes([self.ttl, self.proto]);
        self.ttl = self.ttl.wrapping_sub(1);
        let after = Be16::from_bytes([self.ttl, self.proto]);
        self.check = delta
            .replace16(before, after)
            .apply(Be16::from_bytes(self.check))
            .to_bytes();
    }
}

#[inline(always)]
fn fragment(ip: &Ipv4Hdr) -> Fragment {
    let field = Be16::from_bytes(ip.frags).get();
    if field & (MORE_FRAGMENTS | FRAGMENT_OFFSET) == 0 {
        Fragment::Whole
    } else if field & FRAGMENT_OFFSET == 0 {
        Fragment::First
    } else {
        Fragment::Later
    }
}

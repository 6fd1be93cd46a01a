//! IPv4 (RFC 791): what of a header must hold before the rest of a packet is read.

use network_types::ip::{IpProto, Ipv4Hdr};

use crate::{
    checksum::Delta,
    endian::{Be16, Be32},
};

/// More fragments follow.
const MORE_FRAGMENTS: u16 = 0x2000;
/// Offset of the fragment, in units of 8 bytes.
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Where a packet stands among the fragments of its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Not fragmented.
    Whole,
    /// The first of several: has the transport header.
    First,
    /// A later one: has no transport header.
    Later,
}

/// Accessors that [`Ipv4Hdr`] gets here, in terms of this crate's types.
pub trait Ipv4 {
    /// Bytes of the header with its options; 0 for an impossible version or length.
    fn header_length(&self) -> u16;
    /// Bytes of the whole packet as the header claims.
    fn total_length(&self) -> u16;
    /// Whether TCP follows.
    fn is_tcp(&self) -> bool;
    /// Whether UDP follows.
    fn is_udp(&self) -> bool;
    /// Whether no host can have this source address: this network (0/8), loopback (127/8), multicast
    /// and reserved (224/3, which has the broadcast address), or the destination itself.
    fn has_martian_source(&self) -> bool;
    /// The packet's place among the fragments.
    fn fragment(&self) -> Fragment;
    /// Source address.
    fn source(&self) -> Be32;
    /// Destination address.
    fn destination(&self) -> Be32;
    /// Decrements the time to live and mends the header checksum, which also takes in `delta`.
    fn forward(&mut self, delta: Delta);
    /// Whether the time to live allows no further hop.
    fn is_expiring(&self) -> bool;
}

impl Ipv4 for Ipv4Hdr {
    #[inline(always)]
    fn header_length(&self) -> u16 {
        // Version 4, and a length of 5 to 15 words of 4 bytes.
        match self.vihl {
            vihl @ 0x45..=0x4f => (vihl & 0x0f) as u16 * 4,
            _ => 0,
        }
    }

    #[inline(always)]
    fn total_length(&self) -> u16 {
        Be16::from_bytes(self.tot_len).get()
    }

    #[inline(always)]
    fn is_tcp(&self) -> bool {
        self.proto == IpProto::Tcp as u8
    }

    #[inline(always)]
    fn is_udp(&self) -> bool {
        self.proto == IpProto::Udp as u8
    }

    #[inline(always)]
    fn has_martian_source(&self) -> bool {
        let [first, ..] = self.src_addr;
        matches!(first, 0 | 127 | 224..) || self.source() == self.destination()
    }

    #[inline(always)]
    fn fragment(&self) -> Fragment {
        let field = Be16::from_bytes(self.frags).get();
        if field & (MORE_FRAGMENTS | FRAGMENT_OFFSET) == 0 {
            Fragment::Whole
        } else if field & FRAGMENT_OFFSET == 0 {
            Fragment::First
        } else {
            Fragment::Later
        }
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

    #[inline(always)]
    fn is_expiring(&self) -> bool {
        self.ttl <= 1
    }
}

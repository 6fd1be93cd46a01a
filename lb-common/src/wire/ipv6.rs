//! IPv6 (RFC 8200), with the extension headers that may stand before TCP and UDP.

use super::{
    Cursor, Header,
    cursor::Ahead,
    ip::{Fragment, Ip, Payload},
    packet::Unparsed,
};
use crate::{
    checksum::Delta,
    endian::{Be16, Be32, Be128},
    verifier::forget,
};

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

/// What every extension header begins with.
#[repr(C)]
struct Extension {
    next_header: u8,
    /// Units of 8 bytes, the first not counted; reserved in a fragment header, which has 8 bytes.
    length: u8,
    /// In a fragment header (RFC 8200, section 4.5): offset in units of 8 bytes (13 bits), 2 reserved, 1:
    /// more fragments follow.
    offset: [u8; 2],
    rest: [u8; 4],
}

// SAFETY: bytes only.
unsafe impl Header for Extension {}

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u32 = 0;
/// Next header: routing.
pub const ROUTING: u32 = 43;
/// Next header: fragment.
pub const FRAGMENT: u32 = 44;
/// Next header: destination options.
pub const DESTINATION: u32 = 60;

/// Extension headers that are stepped over at most: as many as RFC 8200, section 4.1, has in a packet that
/// means well, less those of IPsec.
const EXTENSIONS: u32 = 5;

/// Offset of a fragment.
const OFFSET: u16 = 0xfff8;
/// More fragments follow.
const MORE: u16 = 0x0001;

impl Ipv6 {
    /// Bytes of the header.
    pub const LENGTH: u32 = 40;

    /// The first word as it stands in the packet: version, traffic class, flow label.
    #[inline(always)]
    pub const fn first_word(&self) -> Be32 {
        Be32::from_bytes(self.first)
    }

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

    /// The number of the protocol or extension header that follows.
    #[inline(always)]
    pub const fn next_header(&self) -> u32 {
        self.next_header as u32
    }

    /// Bytes behind the header, as it claims.
    #[inline(always)]
    pub const fn payload_length(&self) -> u16 {
        Be16::from_bytes(self.payload_length).get()
    }
}

impl Ip for Ipv6 {
    type Address = Be128;

    /// RFC 2473.
    const PROTOCOL: u8 = 41;

    #[inline(always)]
    fn read<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a mut Self, Payload), Unparsed> {
        let ip = Self::alone(cursor)?;
        let mut payload = Payload {
            protocol: ip.next_header(),
            length: u32::from(ip.payload_length()),
            fragment: Fragment::Whole,
        };
        let mut ahead = Ahead::default();
        let mut fragmented = false;
        for number in 0..EXTENSIONS {
            let is_fragment = payload.protocol == FRAGMENT && !fragmented;
            let is_sized = payload.protocol == ROUTING
                || payload.protocol == DESTINATION
                // Only as the first, where every router looks at it.
                || payload.protocol == HOP_BY_HOP && number == 0;
            if !is_fragment && !is_sized {
                break;
            }
            let header = cursor.peek::<Extension>(ahead)?;
            if is_fragment {
                fragmented = true;
                payload.fragment = header.fragment();
            }
            let length = if is_fragment {
                8
            } else {
                header.sized_length()
            };
            let Some(left) = payload.length.checked_sub(length) else {
                return Err(Unparsed::Malformed);
            };
            let any = header.next_header;
            ahead = ahead.plus(length, any);
            payload.length = forget(left, any) & 0xffff;
            payload.protocol = u32::from(header.next_header);
            if payload.fragment == Fragment::Later {
                break;
            }
        }
        // All that follows is the same for the verifier, whatever was stepped over.
        cursor.advance(ahead.plus(0, ip.next_header))?;
        Ok((ip, payload))
    }

    #[inline(always)]
    fn source(&self) -> Be128 {
        self.source.get()
    }

    #[inline(always)]
    fn destination(&self) -> Be128 {
        self.destination.get()
    }

    #[inline(always)]
    fn set_source(&mut self, address: Be128) {
        self.source.set(address);
    }

    #[inline(always)]
    fn set_destination(&mut self, address: Be128) {
        self.destination.set(address);
    }

    #[inline(always)]
    fn total_length(&self) -> u32 {
        Self::LENGTH + self.payload_length() as u32
    }

    #[inline(always)]
    fn traffic_class(&self) -> u8 {
        (self.first_word().get() >> 20) as u8
    }

    #[inline(always)]
    fn set_traffic_class(&mut self, class: u8) {
        let word = self.first_word();
        let word = word.with_bits(0x0ff0_0000, u32::from(class) << 20);
        self.first = word.to_bytes();
    }

    /// The unspecified address, loopback, IPv4-mapped, link-local (a router must not forward those:
    /// RFC 4291, section 2.5.6) and multicast.
    #[inline(always)]
    fn has_martian_source(&self) -> bool {
        let (first, last) = self.source().to_halves();
        let (first, last) = (u64::from_be_bytes(first), u64::from_be_bytes(last));
        let special = first == 0 && (last <= 1 || last >> 32 == 0xffff);
        let link_local = first >> 54 == 0xfe80 >> 6;
        let multicast = first >> 56 == 0xff;
        special || link_local || multicast || self.source() == self.destination()
    }

    #[inline(always)]
    fn is_expiring(&self) -> bool {
        self.hop_limit <= 1
    }

    #[inline(always)]
    fn forward(&mut self, _delta: Delta) {
        self.hop_limit = self.hop_limit.wrapping_sub(1);
    }
}

impl Extension {
    /// Bytes, of any but a fragment header: 8 to 2048.
    #[inline(always)]
    const fn sized_length(&self) -> u32 {
        (self.length as u32 + 1) * 8
    }

    /// What a fragment header says.
    #[inline(always)]
    const fn fragment(&self) -> Fragment {
        let field = Be16::from_bytes(self.offset).get();
        if field & OFFSET != 0 {
            Fragment::Later
        } else if field & MORE != 0 {
            Fragment::First
        } else {
            // An atomic fragment: a whole packet (RFC 6946).
            Fragment::Whole
        }
    }
}

impl Halves {
    #[inline(always)]
    const fn get(self) -> Be128 {
        Be128::from_halves(self.first, self.last)
    }

    #[inline(always)]
    const fn set(&mut self, address: Be128) {
        (self.first, self.last) = address.to_halves();
    }
}

const _: () = assert!(size_of::<Ipv6>() == Ipv6::LENGTH as usize);
const _: () = assert!(size_of::<Extension>() == 8);

//! IPv6 (RFC 8200), with the extension headers that may stand before TCP and UDP.

use super::{
    Cursor, Header,
    ip::{Fragment, Ip, Payload},
    packet::Unparsed,
};
use crate::{
    checksum::Delta,
    endian::{Be16, Be32, Be128},
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

/// What every extension header begins with; the fragment header's second byte is reserved.
#[repr(C)]
struct Extension {
    next_header: u8,
    /// Units of 8 bytes, the first not counted.
    length: u8,
    data: [u8; 6],
}

// SAFETY: bytes only.
unsafe impl Header for Extension {}

/// The fragment header (RFC 8200, section 4.5).
#[repr(C)]
struct FragmentHeader {
    next_header: u8,
    reserved: u8,
    /// Offset in units of 8 bytes (13 bits), 2 reserved, 1: more fragments follow.
    offset: [u8; 2],
    identification: [u8; 4],
}

// SAFETY: bytes only.
unsafe impl Header for FragmentHeader {}

/// Next header: hop-by-hop options.
const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
const ROUTING: u8 = 43;
/// Next header: fragment.
const FRAGMENT: u8 = 44;
/// Next header: destination options.
const DESTINATION: u8 = 60;

/// Extension headers that are stepped over at most. RFC 8200, section 4.1, has five of these in a packet
/// that means well.
const EXTENSIONS: u32 = 6;

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

    #[inline(always)]
    const fn payload_length(&self) -> u16 {
        Be16::from_bytes(self.payload_length).get()
    }
}

impl Ip for Ipv6 {
    type Address = Be128;

    /// RFC 2473.
    const PROTOCOL: u8 = 41;

    #[inline(always)]
    fn read<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a mut Self, Payload), Unparsed> {
        let ip = cursor.read::<Self>()?;
        let [version, ..] = ip.first;
        if version >> 4 != 6 {
            return Err(Unparsed::Malformed);
        }
        let mut payload = Payload {
            protocol: ip.next_header,
            length: ip.payload_length(),
            fragment: Fragment::Whole,
        };
        let mut fragmented = false;
        for number in 0..EXTENSIONS {
            payload = match payload.protocol {
                // Only as the first, where every router looks at it.
                HOP_BY_HOP if number == 0 => skip(cursor, payload)?,
                ROUTING | DESTINATION => skip(cursor, payload)?,
                FRAGMENT if !fragmented => {
                    fragmented = true;
                    unwrap(cursor, payload)?
                }
                _ => break,
            };
            if payload.fragment == Fragment::Later {
                break;
            }
        }
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

/// Steps over an extension header.
#[inline(always)]
fn skip(cursor: &mut Cursor<'_>, payload: Payload) -> Result<Payload, Unparsed> {
    let header = cursor.read_sized(extension_length)?;
    match payload.length.checked_sub(extension_length(header)) {
        Some(length) => Ok(Payload {
            protocol: header.next_header,
            length,
            ..payload
        }),
        None => Err(Unparsed::Malformed),
    }
}

/// Bytes of an extension header: 8 to 2048.
#[inline(always)]
fn extension_length(header: &Extension) -> u16 {
    (u16::from(header.length) + 1) * 8
}

/// Steps over a fragment header and notes what it says.
#[inline(always)]
fn unwrap(cursor: &mut Cursor<'_>, payload: Payload) -> Result<Payload, Unparsed> {
    let header = cursor.read::<FragmentHeader>()?;
    let Some(length) = payload
        .length
        .checked_sub(size_of::<FragmentHeader>() as u16)
    else {
        return Err(Unparsed::Malformed);
    };
    let offset = Be16::from_bytes(header.offset).get();
    let fragment = if offset & OFFSET != 0 {
        Fragment::Later
    } else if offset & MORE != 0 {
        Fragment::First
    } else {
        // An atomic fragment: a whole packet (RFC 6946).
        Fragment::Whole
    };
    Ok(Payload {
        protocol: header.next_header,
        length,
        fragment,
    })
}

const _: () = assert!(size_of::<Ipv6>() == Ipv6::LENGTH as usize);
const _: () = assert!(size_of::<Extension>() == 8);
const _: () = assert!(size_of::<FragmentHeader>() == 8);

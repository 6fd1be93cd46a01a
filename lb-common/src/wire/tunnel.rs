//! The end of a tunnel: what of a frame is an outer header that may be taken off, and what of the inner
//! packet must hold before the kernel gets it.
//!
//! Tunnels are IP in IP (RFC 2003, RFC 2473) and GUE variant 1 (draft-ietf-intarea-gue, section 4), which
//! is UDP with an IP packet as its payload. Only what is such a packet and comes from a listed source is
//! judged at all; everything else is the kernel's, be it as wrong as it may. One outer header is taken off:
//! a tunnel within the tunnel is left.
//!
//! Checksums of outer headers are not looked at. What is believed of an outer IPv4 header is held against
//! the list of sources and the frame, and the inner packet has checksums of its own; GUE's senders compute
//! none (RFC 6935).

use network_types::ip::Ipv4Hdr;

use super::{
    Cursor, Header, Ip, Link,
    cursor::Ahead,
    ip::Fragment,
    ipv6::{DESTINATION, FRAGMENT, HOP_BY_HOP, Ipv6, ROUTING},
    link::EtherType,
    packet,
    udp::Udp,
};
use crate::{
    abi::decap::DecapCounter,
    ecn::Ecn,
    endian::{Be16, Be32, Be128},
};

/// Protocol number of an IPv4 packet in an IP packet.
const IPV4_IN_IP: u32 = Ipv4Hdr::PROTOCOL as u32;
/// Protocol number of an IPv6 packet in an IP packet.
const IPV6_IN_IP: u32 = Ipv6::PROTOCOL as u32;

/// Protocol number of UDP.
const UDP: u32 = packet::UDP as u32;

/// Bytes of GUE's UDP header.
const UDP_HEADER: u32 = Udp::LENGTH as u32;

/// What every IP packet begins with: its version is the upper half.
#[repr(transparent)]
struct FirstByte(u8);

// SAFETY: a byte.
unsafe impl Header for FirstByte {}

/// Where tunnels may come from.
pub trait Sources {
    /// Whether one may come from this address.
    fn has_ipv4(&self, source: Be32) -> bool;
    /// Whether one may come from this address.
    fn has_ipv6(&self, source: Be128) -> bool;
}

/// The end of tunnels.
#[derive(Clone, Copy, Debug)]
pub struct End<S> {
    /// UDP destination port of GUE.
    pub gue_port: Be16,
    /// Where tunnels may come from.
    pub sources: S,
    /// Bytes of the frame. It may lie in several buffers, and the cursor see the first.
    pub frame_length: u32,
}

/// A frame whose outer header may be taken off; the inner header has its congestion mark already.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The link header, still of the outer packet.
    pub link: Link<'a>,
    /// Bytes between it and the inner packet.
    pub outer_length: u32,
    /// What the inner packet is.
    pub inner: EtherType,
    /// What to count once it is taken off.
    pub counter: DecapCounter,
}

/// What is needed of an outer header, whichever its version.
struct Outer {
    protocol: u32,
    fragment: Fragment,
    ecn: Ecn,
    /// Bytes of the header, options included.
    header: u32,
    /// Bytes behind it, as it claims.
    payload: u32,
    /// The frame has all of them.
    whole: bool,
}

/// Versions of IP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

impl<S: Sources> End<S> {
    /// Reads a frame's headers.
    ///
    /// # Errors
    /// What the frame is counted as where there is nothing to take off: its
    /// [`fate`](DecapCounter::fate) says whether the kernel gets it.
    #[inline(always)]
    pub fn open<'a>(&self, mut cursor: Cursor<'a>) -> Result<Opened<'a>, DecapCounter> {
        let Ok(link) = Link::read(&mut cursor, true) else {
            return Err(DecapCounter::NotATunnel);
        };
        if link.ether_type.is(EtherType::IPV4) {
            self.ipv4(cursor, link)
        } else if link.ether_type.is(EtherType::IPV6) {
            self.ipv6(cursor, link)
        } else {
            Err(DecapCounter::NotATunnel)
        }
    }

    #[inline(always)]
    fn ipv4<'a>(&self, mut cursor: Cursor<'a>, link: Link<'a>) -> Result<Opened<'a>, DecapCounter> {
        let Ok((ip, payload)) = Ipv4Hdr::read(&mut cursor) else {
            return Err(DecapCounter::NotATunnel);
        };
        let source = ip.source();
        let outer = Outer {
            protocol: payload.protocol,
            fragment: payload.fragment,
            ecn: Ecn::of(ip.traffic_class()),
            header: ip.total_length() - payload.length,
            payload: payload.length,
            whole: self.holds(&link, ip.total_length()),
        };
        take(cursor, link, outer, self.gue_port, || {
            self.sources.has_ipv4(source)
        })
    }

    #[inline(always)]
    fn ipv6<'a>(&self, mut cursor: Cursor<'a>, link: Link<'a>) -> Result<Opened<'a>, DecapCounter> {
        let Ok(ip) = Ipv6::alone(&mut cursor) else {
            return Err(DecapCounter::NotATunnel);
        };
        let source = ip.source();
        let listed = || self.sources.has_ipv6(source);
        // What follows these may be a tunnel's packet: the kernel's, which knows all of them.
        match ip.next_header() {
            FRAGMENT if listed() => return Err(DecapCounter::Fragment),
            HOP_BY_HOP | ROUTING | DESTINATION if listed() => {
                return Err(DecapCounter::ExtensionHeader);
            }
            _ => {}
        }
        let payload = u32::from(ip.payload_length());
        let outer = Outer {
            protocol: ip.next_header(),
            fragment: Fragment::Whole,
            ecn: Ecn::of(ip.traffic_class()),
            header: Ipv6::LENGTH,
            payload,
            whole: self.holds(&link, Ipv6::LENGTH + payload),
        };
        take(cursor, link, outer, self.gue_port, listed)
    }

    /// Whether the frame has all of an IP packet of `total` bytes.
    #[inline(always)]
    fn holds(&self, link: &Link<'_>, total: u32) -> bool {
        link.length() + total <= self.frame_length
    }
}

/// Judges what stands behind an outer header, in the order in which it is known whose the packet is.
#[inline(always)]
fn take<'a>(
    mut cursor: Cursor<'a>,
    link: Link<'a>,
    outer: Outer,
    gue_port: Be16,
    listed: impl Fn() -> bool,
) -> Result<Opened<'a>, DecapCounter> {
    let (version, udp) = match outer.protocol {
        IPV4_IN_IP => (Version::V4, None),
        IPV6_IN_IP => (Version::V6, None),
        UDP if outer.fragment == Fragment::Later => {
            // Its port is in another fragment.
            return Err(match listed() {
                true => DecapCounter::Fragment,
                false => DecapCounter::NotATunnel,
            });
        }
        UDP => {
            let (version, length) = gue(&mut cursor, gue_port).ok_or(DecapCounter::NotATunnel)?;
            (version, Some(length))
        }
        _ => return Err(DecapCounter::NotATunnel),
    };
    if !listed() {
        return Err(DecapCounter::RefusedSource);
    }
    if outer.fragment != Fragment::Whole {
        return Err(DecapCounter::Fragment);
    }
    if !outer.whole {
        return Err(DecapCounter::Malformed);
    }
    let room = match udp {
        None => outer.payload,
        Some(length) if length >= UDP_HEADER && length <= outer.payload => length - UDP_HEADER,
        Some(_) => return Err(DecapCounter::Malformed),
    };
    let inner = match version {
        Version::V4 => {
            admit_ipv4(&mut cursor, room, outer.ecn)?;
            EtherType::IPV4
        }
        Version::V6 => {
            admit_ipv6(&mut cursor, room, outer.ecn)?;
            EtherType::IPV6
        }
    };
    let is_gue = udp.is_some();
    Ok(Opened {
        link,
        outer_length: outer.header + if is_gue { UDP_HEADER } else { 0 },
        inner,
        counter: match (version, is_gue) {
            (Version::V4, false) => DecapCounter::IpipIpv4,
            (Version::V6, false) => DecapCounter::IpipIpv6,
            (Version::V4, true) => DecapCounter::GueIpv4,
            (Version::V6, true) => DecapCounter::GueIpv6,
        },
    })
}

/// The version of the packet in a GUE packet of variant 1, and its UDP length. `None` for all other
/// datagrams, GUE's variant 0 (which has a header of its own) among them.
#[inline(always)]
fn gue(cursor: &mut Cursor<'_>, port: Be16) -> Option<(Version, u32)> {
    let udp = cursor.read::<Udp>().ok()?;
    if udp.ports.destination() != port {
        return None;
    }
    let FirstByte(first) = cursor.peek(Ahead::default()).ok()?;
    let version = match first >> 4 {
        4 => Version::V4,
        6 => Version::V6,
        _ => return None,
    };
    Some((version, u32::from(udp.length())))
}

/// Lets an inner IPv4 packet of at most `room` bytes in.
#[inline(always)]
fn admit_ipv4(cursor: &mut Cursor<'_>, room: u32, outer: Ecn) -> Result<(), DecapCounter> {
    let Ok((ip, _)) = Ipv4Hdr::read(cursor) else {
        return Err(DecapCounter::InnerMalformed);
    };
    if ip.total_length() > room {
        return Err(DecapCounter::InnerMalformed);
    }
    if let Some(class) = marked(ip.traffic_class(), outer)? {
        ip.set_traffic_class(class);
    }
    Ok(())
}

/// Lets an inner IPv6 packet of at most `room` bytes in.
#[inline(always)]
fn admit_ipv6(cursor: &mut Cursor<'_>, room: u32, outer: Ecn) -> Result<(), DecapCounter> {
    let Ok(ip) = Ipv6::alone(cursor) else {
        return Err(DecapCounter::InnerMalformed);
    };
    if Ipv6::LENGTH + u32::from(ip.payload_length()) > room {
        return Err(DecapCounter::InnerMalformed);
    }
    if let Some(class) = marked(ip.traffic_class(), outer)? {
        ip.set_traffic_class(class);
    }
    Ok(())
}

/// The traffic class that an inner header gets, where it is another one.
#[inline(always)]
fn marked(class: u8, outer: Ecn) -> Result<Option<u8>, DecapCounter> {
    let inner = Ecn::of(class);
    match inner.decapsulated(outer) {
        None => Err(DecapCounter::Ecn),
        Some(ecn) if ecn == inner => Ok(None),
        Some(ecn) => Ok(Some(ecn.within(class))),
    }
}

#[cfg(test)]
mod tests;

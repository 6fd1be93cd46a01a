//! A packet's walk from its IP header to its transport header.

use super::{
    Cursor,
    cursor::Truncated,
    ip::{Fragment, Ip},
    link::Link,
    tcp::Tcp,
    transport::Transport,
    udp::Udp,
};
use crate::{family::Family, tuple::FlowTuple};

/// A TCP or UDP packet, its headers in place in the frame.
#[derive(Debug)]
pub struct Packet<'a, F: Family> {
    /// The link header.
    pub link: Link<'a>,
    /// The network header; options or extension headers, if any, stand between it and `transport`.
    pub ip: &'a mut F::Header,
    /// The transport header.
    pub transport: Transport<'a>,
    /// Whether this is the first of several fragments.
    pub fragmented: bool,
}

/// What is looked for besides TCP. What is not, is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// UDP.
    pub udp: bool,
    /// Bytes of the frame, where it may lie in several buffers and the cursor sees the first; `None`:
    /// the cursor sees all of it.
    pub frame_length: Option<u32>,
}

/// Why a frame yields no [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsed {
    /// Nothing that a load balancer speaks: left to the kernel.
    NotOurs,
    /// The headers contradict themselves or end early.
    Malformed,
}

impl From<Truncated> for Unparsed {
    #[inline(always)]
    fn from(Truncated: Truncated) -> Self {
        Self::Malformed
    }
}

/// IANA protocol number of TCP.
pub const TCP: u8 = 6;
/// IANA protocol number of UDP.
pub const UDP: u8 = 17;

/// Reads a packet's headers; `cursor` stands behind the link header.
///
/// Later fragments have no ports and so cannot be told from those of other services: they are not
/// ours, as is a first fragment too short for its transport header.
///
/// # Errors
/// [`Unparsed`], by the rules above; lengths are judged against the IP header's claim and the frame.
#[inline(always)]
pub fn parse<'a, F: Family>(
    mut cursor: Cursor<'a>,
    link: Link<'a>,
    accept: Accept,
) -> Result<Packet<'a, F>, Unparsed> {
    let (ip, payload) = F::Header::read(&mut cursor)?;
    let is_tcp = payload.protocol == u32::from(TCP);
    let transport_length = if is_tcp {
        Tcp::LENGTH
    } else if accept.udp && payload.protocol == u32::from(UDP) {
        Udp::LENGTH
    } else {
        return Err(Unparsed::NotOurs);
    };
    let too_short = payload.length < u32::from(transport_length);
    match payload.fragment {
        Fragment::Later => return Err(Unparsed::NotOurs),
        Fragment::First if too_short => return Err(Unparsed::NotOurs),
        Fragment::First | Fragment::Whole => {}
    }
    // The claimed length, not the frame's: short frames are padded behind it.
    let whole = match accept.frame_length {
        Some(length) => link.length() + ip.total_length() <= length,
        None => cursor.has(payload.length as u16),
    };
    if too_short || !whole {
        return Err(Unparsed::Malformed);
    }
    let transport = if is_tcp {
        Transport::from(cursor.read::<Tcp>()?)
    } else {
        let udp = cursor.read::<Udp>()?;
        let length = udp.length();
        if length < Udp::LENGTH
            || (payload.fragment == Fragment::Whole && u32::from(length) > payload.length)
        {
            return Err(Unparsed::Malformed);
        }
        Transport::from(udp)
    };
    Ok(Packet {
        link,
        ip,
        transport,
        fragmented: payload.fragment == Fragment::First,
    })
}

impl<F: Family> Packet<'_, F> {
    /// The flow that the packet belongs to.
    #[inline(always)]
    pub fn flow(&self) -> FlowTuple<F::Address> {
        FlowTuple {
            source: self.ip.source(),
            destination: self.ip.destination(),
            source_port: self.transport.source_port(),
            destination_port: self.transport.destination_port(),
            protocol: self.transport.protocol(),
        }
    }
}

#[cfg(test)]
mod tests;

//! What holds of the packet parser for any frame. Used by the fuzz target and by the test that replays
//! its corpus.

use super::{Accept, Cursor, Family, Ip, Link, Packet, Unparsed, V4, V6, parse};

/// What was read of a frame, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// How many VLAN tags there are.
    pub(crate) tags: u32,
    /// Whether it is IPv6.
    pub(crate) ipv6: bool,
    /// Whether it is UDP.
    pub(crate) udp: bool,
    /// Whether it is the first of several fragments.
    pub(crate) fragmented: bool,
    /// Where the IP header stands.
    at: usize,
    /// Bytes from there on, as the header claims.
    length: u32,
}

/// How a program reads frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Whether it looks behind VLAN tags.
    pub(crate) vlan: bool,
    /// What else it looks for.
    pub(crate) accept: Accept,
}

impl How {
    /// For everything there is.
    pub(crate) const EVERYTHING: Self = Self {
        vlan: true,
        accept: Accept {
            udp: true,
            frame_length: None,
        },
    };

    /// Reads a frame of either family.
    pub(crate) fn read(self, frame: &mut [u8]) -> Result<Read, Unparsed> {
        let start = frame.as_ptr() as usize;
        let mut cursor = Cursor::new(frame);
        let link = Link::read(&mut cursor, self.vlan)?;
        if link.ether_type.is(V4::ETHER_TYPE) {
            parse::<V4>(cursor, link, self.accept).map(|packet| summary(&packet, start, false))
        } else if link.ether_type.is(V6::ETHER_TYPE) {
            parse::<V6>(cursor, link, self.accept).map(|packet| summary(&packet, start, true))
        } else {
            Err(Unparsed::NotOurs)
        }
    }
}

fn summary<F: Family>(packet: &Packet<'_, F>, start: usize, ipv6: bool) -> Read {
    Read {
        tags: packet.link.tags.count,
        ipv6,
        udp: packet.transport.is_udp(),
        fragmented: packet.fragmented,
        at: core::ptr::from_ref(&*packet.ip) as usize - start,
        length: packet.ip.total_length(),
    }
}

/// Parsing changes nothing, a packet that is accepted lies within its frame, and neither what else is
/// looked for nor where the frame's first buffer ends makes another packet of it.
///
/// # Panics
/// Where that is not so.
pub(crate) fn holds(frame: &[u8]) {
    for vlan in [false, true] {
        for udp in [false, true] {
            let accept = Accept {
                udp,
                frame_length: None,
            };
            holds_with(frame, How { vlan, accept });
        }
    }
    holds_in_buffers(frame);
}

fn holds_with(frame: &[u8], how: How) {
    let mut copy = frame.to_vec();
    let outcome = how.read(&mut copy);
    assert_eq!(copy, frame, "parsing wrote into the frame");
    let Ok(read) = outcome else { return };
    assert_eq!(read.at, 14 + 4 * read.tags as usize, "{read:?}");
    assert!(read.at + read.length as usize <= frame.len(), "{read:?}");
    assert!(how.accept.udp || !read.udp, "nobody asked for {read:?}");
    assert!(how.vlan || read.tags == 0, "nobody asked for {read:?}");
    let everything = How::EVERYTHING.read(&mut copy);
    assert_eq!(everything, outcome, "{how:?}");
}

/// A program that sees the first buffer of a frame reads what one reads that sees all of it, or finds
/// the headers cut.
fn holds_in_buffers(frame: &[u8]) {
    let mut copy = frame.to_vec();
    let whole = How::EVERYTHING.read(&mut copy);
    let how = How {
        accept: Accept {
            udp: true,
            frame_length: Some(frame.len() as u32),
        },
        ..How::EVERYTHING
    };
    assert_eq!(how.read(&mut copy), whole, "the length is no news");
    for seen in 0..frame.len().min(200) {
        let read = how.read(&mut copy[..seen]);
        let cut = read == Err(Unparsed::Malformed);
        assert!(
            cut || read == whole,
            "{seen} bytes: {read:?}, not {whole:?}"
        );
    }
}

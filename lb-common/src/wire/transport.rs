//! TCP or UDP: what both have.

use super::{
    tcp::{Flags, Tcp},
    udp::Udp,
};
use crate::{checksum::Delta, endian::Be16};

/// A transport header in place in its frame.
#[derive(Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(&'a mut Tcp),
    /// UDP.
    Udp(&'a mut Udp),
}

impl Transport<'_> {
    /// Source port.
    #[inline(always)]
    pub const fn source_port(&self) -> Be16 {
        match self {
            Self::Tcp(tcp) => tcp.source_port(),
            Self::Udp(udp) => udp.source_port(),
        }
    }

    /// Destination port.
    #[inline(always)]
    pub const fn destination_port(&self) -> Be16 {
        match self {
            Self::Tcp(tcp) => tcp.destination_port(),
            Self::Udp(udp) => udp.destination_port(),
        }
    }

    /// TCP's flags; none for UDP.
    #[inline(always)]
    pub const fn flags(&self) -> Flags {
        match self {
            Self::Tcp(tcp) => tcp.flags(),
            Self::Udp(_) => Flags(0),
        }
    }

    /// Replaces the source port; `address` is what the pseudo-header's address became.
    #[inline(always)]
    pub const fn rewrite_source(&mut self, port: Be16, address: Delta) {
        match self {
            Self::Tcp(tcp) => tcp.rewrite_source(port, address),
            Self::Udp(udp) => udp.rewrite_source(port, address),
        }
    }

    /// Replaces the destination port; `address` is what the pseudo-header's address became.
    #[inline(always)]
    pub const fn rewrite_destination(&mut self, port: Be16, address: Delta) {
        match self {
            Self::Tcp(tcp) => tcp.rewrite_destination(port, address),
            Self::Udp(udp) => udp.rewrite_destination(port, address),
        }
    }
}

//! TCP or UDP: what both have.

use super::{
    packet::{TCP, UDP},
    ports::Ports,
    tcp::{Flags, Tcp},
    udp::Udp,
};
use crate::{checksum::Delta, endian::Be16};

/// What steering and rewriting need of a transport header, in place in its frame.
///
/// Not an enum of the two headers: the compiler would ask the IP header's protocol again at each
/// use, and the verifier of Linux 6.1 then no longer knows which header was read.
#[derive(Debug)]
pub struct Transport<'a> {
    ports: &'a mut Ports,
    checksum: &'a mut [u8; 2],
    flags: Flags,
    /// A whole word: see `Payload`.
    protocol: u32,
}

impl<'a> From<&'a mut Tcp> for Transport<'a> {
    #[inline(always)]
    fn from(tcp: &'a mut Tcp) -> Self {
        Self {
            ports: &mut tcp.ports,
            checksum: &mut tcp.checksum,
            flags: tcp.flags,
            protocol: TCP as u32,
        }
    }
}

impl<'a> From<&'a mut Udp> for Transport<'a> {
    #[inline(always)]
    fn from(udp: &'a mut Udp) -> Self {
        Self {
            ports: &mut udp.ports,
            checksum: &mut udp.checksum,
            flags: Flags(0),
            protocol: UDP as u32,
        }
    }
}

impl Transport<'_> {
    /// Where ports and checksum stand.
    #[cfg(test)]
    pub(super) fn ranges(&self) -> [core::ops::Range<*const u8>; 2] {
        let ports = core::ptr::from_ref(self.ports).cast::<u8>();
        [
            ports..ports.wrapping_add(size_of::<Ports>()),
            self.checksum.as_ptr_range(),
        ]
    }

    /// Source port.
    #[inline(always)]
    pub const fn source_port(&self) -> Be16 {
        self.ports.source()
    }

    /// Destination port.
    #[inline(always)]
    pub const fn destination_port(&self) -> Be16 {
        self.ports.destination()
    }

    /// TCP's flags; none for UDP.
    #[inline(always)]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// IANA protocol number.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.protocol as u8
    }

    /// Whether it is UDP.
    #[inline(always)]
    pub const fn is_udp(&self) -> bool {
        self.protocol == UDP as u32
    }

    /// Replaces the source port; `address` is what the pseudo-header's address became.
    #[inline(always)]
    pub const fn rewrite_source(&mut self, port: Be16, address: Delta) {
        self.mend(address.replace16(self.ports.source(), port));
        self.ports.set_source(port);
    }

    /// Replaces the destination port; `address` is what the pseudo-header's address became.
    #[inline(always)]
    pub const fn rewrite_destination(&mut self, port: Be16, address: Delta) {
        self.mend(address.replace16(self.ports.destination(), port));
        self.ports.set_destination(port);
    }

    /// In UDP (RFC 768), zero means that the sender computed no checksum, and stays; a checksum that
    /// comes out as zero is sent as all ones.
    #[inline(always)]
    const fn mend(&mut self, delta: Delta) {
        let before = Be16::from_bytes(*self.checksum);
        if self.is_udp() && before.raw() == 0 {
            return;
        }
        let mended = delta.apply(before);
        *self.checksum = if self.is_udp() && mended.raw() == 0 {
            [0xff; 2]
        } else {
            mended.to_bytes()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum_after(before: [u8; 2], old_port: u16, new_port: u16) -> [u8; 2] {
        let mut udp = Udp::default();
        udp.ports.set_destination(Be16::new(old_port));
        udp.checksum = before;
        Transport::from(&mut udp).rewrite_destination(Be16::new(new_port), Delta::NONE);
        udp.checksum
    }

    #[test]
    fn no_udp_checksum_stays_none() {
        assert_eq!(checksum_after([0, 0], 53, 5353), [0, 0]);
    }

    #[test]
    fn a_udp_checksum_of_zero_is_sent_as_all_ones() {
        // 0x0001 with a port larger by one: comes out as zero.
        assert_eq!(checksum_after([0, 1], 53, 54), [0xff, 0xff]);
        assert_eq!(checksum_after([0, 2], 53, 54), [0, 1]);
    }

    #[test]
    fn a_tcp_checksum_of_zero_is_a_checksum() {
        let mut tcp = Tcp::default();
        tcp.ports.set_destination(Be16::new(53));
        Transport::from(&mut tcp).rewrite_destination(Be16::new(54), Delta::NONE);
        assert_ne!(tcp.checksum, [0, 0]);
    }
}

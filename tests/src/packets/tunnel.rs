//! Packets in tunnels, and what is in them, built by etherparse.

use std::net::IpAddr;

use lb_common::wire::tcp::Flags;

use super::{Outer, Segment, frame};

pub use super::GUE_PORT;

/// Between which stations frames go: 02:00:00:00:00:0a and ...:0b.
const LINK: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x0a], [2, 0, 0, 0, 0, 0x0b]];

/// How an inner packet is announced by the outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// By a protocol number.
    Ipip,
    /// By a UDP port.
    Gue,
}

/// A frame with a packet in a tunnel; everything that the end of the tunnel looks at is a field.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// VLAN tags, the outer one first: EtherType and control information.
    pub tags: Vec<[u16; 2]>,
    /// Source of the outer header.
    pub source: IpAddr,
    /// Destination of the outer header, of the same family.
    pub destination: IpAddr,
    /// DSCP and ECN of the outer header.
    pub traffic_class: u8,
    /// Options of an outer IPv4 header, a multiple of four bytes.
    pub options: Vec<u8>,
    /// The kind of tunnel.
    pub encapsulation: Encapsulation,
    /// UDP destination port, in GUE.
    pub port: u16,
    /// The inner packet, from its IP header on.
    pub inner: Vec<u8>,
}

impl Tunnel {
    /// A tunnel without VLAN tags and options.
    ///
    /// # Panics
    /// Where an address is none.
    pub fn new(
        source: &str,
        destination: &str,
        encapsulation: Encapsulation,
        inner: &[u8],
    ) -> Self {
        Self {
            tags: Vec::new(),
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            traffic_class: 0,
            options: Vec::new(),
            encapsulation,
            port: GUE_PORT,
            inner: inner.to_vec(),
        }
    }

    /// The frame as the load balancer sends it, between the MACs 02:00:00:00:00:0a and ...:0b.
    ///
    /// # Panics
    /// When the fields do not make a packet.
    pub fn bytes(&self) -> Vec<u8> {
        self.with_inner(&self.outer().around(&self.inner))
    }

    /// The frame as the kernel is to get it.
    pub fn taken_off(&self) -> Vec<u8> {
        self.with_inner(&self.inner)
    }

    /// The same with another packet in the tunnel's place.
    pub fn with_inner(&self, inner: &[u8]) -> Vec<u8> {
        frame::frame(LINK, &self.tags, inner)
    }

    /// Bytes up to the outer IP header.
    pub const fn link_length(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Bytes of the outer headers.
    pub fn outer_length(&self) -> usize {
        self.outer().length()
    }

    fn outer(&self) -> Outer {
        Outer {
            source: self.source,
            destination: self.destination,
            traffic_class: self.traffic_class,
            options: self.options.clone(),
            flow_label: 0x5_4321,
            ports: match self.encapsulation {
                Encapsulation::Ipip => None,
                Encapsulation::Gue => Some([0xc123, self.port]),
            },
        }
    }
}

/// A packet in every kind of tunnel, with the kind's name; from 10.77.2.1 or fd77:2::1.
pub fn around(inner: &[u8]) -> [(&'static str, Tunnel); 4] {
    let over_ipv4 = |kind| Tunnel::new("10.77.2.1", "10.77.2.11", kind, inner);
    let over_ipv6 = |kind| Tunnel::new("fd77:2::1", "fd77:2::11", kind, inner);
    [
        ("IPIP", over_ipv4(Encapsulation::Ipip)),
        ("GUE", over_ipv4(Encapsulation::Gue)),
        ("IPIP over IPv6", over_ipv6(Encapsulation::Ipip)),
        ("GUE over IPv6", over_ipv6(Encapsulation::Gue)),
    ]
}

/// A frame with other bytes from `at` on.
///
/// # Panics
/// Where it ends before they do.
pub fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A UDP packet from its IP header on, with a traffic class.
///
/// # Panics
/// Where the addresses are none or of two families, or the payload is too long.
pub fn datagram(source: &str, destination: &str, traffic_class: u8, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Segment::datagram(source, destination, payload)
        .ttl(63)
        .traffic_class(traffic_class);
    datagram.flow_label = 0xa_bcde;
    datagram.packet()
}

/// A SYN from its IP header on.
///
/// # Panics
/// As [`datagram`].
pub fn syn(source: &str, destination: &str) -> Vec<u8> {
    let syn = Segment::new(source, destination, Flags::SYN);
    syn.ttl(63).packet()
}

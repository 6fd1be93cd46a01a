//! Outer headers of tunnels: IPIP (RFC 2003, RFC 2473) and GUE, variant 1 (draft-ietf-intarea-gue), which
//! is an IP packet in UDP with nothing between.

use super::{Header, packet::UDP};
use crate::{
    checksum::Delta,
    endian::{Be16, Be32, Be128},
    hash::FlowHash,
};

/// Hop limit of outer headers: the way to the tunnel's end has nothing to do with the way so far.
pub const HOP_LIMIT: u8 = 64;

/// The first of GUE's source ports; the hash has the other 14 bits.
const FIRST_PORT: u16 = 0xc000;

/// Bits of an IPv6 flow label.
const FLOW_LABEL: u32 = 0xf_ffff;

/// What an outer IP header is made of.
#[derive(Clone, Copy, Debug)]
pub struct Outer<A> {
    /// The inner packet's DSCP and ECN (RFC 6040, section 4.1, normal mode).
    pub traffic_class: u8,
    /// Bytes that follow the outer IP header.
    pub payload: u16,
    /// What follows it.
    pub protocol: u8,
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
}

/// An outer IPv4 header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OuterIpv4 {
    /// Version, type of service, total length, identification, flags and offset.
    head: [u8; 8],
    /// Time to live, protocol, checksum.
    middle: [u8; 4],
    source: [u8; 4],
    destination: [u8; 4],
}

/// An outer IPv6 header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OuterIpv6 {
    /// Version, traffic class, flow label, payload length, next header, hop limit.
    head: [u8; 8],
    source_first: [u8; 8],
    source_last: [u8; 8],
    destination_first: [u8; 8],
    destination_last: [u8; 8],
}

/// The UDP header of GUE. Its checksum is 0 (RFC 6935 and 6936 for IPv6).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OuterUdp([u8; 8]);

// SAFETY: bytes only.
unsafe impl Header for OuterIpv4 {}
// SAFETY: as above.
unsafe impl Header for OuterIpv6 {}
// SAFETY: as above.
unsafe impl Header for OuterUdp {}

impl OuterIpv4 {
    /// Bytes of the header.
    pub const LENGTH: u16 = 20;

    /// Writes the header: never to be fragmented, hence identification 0 (RFC 6864).
    #[inline(always)]
    pub const fn write(&mut self, outer: Outer<Be32>) {
        let length = Be16::new(outer.payload + Self::LENGTH).to_bytes();
        let [length_high, length_low] = length;
        let class = [0x45, outer.traffic_class];
        let [version, traffic_class] = class;
        self.head = [
            version,
            traffic_class,
            length_high,
            length_low,
            0,
            0,
            0x40,
            0,
        ];
        let checksum = Delta::NONE
            .add16(Be16::from_bytes(class))
            .add16(Be16::from_bytes(length))
            .add16(Be16::new(0x4000))
            .add16(Be16::from_bytes([HOP_LIMIT, outer.protocol]))
            .add32(outer.source)
            .add32(outer.destination)
            .apply(Be16::new(0xffff));
        let [checksum_high, checksum_low] = checksum.to_bytes();
        self.middle = [HOP_LIMIT, outer.protocol, checksum_high, checksum_low];
        self.source = outer.source.to_bytes();
        self.destination = outer.destination.to_bytes();
    }
}

impl OuterIpv6 {
    /// Bytes of the header.
    pub const LENGTH: u16 = 40;

    /// Writes the header; the flow label is the flow's (RFC 6438).
    #[inline(always)]
    pub const fn write(&mut self, outer: Outer<Be128>, hash: FlowHash) {
        let first = 6 << 28 | (outer.traffic_class as u32) << 20 | hash.secondary() & FLOW_LABEL;
        let [a, b, c, d] = Be32::new(first).to_bytes();
        let [length_high, length_low] = Be16::new(outer.payload).to_bytes();
        self.head = [
            a,
            b,
            c,
            d,
            length_high,
            length_low,
            outer.protocol,
            HOP_LIMIT,
        ];
        (self.source_first, self.source_last) = outer.source.to_halves();
        (self.destination_first, self.destination_last) = outer.destination.to_halves();
    }
}

impl OuterUdp {
    /// Bytes of the header.
    pub const LENGTH: u16 = 8;

    /// What announces the header.
    pub const PROTOCOL: u8 = UDP;

    /// Writes the header before `payload` bytes; the source port is the flow's.
    #[inline(always)]
    pub const fn write(&mut self, port: Be16, payload: u16, hash: FlowHash) {
        let source = FIRST_PORT | hash.secondary() as u16 & !FIRST_PORT;
        let [a, b] = Be16::new(source).to_bytes();
        let [c, d] = port.to_bytes();
        let [e, f] = Be16::new(payload + Self::LENGTH).to_bytes();
        self.0 = [a, b, c, d, e, f, 0, 0];
    }
}

const _: () = assert!(size_of::<OuterIpv4>() == OuterIpv4::LENGTH as usize);
const _: () = assert!(size_of::<OuterIpv6>() == OuterIpv6::LENGTH as usize);
const _: () = assert!(size_of::<OuterUdp>() == OuterUdp::LENGTH as usize);

#[cfg(test)]
mod tests {
    use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, UdpHeaderSlice};
    use proptest::prelude::*;

    use super::*;
    use crate::hash::HashKey;

    fn hash(source: u32) -> FlowHash {
        FlowHash::source_ipv4(HashKey { k0: 1, k1: 2 }, Be32::new(source))
    }

    fn bytes<T: Header>(header: &T) -> &[u8] {
        // SAFETY: a `Header` is bytes without padding.
        unsafe { core::slice::from_raw_parts((&raw const *header).cast(), size_of::<T>()) }
    }

    proptest! {
        #[test]
        fn an_ipv4_header_reads_as_another_implementation_reads_it(
            traffic_class: u8, payload in 0..=65_515_u16, source: u32, destination: u32,
        ) {
            let mut header = OuterIpv4::default();
            header.write(Outer {
                traffic_class,
                payload,
                protocol: 41,
                source: Be32::new(source),
                destination: Be32::new(destination),
            });
            let read = Ipv4HeaderSlice::from_slice(bytes(&header)).unwrap();
            prop_assert_eq!(read.to_header().calc_header_checksum(), read.header_checksum());
            prop_assert_eq!(read.dcp().value() << 2 | read.ecn().value(), traffic_class);
            prop_assert_eq!(read.total_len(), payload + 20);
            prop_assert_eq!((read.ttl(), read.protocol().0), (64, 41));
            prop_assert_eq!((read.identification(), read.dont_fragment()), (0, true));
            prop_assert!(!read.more_fragments() && read.fragments_offset().value() == 0);
            prop_assert_eq!(u32::from(read.source_addr()), source);
            prop_assert_eq!(u32::from(read.destination_addr()), destination);
        }

        #[test]
        fn an_ipv6_header_reads_as_another_implementation_reads_it(
            traffic_class: u8, payload: u16, source: u128, destination: u128, flow: u32,
        ) {
            let mut header = OuterIpv6::default();
            let address = |number: u128| core::net::Ipv6Addr::from(number);
            let outer = Outer {
                traffic_class,
                payload,
                protocol: 4,
                source: address(source).into(),
                destination: address(destination).into(),
            };
            header.write(outer, hash(flow));
            let read = Ipv6HeaderSlice::from_slice(bytes(&header)).unwrap();
            prop_assert_eq!(read.traffic_class(), traffic_class);
            prop_assert_eq!(read.flow_label().value(), hash(flow).secondary() & 0xf_ffff);
            prop_assert_eq!(read.payload_length(), payload);
            prop_assert_eq!((read.next_header().0, read.hop_limit()), (4, 64));
            prop_assert_eq!(read.source_addr(), address(source));
            prop_assert_eq!(read.destination_addr(), address(destination));
        }

        #[test]
        fn a_udp_header_has_the_flows_port(payload in 0..=65_527_u16, flow: u32, port: u16) {
            let mut header = OuterUdp::default();
            header.write(Be16::new(port), payload, hash(flow));
            let read = UdpHeaderSlice::from_slice(bytes(&header)).unwrap();
            prop_assert_eq!(u32::from(read.source_port()), 0xc000 + (hash(flow).secondary() & 0x3fff));
            prop_assert_eq!(read.destination_port(), port);
            prop_assert_eq!((read.length(), read.checksum()), (payload + 8, 0));
        }
    }
}

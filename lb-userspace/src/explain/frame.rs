//! The frames that a copy of the program is asked with, and who the answer is for.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::PacketBuilder;
use lb_common::abi::backend::{Backend, NextHop};

use super::Packet;
use crate::model::Forward;

/// Where a packet's destination address and port are, behind Ethernet and IPv4 headers of full
/// length and no options.
const ADDRESS: std::ops::Range<usize> = 30..34;
const PORT: std::ops::Range<usize> = 36..38;

/// Hops that are left, so that it is forwarded.
const TTL: u8 = 64;

/// The smallest window and sequence number: nobody reads them.
const WINDOW: u16 = 1;

/// A packet in an Ethernet frame, before or after the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    /// A packet of a connection, without payload.
    pub fn of(packet: Packet, source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        let builder = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4(
            source.ip().octets(),
            destination.ip().octets(),
            TTL,
        );
        let (from, to) = (source.port(), destination.port());
        let mut frame = Vec::with_capacity(64);
        // Writing to a vector does not fail, and headers without payload fit.
        let _infallible = match packet {
            Packet::Syn => builder
                .tcp(from, to, 0, WINDOW)
                .syn()
                .write(&mut frame, &[]),
            Packet::Segment => builder
                .tcp(from, to, 0, WINDOW)
                .ack(0)
                .write(&mut frame, &[]),
            Packet::Datagram => builder.udp(from, to).write(&mut frame, &[]),
        };
        Self(frame)
    }

    /// Whether this frame, which was for `destination`, is on its way to `backend` now.
    pub fn is_for(&self, backend: &Backend, forward: Forward, destination: SocketAddrV4) -> bool {
        let Self(bytes) = self;
        match forward {
            Forward::Dnat => {
                let port = match backend.port.get() {
                    0 => destination.port(),
                    port => port,
                };
                let address = Ipv4Addr::from(backend.address.leading());
                bytes.get(ADDRESS) == Some(&address.octets())
                    && bytes.get(PORT) == Some(&port.to_be_bytes())
            }
            Forward::Dsr | Forward::Ipip | Forward::Gue { .. } => {
                bytes.get(..6) == Some(&NextHop(backend.next_hop).mac_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::{
        endian::{Be16, Be128},
        family::V4,
        wire::{Accept, Cursor, Ip, Link, parse},
    };

    use super::*;

    fn ends() -> (SocketAddrV4, SocketAddrV4) {
        (
            "192.0.2.7:40000".parse().unwrap(),
            "203.0.113.80:80".parse().unwrap(),
        )
    }

    #[test]
    fn the_program_reads_what_was_meant() {
        let (source, destination) = ends();
        for packet in [Packet::Syn, Packet::Segment, Packet::Datagram] {
            let Frame(mut bytes) = Frame::of(packet, source, destination);
            let mut cursor = Cursor::new(&mut bytes);
            let link = Link::read(&mut cursor, false).unwrap();
            let accept = Accept {
                udp: true,
                frame_length: None,
            };
            let parsed = parse::<V4>(cursor, link, accept);
            let parsed = parsed.ok().unwrap_or_else(|| panic!("{packet:?}"));
            assert_eq!(Ipv4Addr::from(parsed.ip.source()), *source.ip());
            assert_eq!(Ipv4Addr::from(parsed.ip.destination()), *destination.ip());
            assert_eq!(parsed.transport.source_port().get(), 40_000);
            assert_eq!(parsed.transport.destination_port().get(), 80);
            assert_eq!(parsed.transport.flags().is_syn(), packet == Packet::Syn);
            assert_eq!(parsed.ip.proto == 17, packet == Packet::Datagram);
        }
    }

    #[test]
    fn a_frame_names_its_recipient() {
        let (source, destination) = ends();
        let mut backend = Backend {
            address: Be128::from_leading(Ipv4Addr::new(10, 0, 1, 11).into()),
            port: Be16::new(8080),
            next_hop: NextHop::new([2, 0, 0, 0, 0, 7], 1).0,
            ..Backend::default()
        };
        let before = Frame::of(Packet::Syn, source, destination);
        for forward in [Forward::Dnat, Forward::Dsr] {
            assert!(!before.is_for(&backend, forward, destination));
        }
        let rewritten = Frame::of(Packet::Syn, source, "10.0.1.11:8080".parse().unwrap());
        assert!(rewritten.is_for(&backend, Forward::Dnat, destination));
        backend.port = Be16::new(0);
        assert!(!rewritten.is_for(&backend, Forward::Dnat, destination));
        let kept = Frame::of(Packet::Syn, source, "10.0.1.11:80".parse().unwrap());
        assert!(kept.is_for(&backend, Forward::Dnat, destination));
        let Frame(mut bytes) = before;
        bytes[5] = 7;
        bytes[0] = 2;
        assert!(Frame(bytes).is_for(&backend, Forward::Dsr, destination));
        assert!(!Frame(Vec::new()).is_for(&backend, Forward::Dnat, destination));
    }
}

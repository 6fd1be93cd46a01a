//! The frames that a copy of the program is asked with, and who the answer is for.

use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;
use lb_common::abi::backend::{Backend, NextHop};

use super::Packet;
use crate::{model::Forward, plan::Endpoint};

/// Bytes of an Ethernet header without tags.
const ETHERNET: usize = 14;

/// Hops that are left, so that it is forwarded.
const TTL: u8 = 64;

/// The smallest window and sequence number: nobody reads them.
const WINDOW: u16 = 1;

/// IANA protocol numbers: an IPv4 packet inside, an IPv6 packet inside, UDP.
const INNER: [u8; 2] = [4, 41];
const UDP: u8 = 17;

/// A packet in an Ethernet frame, before or after the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

/// Where a packet is going, by its first IP header, which has its usual length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Going {
    to: IpAddr,
    protocol: u8,
    /// Where the header ends.
    payload: usize,
}

impl Frame {
    /// A packet of a connection, without payload; `None` where its ends are of different families.
    pub fn of(packet: Packet, source: SocketAddr, destination: SocketAddr) -> Option<Self> {
        let builder = PacketBuilder::ethernet2([0; 6], [0; 6]);
        let builder = match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                builder.ipv4(source.octets(), destination.octets(), TTL)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                builder.ipv6(source.octets(), destination.octets(), TTL)
            }
            _ => return None,
        };
        let (from, to) = (source.port(), destination.port());
        let mut frame = Vec::with_capacity(80);
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
        Some(Self(frame))
    }

    /// Whether this frame, which was for `destination`, is on its way to `backend` now.
    pub fn is_for(&self, backend: &Backend, forward: Forward, destination: SocketAddr) -> bool {
        let Self(bytes) = self;
        if forward == Forward::Dsr {
            return bytes.get(..6) == Some(&NextHop(backend.next_hop).mac_bytes());
        }
        let Endpoint { address, port } = Endpoint::of_entry(backend);
        let Some(going) = self.going().filter(|going| going.to == address) else {
            return false;
        };
        match forward {
            Forward::Dnat => {
                self.port_at(going.payload) == Some(port.unwrap_or(destination.port()))
            }
            Forward::Ipip => INNER.contains(&going.protocol),
            Forward::Gue { port } => {
                going.protocol == UDP && self.port_at(going.payload) == Some(port)
            }
            Forward::Dsr => false,
        }
    }

    fn going(&self) -> Option<Going> {
        let Self(bytes) = self;
        match bytes.get(ETHERNET)? >> 4 {
            4 => {
                let header: &[u8; 20] = bytes.get(ETHERNET..)?.first_chunk()?;
                let [.., a, b, c, d] = *header;
                Some(Going {
                    to: IpAddr::from([a, b, c, d]),
                    protocol: header[9],
                    payload: ETHERNET + header.len(),
                })
            }
            6 => {
                let header: &[u8; 40] = bytes.get(ETHERNET..)?.first_chunk()?;
                let to: &[u8; 16] = header.last_chunk()?;
                Some(Going {
                    to: IpAddr::from(*to),
                    protocol: header[6],
                    payload: ETHERNET + header.len(),
                })
            }
            _ => None,
        }
    }

    /// The destination port of a TCP or UDP header.
    fn port_at(&self, header: usize) -> Option<u16> {
        let port = self.0.get(header + 2..)?.first_chunk()?;
        Some(u16::from_be_bytes(*port))
    }
}

#[cfg(test)]
mod tests {
    use lb_common::{
        abi::backend::family,
        endian::{Be16, Be128},
        family::{Family, V4, V6},
        wire::{Accept, Cursor, Link, parse},
    };

    use super::*;

    const ENDS: [(&str, &str); 2] = [
        ("192.0.2.7:40000", "203.0.113.80:80"),
        ("[2001:db8::7]:40000", "[2001:db8:1::80]:80"),
    ];

    const BACKENDS: [&str; 2] = ["10.0.1.11", "fd00:1::11"];

    fn frame(packet: Packet, (source, destination): (&str, &str)) -> Frame {
        Frame::of(packet, socket(source), socket(destination)).unwrap()
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn backend(address: &str, port: u16) -> Backend {
        let (family, address) = match address.parse().unwrap() {
            IpAddr::V4(address) => (family::IPV4, Be128::from_leading(address.into())),
            IpAddr::V6(address) => (family::IPV6, address.into()),
        };
        Backend {
            family,
            address,
            port: Be16::new(port),
            next_hop: NextHop::new([2, 0, 0, 0, 0, 7], 1).0,
            ..Backend::default()
        }
    }

    /// What the program makes of a frame: its link header, then `outer`, then its packet.
    fn wrapped(outer: Vec<u8>, Frame(inner): &Frame) -> Frame {
        Frame([outer, inner[ETHERNET..].to_vec()].concat())
    }

    fn reads_as_meant<F: Family>(packet: Packet, frame: &Frame) {
        let Frame(mut bytes) = frame.clone();
        let mut cursor = Cursor::new(&mut bytes);
        let link = Link::read(&mut cursor, false).unwrap();
        assert_eq!(link.ether_type, F::ETHER_TYPE);
        let accept = Accept {
            udp: true,
            frame_length: None,
        };
        let parsed = parse::<F>(cursor, link, accept);
        let parsed = parsed.ok().unwrap_or_else(|| panic!("{packet:?}"));
        assert_eq!(parsed.transport.source_port().get(), 40_000);
        assert_eq!(parsed.transport.destination_port().get(), 80);
        assert_eq!(parsed.transport.flags().is_syn(), packet == Packet::Syn);
        assert_eq!(parsed.transport.is_udp(), packet == Packet::Datagram);
    }

    #[test]
    fn the_program_reads_what_was_meant() {
        for packet in [Packet::Syn, Packet::Segment, Packet::Datagram] {
            let [v4, v6] = ENDS.map(|ends| frame(packet, ends));
            reads_as_meant::<V4>(packet, &v4);
            reads_as_meant::<V6>(packet, &v6);
            for (frame, (_, destination)) in [&v4, &v6].into_iter().zip(ENDS) {
                assert_eq!(frame.going().unwrap().to, socket(destination).ip());
            }
        }
        assert_eq!(
            Frame::of(Packet::Syn, socket(ENDS[0].0), socket(ENDS[1].1)),
            None
        );
    }

    #[test]
    fn a_rewritten_frame_names_its_recipient() {
        for (ends, address) in ENDS.into_iter().zip(BACKENDS) {
            let at = |port| SocketAddr::new(address.parse().unwrap(), port).to_string();
            let destination = socket(ends.1);
            let (moved, kept) = (backend(address, 8080), backend(address, 0));
            let is_for = |frame: &Frame, backend| frame.is_for(backend, Forward::Dnat, destination);
            assert!(!is_for(&frame(Packet::Syn, ends), &moved));
            let rewritten = frame(Packet::Syn, (ends.0, &at(8080)));
            assert!(is_for(&rewritten, &moved));
            assert!(!is_for(&rewritten, &kept));
            assert!(is_for(&frame(Packet::Syn, (ends.0, &at(80))), &kept));
            assert!(!is_for(&Frame(Vec::new()), &moved));
        }
    }

    #[test]
    fn a_readdressed_frame_names_its_recipient() {
        let backend = backend(BACKENDS[0], 0);
        for ends in ENDS {
            let before = frame(Packet::Syn, ends);
            let is_for = |frame: &Frame| frame.is_for(&backend, Forward::Dsr, socket(ends.1));
            assert!(!is_for(&before));
            let Frame(mut bytes) = before;
            bytes[..6].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
            assert!(is_for(&Frame(bytes)));
        }
    }

    #[test]
    fn a_wrapped_frame_names_its_recipient() {
        let gue = Forward::Gue { port: 6080 };
        for ends in ENDS {
            let inner = frame(Packet::Syn, ends);
            for address in BACKENDS {
                let backend = backend(address, 0);
                let outer = |protocol: u8, port: u16| {
                    let link = PacketBuilder::ethernet2([0; 6], [0; 6]);
                    let ip = match address.parse().unwrap() {
                        IpAddr::V4(to) => link.ipv4([10, 0, 0, 1], to.octets(), TTL),
                        IpAddr::V6(to) => link.ipv6([1; 16], to.octets(), TTL),
                    };
                    let mut bytes = Vec::new();
                    match protocol {
                        UDP => ip.udp(50_000, port).write(&mut bytes, &[]),
                        other => ip.write(&mut bytes, other.into(), &[]),
                    }
                    .unwrap();
                    wrapped(bytes, &inner)
                };
                let is_for =
                    |frame: Frame, forward| frame.is_for(&backend, forward, socket(ends.1));
                assert!(is_for(outer(4, 0), Forward::Ipip));
                assert!(is_for(outer(41, 0), Forward::Ipip));
                assert!(is_for(outer(UDP, 6080), gue));
                assert!(!is_for(outer(UDP, 6081), gue));
                assert!(!is_for(outer(UDP, 6080), Forward::Ipip));
                assert!(!is_for(inner.clone(), Forward::Ipip));
                assert!(!is_for(inner.clone(), gue));
            }
        }
    }
}

//! A packet before it is one: what its headers shall say, and what is done to its bytes after that.
//!
//! A recipe gives a frame whose lengths and checksums are right; [`Mutation`]s then spoil it. So a packet
//! that shows a difference can be made smaller step by step: without this mutation, without that header.

use std::net::IpAddr;

use super::mutation::Mutation;
use crate::model::{checksum, link::ether_type, transport::protocol};

/// A packet before it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Destination and source.
    pub macs: [[u8; 6]; 2],
    /// VLAN tags, each a protocol and a control word.
    pub tags: Vec<[u16; 2]>,
    /// What follows.
    pub network: Network,
    /// Bytes behind the packet.
    pub padding: usize,
    /// What is done to the frame.
    pub mutations: Vec<Mutation>,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// An IP packet.
    Ip(Ip),
    /// Something else.
    Other {
        /// Its EtherType.
        ether_type: u16,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// An IP packet; both addresses are of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hops: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IPv4: *don't fragment*.
    pub dont_fragment: bool,
    /// Offset in units of 8 bytes, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    /// IPv4: options, in words.
    pub options: Vec<u8>,
    /// IPv6: extension headers, each its next header number and its bytes without the first two.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// What it carries.
    pub transport: Transport,
    /// Bytes that follow the transport header.
    pub payload: usize,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A segment.
    Tcp {
        /// Source and destination.
        ports: [u16; 2],
        /// All of them.
        flags: u8,
        /// Options, in words.
        options: Vec<u8>,
    },
    /// A datagram.
    Udp {
        /// Source and destination.
        ports: [u16; 2],
        /// Its checksum.
        sum: Sum,
    },
    /// Something else: a protocol number, and the payload at once.
    Other(u8),
}

/// A UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// As the bytes have it.
    Right,
    /// Whatever they are; 0 is none.
    Is(u16),
}

/// The next header of a fragment header.
const FRAGMENT: u8 = 44;

impl Recipe {
    /// The frame, at least an Ethernet header long.
    pub fn frame(&self) -> Vec<u8> {
        let Self {
            macs,
            tags,
            network,
            padding,
            mutations,
        } = self;
        let mut frame = macs.concat();
        for tag in tags {
            frame.extend(tag.iter().flat_map(|word| word.to_be_bytes()));
        }
        let (ether_type, packet) = match network {
            Network::Other { ether_type, bytes } => (*ether_type, bytes.clone()),
            Network::Ip(ip) => ip.packet(),
        };
        frame.extend(ether_type.to_be_bytes());
        frame.extend(packet);
        // Not zeros: what is copied where it should not be is seen.
        frame.resize(frame.len() + padding, 0xee);
        for mutation in mutations {
            mutation.apply(&mut frame);
        }
        frame
    }
}

impl Ip {
    /// EtherType and bytes.
    fn packet(&self) -> (u16, Vec<u8>) {
        let transport = self.transport_bytes();
        match (self.source, self.destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) => (ether_type::IPV4, self.ipv4(&transport)),
            _ => (ether_type::IPV6, self.ipv6(&transport)),
        }
    }

    fn ipv4(&self, transport: &[u8]) -> Vec<u8> {
        let words = 5 + self.options.len() / 4;
        let length = words * 4 + transport.len();
        let mut header = vec![0x40 | words as u8, self.traffic_class];
        header.extend((length as u16).to_be_bytes());
        let flags = u16::from(self.dont_fragment) << 14;
        let (offset, more) = self.fragment.unwrap_or((0, false));
        header.extend([0xbe, 0xef]);
        header.extend((flags | u16::from(more) << 13 | offset & 0x1fff).to_be_bytes());
        header.extend([self.hops, self.transport.number(), 0, 0]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(&self.options);
        let check = checksum::full(&header).to_be_bytes();
        header[10..12].copy_from_slice(&check);
        [&header, transport].concat()
    }

    fn ipv6(&self, transport: &[u8]) -> Vec<u8> {
        let mut extensions = self.extensions.clone();
        if let Some((offset, more)) = self.fragment {
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            extensions.push((FRAGMENT, vec![high, low, 0, 0, 0, 9]));
        }
        let mut chain = Vec::new();
        let behind = extensions.iter().skip(1).map(|(number, _)| *number);
        let behind = behind.chain([self.transport.number()]);
        for ((number, bytes), next) in extensions.iter().zip(behind) {
            let units = match *number {
                FRAGMENT => 0,
                _ => (bytes.len() + 2) / 8 - 1,
            };
            chain.extend([next, units as u8]);
            chain.extend(bytes);
        }
        let first = extensions.first().map(|(number, _)| *number);
        let length = chain.len() + transport.len();
        let begin = 6 << 28 | u32::from(self.traffic_class) << 20 | 0x5_4321;
        let mut packet = begin.to_be_bytes().to_vec();
        packet.extend((length as u16).to_be_bytes());
        packet.push(first.unwrap_or_else(|| self.transport.number()));
        packet.push(self.hops);
        packet.extend(octets(self.source));
        packet.extend(octets(self.destination));
        packet.extend(chain);
        packet.extend(transport);
        packet
    }

    /// Transport header and payload, with the checksum over the pseudo header.
    fn transport_bytes(&self) -> Vec<u8> {
        let (mut bytes, field) = match &self.transport {
            Transport::Tcp {
                ports,
                flags,
                options,
            } => {
                let mut bytes: Vec<u8> = ports.iter().flat_map(|p| p.to_be_bytes()).collect();
                bytes.extend([1, 2, 3, 4, 5, 6, 7, 8]);
                let words = 5 + options.len() / 4;
                bytes.extend([(words as u8) << 4, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                bytes.extend(options);
                (bytes, Some(16))
            }
            Transport::Udp { ports, sum } => {
                let mut bytes: Vec<u8> = ports.iter().flat_map(|p| p.to_be_bytes()).collect();
                bytes.extend(((8 + self.payload) as u16).to_be_bytes());
                let (sum, field) = match sum {
                    Sum::Right => (0, Some(6)),
                    Sum::Is(sum) => (*sum, None),
                };
                bytes.extend(sum.to_be_bytes());
                (bytes, field)
            }
            Transport::Other(_) => (Vec::new(), None),
        };
        bytes.extend((0..self.payload).map(|n| n as u8));
        if let Some(field) = field {
            let mut summed = [octets(self.source), octets(self.destination)].concat();
            summed.extend((bytes.len() as u32).to_be_bytes());
            summed.extend([0, 0, 0, self.transport.number()]);
            summed.extend(&bytes);
            let check = match (checksum::full(&summed), &self.transport) {
                (0, Transport::Udp { .. }) => 0xffff,
                (check, _) => check,
            };
            bytes[field..field + 2].copy_from_slice(&check.to_be_bytes());
        }
        bytes
    }
}

impl Transport {
    /// IANA protocol number.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Tcp { .. } => protocol::TCP,
            Self::Udp { .. } => protocol::UDP,
            Self::Other(number) => *number,
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    fn recipe(source: &str, destination: &str, transport: Transport) -> Recipe {
        Recipe {
            macs: [[1; 6], [2; 6]],
            tags: vec![[0x8100, 7]],
            network: Network::Ip(Ip {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                hops: 64,
                traffic_class: 0xb9,
                dont_fragment: true,
                fragment: None,
                options: vec![1, 1, 1, 0],
                extensions: vec![(0, vec![1; 6]), (60, vec![1; 14])],
                transport,
                payload: 7,
            }),
            padding: 5,
            mutations: Vec::new(),
        }
    }

    #[test]
    fn another_implementation_reads_what_was_meant() {
        let tcp = Transport::Tcp {
            ports: [40_000, 80],
            flags: 0x12,
            options: vec![1; 8],
        };
        let udp = Transport::Udp {
            ports: [40_000, 53],
            sum: Sum::Right,
        };
        for transport in [tcp, udp] {
            for (source, destination) in [("10.0.0.1", "10.0.0.2"), ("fd77::1", "fd77::2")] {
                let frame = recipe(source, destination, transport.clone()).frame();
                let packet = SlicedPacket::from_ethernet(&frame).unwrap();
                assert_eq!(packet.vlan_ids().len(), 1);
                let net = packet.net.expect("an IP packet");
                if let NetSlice::Ipv4(ip) = &net {
                    let header = ip.header().to_header();
                    assert_eq!(header.calc_header_checksum(), header.header_checksum);
                }
                match packet.transport.expect("a transport header") {
                    TransportSlice::Tcp(tcp) => {
                        assert_eq!((tcp.source_port(), tcp.destination_port()), (40_000, 80));
                        assert!(tcp.syn() && tcp.ack() && !tcp.fin());
                        let sum = match &net {
                            NetSlice::Ipv4(ip) => {
                                let header = ip.header();
                                tcp.calc_checksum_ipv4(header.source(), header.destination())
                            }
                            NetSlice::Ipv6(ip) => {
                                let header = ip.header();
                                tcp.calc_checksum_ipv6(header.source(), header.destination())
                            }
                            NetSlice::Arp(_) => panic!("an IP packet"),
                        };
                        assert_eq!(sum.unwrap(), tcp.checksum());
                        assert_eq!(tcp.payload(), [0, 1, 2, 3, 4, 5, 6]);
                    }
                    TransportSlice::Udp(udp) => {
                        assert_eq!((udp.source_port(), udp.destination_port()), (40_000, 53));
                        assert_eq!(
                            (udp.length(), udp.payload()),
                            (15, &[0, 1, 2, 3, 4, 5, 6][..])
                        );
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

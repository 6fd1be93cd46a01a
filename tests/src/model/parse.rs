//! From a frame to a packet, and back (rules 1 to 6).

use std::net::IpAddr;

use super::{
    ipv4::Ipv4,
    ipv6::Ipv6,
    link::{Link, ether_type},
    transport::{self, Transport},
    verdict::Verdict,
    world::{Features, FlowTuple},
};

/// A TCP or UDP packet in its frame, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The link-layer header.
    pub link: Link,
    /// The IP header.
    pub ip: Ip,
    /// Whether it is the first of several fragments.
    pub is_first_fragment: bool,
    /// The rest of the IP packet.
    pub transport: Transport,
    /// What the frame has behind it.
    pub padding: Vec<u8>,
}

/// An IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ip {
    /// With its options.
    V4(Ipv4),
    /// With its extension headers.
    V6(Ipv6),
}

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where a packet comes from.
    Source,
    /// Where it goes.
    Destination,
}

impl Packet {
    /// Takes a frame apart.
    ///
    /// # Errors
    /// What becomes of it where it is no packet to look at.
    pub fn parse(frame: &[u8], features: &Features) -> Result<Self, Verdict> {
        let (link, rest) = Link::parse(frame, features.vlan)?;
        match link.ether_type {
            ether_type::IPV4 => Self::parse_ipv4(link, rest, features),
            ether_type::IPV6 if features.ipv6 => Self::parse_ipv6(link, rest, features),
            _ => Err(Verdict::Pass),
        }
    }

    fn parse_ipv4(link: Link, packet: &[u8], features: &Features) -> Result<Self, Verdict> {
        let (header, rest) = Ipv4::parse(packet)?;
        if !transport::is_looked_at(header.protocol, features.udp) || header.is_later_fragment() {
            return Err(Verdict::Pass);
        }
        let is_first_fragment = header.is_first_fragment();
        let length = header.payload_length();
        let (transport, padding) =
            Transport::parse(header.protocol, is_first_fragment, length, rest)?;
        Ok(Self {
            link,
            ip: Ip::V4(header),
            is_first_fragment,
            transport,
            padding: padding.to_vec(),
        })
    }

    fn parse_ipv6(link: Link, packet: &[u8], features: &Features) -> Result<Self, Verdict> {
        let (header, chain, rest) = Ipv6::parse(packet, features.udp)?;
        let length = header.rest_length();
        let (transport, padding) =
            Transport::parse(chain.protocol, chain.is_first_fragment, length, rest)?;
        Ok(Self {
            link,
            ip: Ip::V6(header),
            is_first_fragment: chain.is_first_fragment,
            transport,
            padding: padding.to_vec(),
        })
    }

    /// Both ends of its flow.
    pub fn tuple(&self) -> FlowTuple {
        FlowTuple {
            source: self.ip.source(),
            destination: self.ip.destination(),
            source_port: self.transport.source_port(),
            destination_port: self.transport.destination_port(),
            protocol: self.transport.protocol,
        }
    }

    /// The same with another address and port at one end; checksums change by their difference.
    ///
    /// # Panics
    /// Where the address is of the other IP version: no configuration translates.
    pub fn readdressed(self, end: End, address: IpAddr, port: u16) -> Self {
        let before = match end {
            End::Source => self.ip.source(),
            End::Destination => self.ip.destination(),
        };
        let (before, after) = (octets(before), octets(address));
        Self {
            ip: self.ip.readdressed(end, address),
            transport: self.transport.readdressed(end, port, &before, &after),
            ..self
        }
    }

    /// The IP packet.
    pub fn ip_bytes(&self) -> Vec<u8> {
        [self.ip.bytes(), self.transport.bytes.clone()].concat()
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        [self.link.bytes(), self.ip_bytes(), self.padding.clone()].concat()
    }
}

impl Ip {
    /// Where it comes from.
    pub const fn source(&self) -> IpAddr {
        match self {
            Self::V4(header) => IpAddr::V4(header.source),
            Self::V6(header) => IpAddr::V6(header.source),
        }
    }

    /// Where it goes.
    pub const fn destination(&self) -> IpAddr {
        match self {
            Self::V4(header) => IpAddr::V4(header.destination),
            Self::V6(header) => IpAddr::V6(header.destination),
        }
    }

    /// TTL or hop limit.
    pub const fn hops_left(&self) -> u8 {
        match self {
            Self::V4(header) => header.ttl,
            Self::V6(header) => header.hop_limit,
        }
    }

    /// Type of service or traffic class: DSCP and ECN.
    pub const fn traffic_class(&self) -> u8 {
        match self {
            Self::V4(header) => header.type_of_service,
            Self::V6(header) => header.traffic_class,
        }
    }

    /// The IP length: IPv4's total length, or 40 plus IPv6's payload length.
    pub fn length(&self) -> usize {
        match self {
            Self::V4(header) => usize::from(header.total_length),
            Self::V6(header) => super::ipv6::LENGTH + usize::from(header.payload_length),
        }
    }

    /// The same after a hop; there must be more than one left.
    pub fn after_a_hop(self) -> Self {
        match self {
            Self::V4(header) => Self::V4(header.after_a_hop()),
            Self::V6(header) => Self::V6(Ipv6 {
                hop_limit: header.hop_limit - 1,
                ..header
            }),
        }
    }

    fn readdressed(self, end: End, address: IpAddr) -> Self {
        match (self, address) {
            (Self::V4(header), IpAddr::V4(address)) => Self::V4(header.readdressed(end, address)),
            (Self::V6(header), IpAddr::V6(address)) => Self::V6(header.readdressed(end, address)),
            (_, address) => panic!("{address} is of the other IP version"),
        }
    }

    /// The header as it stands in a packet.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::V4(header) => header.bytes(),
            Self::V6(header) => header.bytes(),
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

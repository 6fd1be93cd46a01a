//! Packets in tunnels, and what is in them, built by etherparse.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel, Ipv6Header, PacketBuilder, TcpHeader,
    UdpHeader,
};

/// Where GUE packets go, unless told otherwise.
pub const GUE_PORT: u16 = 6080;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;

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
        let mut frame = self.link(match self.source {
            IpAddr::V4(_) => ETHERTYPE_IPV4,
            IpAddr::V6(_) => ETHERTYPE_IPV6,
        });
        let (protocol, udp) = match self.encapsulation {
            Encapsulation::Ipip if is_ipv4(&self.inner) => (IpNumber::IPV4, Vec::new()),
            Encapsulation::Ipip => (IpNumber::IPV6, Vec::new()),
            Encapsulation::Gue => (IpNumber::UDP, self.udp()),
        };
        let payload = [udp, self.inner.clone()].concat();
        frame.extend(self.outer(protocol, payload.len()));
        frame.extend(payload);
        frame
    }

    /// The frame as the kernel is to get it.
    pub fn taken_off(&self) -> Vec<u8> {
        self.with_inner(&self.inner)
    }

    /// The same with another inner packet.
    pub fn with_inner(&self, inner: &[u8]) -> Vec<u8> {
        let mut frame = self.link(if is_ipv4(inner) {
            ETHERTYPE_IPV4
        } else {
            ETHERTYPE_IPV6
        });
        frame.extend(inner);
        frame
    }

    /// Bytes up to the outer IP header.
    pub fn link_length(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Bytes of the outer headers.
    pub fn outer_length(&self) -> usize {
        let ip = match self.source {
            IpAddr::V4(_) => Ipv4Header::MIN_LEN + self.options.len(),
            IpAddr::V6(_) => IPV6_HEADER,
        };
        match self.encapsulation {
            Encapsulation::Ipip => ip,
            Encapsulation::Gue => ip + UDP_HEADER,
        }
    }

    fn link(&self, ether_type: u16) -> Vec<u8> {
        let mut link = vec![2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a];
        for [ether_type, control] in &self.tags {
            link.extend(ether_type.to_be_bytes());
            link.extend(control.to_be_bytes());
        }
        link.extend(ether_type.to_be_bytes());
        link
    }

    fn outer(&self, protocol: IpNumber, payload: usize) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Header {
                    dscp: (self.traffic_class >> 2).try_into().expect("6 bits"),
                    ecn: (self.traffic_class & 3).try_into().expect("2 bits"),
                    dont_fragment: true,
                    time_to_live: 64,
                    protocol,
                    source: source.octets(),
                    destination: destination.octets(),
                    options: Ipv4Options::try_from(&*self.options).expect("options in words"),
                    ..Ipv4Header::default()
                };
                header.set_payload_len(payload).expect("a packet that fits");
                header.header_checksum = header.calc_header_checksum();
                header.to_bytes().to_vec()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6Header {
                traffic_class: self.traffic_class,
                flow_label: Ipv6FlowLabel::try_new(0x5_4321).expect("20 bits"),
                payload_length: payload.try_into().expect("a packet that fits"),
                next_header: protocol,
                hop_limit: 64,
                source: source.octets(),
                destination: destination.octets(),
            }
            .to_bytes()
            .to_vec(),
            (source, destination) => panic!("{source} and {destination} are of two families"),
        }
    }

    /// Without a checksum, as senders of GUE leave it.
    fn udp(&self) -> Vec<u8> {
        let header = UdpHeader {
            source_port: 0xc123,
            destination_port: self.port,
            length: (UDP_HEADER + self.inner.len())
                .try_into()
                .expect("a packet that fits"),
            checksum: 0,
        };
        header.to_bytes().to_vec()
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

/// A UDP packet from its IP header on, with a traffic class and IPv4 options.
///
/// # Panics
/// Where the addresses are none or of two families, or the payload is too long.
pub fn datagram(source: &str, destination: &str, traffic_class: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to) = ends(source, destination);
    let mut packet = Vec::new();
    let builder = ip(from.ip(), to.ip(), traffic_class).udp(from.port(), to.port());
    builder
        .write(&mut packet, payload)
        .expect("a packet that fits");
    packet
}

/// A SYN from its IP header on.
///
/// # Panics
/// As [`datagram`].
pub fn syn(source: &str, destination: &str) -> Vec<u8> {
    let (from, to) = ends(source, destination);
    let header = TcpHeader {
        syn: true,
        ..TcpHeader::new(from.port(), to.port(), 0x0102_0304, 0xffff)
    };
    let mut packet = Vec::new();
    let builder = ip(from.ip(), to.ip(), 0).tcp_header(header);
    builder.write(&mut packet, &[]).expect("a packet that fits");
    packet
}

fn ends(source: &str, destination: &str) -> (SocketAddr, SocketAddr) {
    let parse = |text: &str| text.parse().expect("an address and a port");
    (parse(source), parse(destination))
}

fn ip(
    source: IpAddr,
    destination: IpAddr,
    traffic_class: u8,
) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                dscp: (traffic_class >> 2).try_into().expect("6 bits"),
                ecn: (traffic_class & 3).try_into().expect("2 bits"),
                identification: 0xbeef,
                time_to_live: 63,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv4Header::default()
            };
            PacketBuilder::ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                traffic_class,
                flow_label: Ipv6FlowLabel::try_new(0xa_bcde).expect("20 bits"),
                hop_limit: 63,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            PacketBuilder::ip(etherparse::IpHeaders::Ipv6(header, Default::default()))
        }
        (source, destination) => panic!("{source} and {destination} are of two families"),
    }
}

fn is_ipv4(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 4)
}

//! TCP segments and UDP datagrams in Ethernet frames. Every header is built by etherparse, with its
//! checksums computed in full.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel, Ipv6Header,
    TcpHeader, UdpHeader,
};
use lb_common::wire::tcp::Flags;

/// A TCP segment, or a UDP datagram; everything that the program may change is a field.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Source and destination MAC.
    pub link: [[u8; 6]; 2],
    /// VLAN tags, the outer one first: EtherType and control information.
    pub tags: Vec<[u16; 2]>,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port, of the same family.
    pub destination: SocketAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The TCP flags; `None` makes it a UDP datagram.
    pub flags: Option<u8>,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, of IPv6.
    pub flow_label: u32,
    /// Options of IPv4, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Extension headers of IPv6.
    pub extensions: Vec<Extension>,
    /// What follows the transport header.
    pub payload: Vec<u8>,
}

/// An IPv6 extension header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// What announces it.
    pub number: u8,
    /// All of it, but that the first byte becomes what follows.
    pub bytes: Vec<u8>,
}

impl Extension {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Destination options.
    pub const DESTINATION: u8 = 60;

    /// A header of so many bytes, 8 to 2048 and a multiple of 8, that says nothing: padding as options,
    /// or a route that is at its end.
    ///
    /// # Panics
    /// Where there is none of this length.
    pub fn sized(number: u8, length: usize) -> Self {
        let units = u8::try_from(length / 8 - 1).expect("up to 2048 bytes");
        let mut bytes = vec![0; length];
        bytes[1] = units;
        if number != Self::ROUTING {
            // PadN options (RFC 8200, section 4.2): type, length, zeros.
            let mut at = 2;
            while at < length {
                let padding = (length - at - 2).min(255);
                bytes[at] = 1;
                bytes[at + 1] = padding as u8;
                at += 2 + padding;
                if length - at == 1 {
                    // Pad1.
                    at += 1;
                }
            }
        }
        Self { number, bytes }
    }

    /// A fragment header: the offset in units of 8 bytes, and whether more fragments follow.
    pub fn fragment(offset: u16, more: bool) -> Self {
        let field = (offset << 3 | u16::from(more)).to_be_bytes();
        let mut bytes = vec![0, 0, field[0], field[1]];
        bytes.extend(0xbeef_cafe_u32.to_be_bytes());
        Self {
            number: Self::FRAGMENT,
            bytes,
        }
    }
}

impl Segment {
    /// A segment without options and payload.
    ///
    /// # Panics
    /// When an address is neither `a.b.c.d:port` nor `[a::b]:port`.
    pub fn new(source: &str, destination: &str, flags: u8) -> Self {
        let parse = |text: &str| -> SocketAddr { text.parse().expect("an address and a port") };
        Self {
            link: [[0; 6]; 2],
            tags: Vec::new(),
            source: parse(source),
            destination: parse(destination),
            ttl: 64,
            flags: Some(flags),
            traffic_class: 0,
            flow_label: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// A datagram with a payload.
    ///
    /// # Panics
    /// As [`Segment::new`].
    pub fn datagram(source: &str, destination: &str, payload: &[u8]) -> Self {
        Self {
            flags: None,
            ..Self::new(source, destination, 0).payload(payload)
        }
    }

    /// The same between these stations.
    pub fn link(mut self, from: [u8; 6], to: [u8; 6]) -> Self {
        self.link = [from, to];
        self
    }

    /// The same with VLAN tags.
    pub fn tags(mut self, tags: &[[u16; 2]]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    /// The same with a payload.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// The same with a time to live.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// The same with DSCP and ECN.
    pub fn traffic_class(mut self, traffic_class: u8) -> Self {
        self.traffic_class = traffic_class;
        self
    }

    /// The same with extension headers.
    pub fn extensions(mut self, extensions: &[Extension]) -> Self {
        self.extensions = extensions.to_vec();
        self
    }

    /// IANA protocol number.
    pub const fn protocol(&self) -> u8 {
        match self.flags {
            Some(_) => IpNumber::TCP.0,
            None => IpNumber::UDP.0,
        }
    }

    /// Bytes from the IP header on.
    pub fn ip_length(&self) -> u64 {
        let header = match self.source {
            SocketAddr::V4(_) => Ipv4Header::MIN_LEN + self.options.len(),
            SocketAddr::V6(_) => Ipv6Header::LEN + self.chain().len(),
        };
        let transport = match self.flags {
            Some(_) => TcpHeader::MIN_LEN,
            None => UdpHeader::LEN,
        };
        (header + transport + self.payload.len()) as u64
    }

    /// Bytes before the IP header.
    pub fn link_length(&self) -> usize {
        Ethernet2Header::LEN + 4 * self.tags.len()
    }

    /// The frame.
    ///
    /// # Panics
    /// When the fields do not make a packet: too long, of two families, or options of a wrong length.
    pub fn bytes(&self) -> Vec<u8> {
        self.frame(&self.packet())
    }

    /// Another packet behind this one's link header: the stations and the tags. The EtherType is that
    /// packet's.
    pub fn frame(&self, packet: &[u8]) -> Vec<u8> {
        frame(self.link, &self.tags, packet)
    }

    /// The packet, from its IP header on.
    ///
    /// # Panics
    /// As [`Segment::bytes`].
    pub fn packet(&self) -> Vec<u8> {
        let transport = self.transport();
        let mut packet = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Header {
                    dscp: (self.traffic_class >> 2).try_into().expect("6 bits"),
                    ecn: (self.traffic_class & 3).try_into().expect("2 bits"),
                    identification: 0xbeef,
                    time_to_live: self.ttl,
                    protocol: IpNumber(self.protocol()),
                    source: source.octets(),
                    destination: destination.octets(),
                    options: Ipv4Options::try_from(self.options.as_slice())
                        .expect("options in words"),
                    ..Ipv4Header::default()
                };
                let length = transport.len() + self.payload.len();
                header.set_payload_len(length).expect("a packet that fits");
                header.header_checksum = header.calc_header_checksum();
                header.to_bytes().to_vec()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let extensions = self.chain();
                let length = extensions.len() + transport.len() + self.payload.len();
                let header = Ipv6Header {
                    traffic_class: self.traffic_class,
                    flow_label: Ipv6FlowLabel::try_new(self.flow_label).expect("20 bits"),
                    payload_length: length.try_into().expect("a packet that fits"),
                    next_header: IpNumber(self.announced(0)),
                    hop_limit: self.ttl,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                let mut bytes = header.to_bytes().to_vec();
                bytes.extend(extensions);
                bytes
            }
            (source, destination) => panic!("{source} and {destination} are of two families"),
        };
        packet.extend(transport);
        packet.extend(&self.payload);
        packet
    }

    /// What announces the extension header of this number, or what follows the last.
    fn announced(&self, number: usize) -> u8 {
        let extension = self.extensions.get(number);
        extension.map_or_else(|| self.protocol(), |extension| extension.number)
    }

    /// The extension headers, each announcing the next.
    fn chain(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (number, extension) in self.extensions.iter().enumerate() {
            let first = all.len();
            all.extend(&extension.bytes);
            all[first] = self.announced(number + 1);
        }
        all
    }

    /// The transport header. Its checksum is over the whole payload.
    fn transport(&self) -> Vec<u8> {
        let (from, to, payload) = (self.source.port(), self.destination.port(), &self.payload);
        let Some(flags) = self.flags else {
            let header = match (self.source.ip(), self.destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    let addresses = Ipv4Header {
                        source: source.octets(),
                        destination: destination.octets(),
                        ..Ipv4Header::default()
                    };
                    UdpHeader::with_ipv4_checksum(from, to, &addresses, payload)
                }
                (source, destination) => {
                    let addresses = Ipv6Header {
                        source: octets(source),
                        destination: octets(destination),
                        ..Ipv6Header::default()
                    };
                    UdpHeader::with_ipv6_checksum(from, to, &addresses, payload)
                }
            };
            return header.expect("a packet that fits").to_bytes().to_vec();
        };
        let has = |flag: u8| flags & flag != 0;
        let mut header = TcpHeader {
            syn: has(Flags::SYN),
            fin: has(Flags::FIN),
            rst: has(Flags::RST),
            ack: has(Flags::ACK),
            acknowledgment_number: if has(Flags::ACK) { 0x0506_0708 } else { 0 },
            ..TcpHeader::new(from, to, 0x0102_0304, 0xffff)
        };
        let checksum = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload)
            }
            (source, destination) => {
                header.calc_checksum_ipv6_raw(octets(source), octets(destination), payload)
            }
        };
        header.checksum = checksum.expect("a packet that fits");
        header.to_bytes().to_vec()
    }
}

/// A packet behind a link header: between these stations, source and destination, and with these tags.
pub(super) fn frame(link: [[u8; 6]; 2], tags: &[[u16; 2]], packet: &[u8]) -> Vec<u8> {
    let inner = match packet.first().map(|first| first >> 4) {
        Some(6) => EtherType::IPV6,
        _ => EtherType::IPV4,
    };
    let mut types = tags.iter().map(|[announcing, _]| EtherType(*announcing));
    let [source, destination] = link;
    let header = Ethernet2Header {
        source,
        destination,
        ether_type: types.next().unwrap_or(inner),
    };
    let mut frame = header.to_bytes().to_vec();
    for [_, control] in tags {
        let EtherType(next) = types.next().unwrap_or(inner);
        frame.extend(control.to_be_bytes());
        frame.extend(next.to_be_bytes());
    }
    frame.extend(packet);
    frame
}

/// The other family is refused where the IP header is made.
const fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn another_reader_finds_the_transport_header_behind_everything() {
        let all = [
            Extension::sized(Extension::HOP_BY_HOP, 8),
            Extension::sized(Extension::DESTINATION, 264),
            Extension::sized(Extension::ROUTING, 24),
            Extension::fragment(0, false),
        ];
        for count in 0..=all.len() {
            let segment = Segment::new("[fd77:1::10]:40000", "[fd77::80]:80", Flags::SYN)
                .extensions(&all[..count])
                .tags(&[[0x88a8, 0x6007], [0x8100, 0x0fff]])
                .payload(b"payload");
            let bytes = segment.bytes();
            assert_eq!(
                bytes.len() as u64,
                segment.link_length() as u64 + segment.ip_length()
            );
            let read = SlicedPacket::from_ethernet(&bytes).expect("a packet");
            assert_eq!(read.link_exts.len(), 2);
            let Some(TransportSlice::Tcp(tcp)) = read.transport else {
                panic!("{count}: {:?}", read.transport)
            };
            assert_eq!(
                (tcp.destination_port(), tcp.payload()),
                (80, &b"payload"[..])
            );
        }
    }
}

//! Outer headers of tunnels, built by etherparse.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel, Ipv6Header, UdpHeader};

/// Where GUE packets go, unless told otherwise.
pub const GUE_PORT: u16 = 6080;

/// The outer headers of a packet in a tunnel.
#[derive(Clone, Debug)]
pub struct Outer {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Options of IPv4, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Flow label, of IPv6.
    pub flow_label: u32,
    /// Source and destination port of GUE; `None`: IP in IP.
    pub ports: Option<[u16; 2]>,
}

impl Outer {
    /// Bytes of the headers.
    pub fn length(&self) -> usize {
        let ip = match self.source {
            IpAddr::V4(_) => Ipv4Header::MIN_LEN + self.options.len(),
            IpAddr::V6(_) => Ipv6Header::LEN,
        };
        match self.ports {
            Some(_) => ip + UdpHeader::LEN,
            None => ip,
        }
    }

    /// The headers with the packet behind them.
    ///
    /// # Panics
    /// When that is not a packet: too long, or of two families.
    pub fn around(&self, inner: &[u8]) -> Vec<u8> {
        let announced = match inner.first().map(|first| first >> 4) {
            Some(6) => IpNumber::IPV6,
            _ => IpNumber::IPV4,
        };
        let (protocol, udp) = match self.ports {
            None => (announced, Vec::new()),
            Some([source_port, destination_port]) => {
                let header = UdpHeader {
                    source_port,
                    destination_port,
                    length: (UdpHeader::LEN + inner.len())
                        .try_into()
                        .expect("a packet that fits"),
                    checksum: 0,
                };
                (IpNumber::UDP, header.to_bytes().to_vec())
            }
        };
        let mut packet = self.ip(protocol, udp.len() + inner.len());
        packet.extend(udp);
        packet.extend(inner);
        packet
    }

    fn ip(&self, protocol: IpNumber, length: usize) -> Vec<u8> {
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
                header.set_payload_len(length).expect("a packet that fits");
                header.header_checksum = header.calc_header_checksum();
                header.to_bytes().to_vec()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6Header {
                traffic_class: self.traffic_class,
                flow_label: Ipv6FlowLabel::try_new(self.flow_label).expect("20 bits"),
                payload_length: length.try_into().expect("a packet that fits"),
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
}

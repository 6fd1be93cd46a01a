//! A strict reading of what left the program: every length fits the one around it, every checksum is
//! computed anew from all bytes that it covers and is right. By etherparse, and knowing nothing of what
//! was expected.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, NetSlice, SlicedPacket,
    TcpHeader, TransportSlice, UdpHeader,
};

/// A frame.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Source and destination MAC.
    pub link: [[u8; 6]; 2],
    /// VLAN tags, the outer one first: EtherType and control information.
    pub tags: Vec<[u16; 2]>,
    /// What it carries.
    pub packet: Packet<'a>,
    /// What is behind that.
    pub padding: &'a [u8],
}

/// An IP packet.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Its header.
    pub header: Header,
    /// What follows the header and its extensions.
    pub protocol: u8,
    /// The bytes from there on.
    pub payload: &'a [u8],
    /// Source and destination port, where there are some.
    pub ports: Option<[u16; 2]>,
}

/// An IP header.
#[derive(Clone, Debug)]
pub enum Header {
    /// IPv4.
    V4(Ipv4Header),
    /// IPv6.
    V6(Ipv6Header),
}

/// What a UDP checksum of zero is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchecked {
    /// Wrong.
    Refused,
    /// All right: the sender left it out.
    Allowed,
}

impl<'a> Frame<'a> {
    /// Reads a frame.
    pub fn read(bytes: &'a [u8], unchecked: Unchecked) -> Result<Self> {
        let (link, mut rest) = Ethernet2Header::from_slice(bytes)?;
        let mut announced = link.ether_type;
        let mut tags = Vec::new();
        while matches!(
            announced,
            EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING
        ) {
            let (tag, behind) = rest.split_first_chunk::<4>().context("a tag is cut")?;
            let [a, b, c, d] = *tag;
            tags.push([announced.0, u16::from_be_bytes([a, b])]);
            (announced, rest) = (EtherType(u16::from_be_bytes([c, d])), behind);
        }
        let packet = Packet::read(rest, unchecked)?;
        let wanted = match packet.header {
            Header::V4(_) => EtherType::IPV4,
            Header::V6(_) => EtherType::IPV6,
        };
        ensure!(announced == wanted, "{announced:?} announces {wanted:?}");
        let padding = &rest[packet.bytes.len()..];
        Ok(Self {
            link: [link.source, link.destination],
            tags,
            packet,
            padding,
        })
    }
}

impl<'a> Packet<'a> {
    /// Reads a packet that `bytes` begin with.
    pub fn read(bytes: &'a [u8], unchecked: Unchecked) -> Result<Self> {
        let read = SlicedPacket::from_ip(bytes)?;
        let (header, length) = match read.net.as_ref().context("no IP")? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                let checksum = header.calc_header_checksum();
                ensure!(
                    header.header_checksum == checksum,
                    "header checksum {:#06x} is {checksum:#06x}",
                    header.header_checksum
                );
                let length = header.total_len;
                (Header::V4(header), usize::from(length))
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header().to_header();
                let length = header.payload_length;
                (Header::V6(header), Ipv6Header::LEN + usize::from(length))
            }
            NetSlice::Arp(_) => bail!("ARP"),
        };
        let payload = read.ip_payload().context("no payload")?;
        let packet = Self {
            bytes: bytes.get(..length).context("longer than the frame")?,
            header,
            protocol: payload.ip_number.0,
            payload: payload.payload,
            ports: match &read.transport {
                Some(TransportSlice::Tcp(tcp)) => Some([tcp.source_port(), tcp.destination_port()]),
                Some(TransportSlice::Udp(udp)) => Some([udp.source_port(), udp.destination_port()]),
                _ => None,
            },
        };
        let (header, behind) = (packet.header_length(), packet.payload.len());
        ensure!(
            header + behind == length,
            "{header} + {behind} is not {length}"
        );
        match IpNumber(packet.protocol) {
            IpNumber::TCP => packet.check_tcp()?,
            IpNumber::UDP => packet.check_udp(unchecked)?,
            _ => {}
        }
        Ok(packet)
    }

    /// Source and destination address.
    pub fn addresses(&self) -> [IpAddr; 2] {
        match &self.header {
            Header::V4(header) => [header.source.into(), header.destination.into()],
            Header::V6(header) => [header.source.into(), header.destination.into()],
        }
    }

    /// The same packet one hop older, its header checksum computed anew.
    pub fn aged(&self) -> Vec<u8> {
        let header = match &self.header {
            Header::V4(header) => {
                let mut older = header.clone();
                older.time_to_live -= 1;
                older.header_checksum = older.calc_header_checksum();
                older.to_bytes().to_vec()
            }
            Header::V6(header) => {
                let hop_limit = header.hop_limit - 1;
                let older = Ipv6Header {
                    hop_limit,
                    ..header.clone()
                };
                older.to_bytes().to_vec()
            }
        };
        let behind = &self.bytes[header.len()..];
        [&header, behind].concat()
    }

    /// Bytes before the payload.
    fn header_length(&self) -> usize {
        // The payload is a part of the packet.
        self.payload.as_ptr() as usize - self.bytes.as_ptr() as usize
    }

    fn check_tcp(&self) -> Result<()> {
        let (tcp, data) = TcpHeader::from_slice(self.payload)?;
        let checksum = match &self.header {
            Header::V4(ip) => tcp.calc_checksum_ipv4(ip, data),
            Header::V6(ip) => tcp.calc_checksum_ipv6(ip, data),
        }?;
        let found = tcp.checksum;
        ensure!(
            found == checksum,
            "TCP checksum {found:#06x} is {checksum:#06x}"
        );
        Ok(())
    }

    fn check_udp(&self, unchecked: Unchecked) -> Result<()> {
        let (udp, data) = UdpHeader::from_slice(self.payload)?;
        ensure!(
            usize::from(udp.length) == self.payload.len(),
            "UDP length {} is {}",
            udp.length,
            self.payload.len()
        );
        let found = udp.checksum;
        if found == 0 && unchecked == Unchecked::Allowed {
            return Ok(());
        }
        let checksum = match &self.header {
            Header::V4(ip) => udp.calc_checksum_ipv4(ip, data),
            Header::V6(ip) => udp.calc_checksum_ipv6(ip, data),
        }?;
        ensure!(
            found == checksum,
            "UDP checksum {found:#06x} is {checksum:#06x}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lb_common::wire::tcp::Flags;

    use super::{super::Segment, *};

    #[test]
    fn any_byte_that_a_checksum_covers_is_missed() {
        for (from, to) in [
            ("10.77.1.10:40000", "10.77.0.80:80"),
            ("[fd77:1::10]:40000", "[fd77::80]:80"),
        ] {
            for segment in [
                Segment::new(from, to, Flags::ACK).payload(b"odd"),
                Segment::datagram(from, to, b"odd"),
            ] {
                let segment = segment.tags(&[[0x8100, 7]]);
                let bytes = segment.bytes();
                let read = Frame::read(&bytes, Unchecked::Refused).expect("a frame");
                assert_eq!(read.tags, segment.tags);
                assert_eq!(read.packet.bytes, segment.packet());
                assert_eq!(read.packet.aged(), segment.clone().ttl(63).packet());
                // All but class, label and hop limit of an IPv6 header.
                let covered = (segment.link_length()..bytes.len())
                    .filter(|at| from.starts_with('1') || at - segment.link_length() >= 8);
                for at in covered {
                    let mut wrong = bytes.clone();
                    wrong[at] ^= 0x10;
                    let read = Frame::read(&wrong, Unchecked::Allowed);
                    assert!(read.is_err(), "byte {at} of {bytes:02x?}");
                }
            }
        }
    }
}

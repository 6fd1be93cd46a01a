//! The IPv6 header and its extension headers (RFC 8200; rule 5).

use std::net::Ipv6Addr;

use super::{
    link::word,
    parse::End,
    transport,
    verdict::{Reason, Verdict, drop},
};

/// Bytes without extension headers.
pub const LENGTH: usize = 40;

/// The most extension headers that are stepped over.
const EXTENSIONS_MAX: usize = 5;

/// Next headers.
mod next_header {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const DESTINATION: u8 = 60;
}

/// An IPv6 header with the extension headers behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// Bytes of extension headers and payload.
    pub payload_length: u16,
    /// Of what follows this header: an extension header, or the payload.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Where it comes from.
    pub source: Ipv6Addr,
    /// Where it goes.
    pub destination: Ipv6Addr,
    /// As they stand in the packet.
    pub extensions: Vec<u8>,
}

/// What the extension headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Of the payload.
    pub protocol: u8,
    /// Whether it is the first of several fragments.
    pub is_first_fragment: bool,
}

impl Ipv6 {
    /// Takes the header and its extension headers off a packet.
    ///
    /// # Errors
    /// It is none, contradicts itself, or leads to no protocol that is looked at.
    pub fn parse(packet: &[u8], udp: bool) -> Result<(Self, Chain, &[u8]), Verdict> {
        let malformed = || drop(Reason::Malformed);
        let first = *packet.first().ok_or_else(malformed)?;
        let (bytes, rest) = packet.split_at_checked(LENGTH).ok_or_else(malformed)?;
        if first >> 4 != 6 {
            return Err(malformed());
        }
        let address = |from: usize| {
            let octets: [u8; 16] = bytes[from..from + 16].try_into().expect("16 bytes");
            Ipv6Addr::from(octets)
        };
        let begin = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let mut header = Self {
            traffic_class: (begin >> 20 & 0xff) as u8,
            flow_label: begin & 0xf_ffff,
            payload_length: word(&bytes[4..6]),
            next_header: bytes[6],
            hop_limit: bytes[7],
            source: address(8),
            destination: address(24),
            extensions: Vec::new(),
        };
        let (chain, length) = header.step_over(rest, udp)?;
        let (extensions, payload) = rest.split_at(length);
        header.extensions = extensions.to_vec();
        Ok((header, chain, payload))
    }

    /// Steps over the extension headers, and says how many bytes they have.
    fn step_over(&self, bytes: &[u8], udp: bool) -> Result<(Chain, usize), Verdict> {
        let in_payload = usize::from(self.payload_length);
        // What is behind the payload is padding, and no header.
        let bytes = &bytes[..bytes.len().min(in_payload)];
        let mut chain = Chain {
            protocol: self.next_header,
            is_first_fragment: false,
        };
        let (mut at, mut count, mut fragment_seen) = (0, 0, false);
        loop {
            let is_fragment = chain.protocol == next_header::FRAGMENT;
            match chain.protocol {
                kind if transport::is_looked_at(kind, udp) => return Ok((chain, at)),
                _ if count == EXTENSIONS_MAX => return Err(Verdict::Pass),
                next_header::HOP_BY_HOP if count == 0 => {}
                next_header::ROUTING | next_header::DESTINATION => {}
                next_header::FRAGMENT if !fragment_seen => {}
                _ => return Err(Verdict::Pass),
            }
            let rest = &bytes[at..];
            let malformed = || drop(Reason::Malformed);
            let length = match *rest {
                [_, _, ..] if is_fragment => 8,
                [_, units, ..] => (usize::from(units) + 1) * 8,
                _ => return Err(malformed()),
            };
            let extension = rest.get(..length).ok_or_else(malformed)?;
            if is_fragment {
                fragment_seen = true;
                let (offset, more) = fragment(extension);
                if offset != 0 {
                    return Err(Verdict::Pass);
                }
                chain.is_first_fragment = more;
            }
            chain.protocol = extension[0];
            at += length;
            count += 1;
        }
    }

    /// Bytes of the header and its extension headers.
    pub const fn length(&self) -> usize {
        LENGTH + self.extensions.len()
    }

    /// Bytes behind the extension headers, as the header says.
    pub fn rest_length(&self) -> usize {
        usize::from(self.payload_length) - self.extensions.len()
    }

    /// The same with another address at one end.
    pub const fn readdressed(mut self, end: End, address: Ipv6Addr) -> Self {
        match end {
            End::Source => self.source = address,
            End::Destination => self.destination = address,
        }
        self
    }

    /// The header and its extension headers as they stand in a packet.
    pub fn bytes(&self) -> Vec<u8> {
        let Self {
            traffic_class,
            flow_label,
            payload_length,
            next_header,
            hop_limit,
            source,
            destination,
            extensions,
        } = self;
        let begin = 6 << 28 | u32::from(*traffic_class) << 20 | flow_label;
        let mut bytes = begin.to_be_bytes().to_vec();
        bytes.extend(payload_length.to_be_bytes());
        bytes.extend([*next_header, *hop_limit]);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        bytes.extend(extensions);
        bytes
    }
}

/// Offset and *more fragments* of a fragment header, RFC 8200 section 4.5.
fn fragment(header: &[u8]) -> (u16, bool) {
    let field = word(&header[2..4]);
    (field >> 3, field & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 10);
    const DESTINATION: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x80);

    /// A header in front of `rest`, which is all of its payload.
    fn packet(next_header: u8, rest: &[u8]) -> Vec<u8> {
        let header = Ipv6 {
            traffic_class: 0xb9,
            flow_label: 0x1_2345,
            payload_length: rest.len() as u16,
            next_header,
            hop_limit: 7,
            source: SOURCE,
            destination: DESTINATION,
            extensions: Vec::new(),
        };
        [header.bytes(), rest.to_vec()].concat()
    }

    /// An extension header of 8 bytes.
    fn extension(next: u8) -> [u8; 8] {
        [next, 0, 1, 4, 0, 0, 0, 0]
    }

    fn fragment(next: u8, offset: u16, more: bool) -> [u8; 8] {
        let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
        [next, 0, high, low, 0, 0, 0, 9]
    }

    /// Protocol, first fragment, bytes of extension headers.
    fn parsed(packet: &[u8]) -> Result<(u8, bool, usize), Verdict> {
        let (header, chain, rest) = Ipv6::parse(packet, true)?;
        assert_eq!([header.bytes(), rest.to_vec()].concat(), packet);
        let Chain {
            protocol,
            is_first_fragment,
        } = chain;
        Ok((protocol, is_first_fragment, header.extensions.len()))
    }

    const MALFORMED: Result<(u8, bool, usize), Verdict> = Err(drop(Reason::Malformed));
    const PASS: Result<(u8, bool, usize), Verdict> = Err(Verdict::Pass);

    #[test]
    fn a_header_has_its_fields_where_they_belong() {
        let bytes = packet(6, &[0xaa; 20]);
        assert_eq!(bytes[..8], [0x6b, 0x91, 0x23, 0x45, 0, 20, 6, 7]);
        assert_eq!(bytes[8..10], [0xfd, 0x77]);
        assert_eq!(bytes[39], 0x80);
        let (header, _, rest) = Ipv6::parse(&bytes, false).unwrap();
        assert_eq!(
            (header.traffic_class, header.flow_label, header.hop_limit),
            (0xb9, 0x1_2345, 7)
        );
        assert_eq!(rest, [0xaa; 20]);
        assert_eq!(header.rest_length(), 20);
    }

    #[test]
    fn what_is_no_header_is_malformed() {
        let bytes = packet(6, &[]);
        assert_eq!(parsed(&bytes[..39]), MALFORMED);
        assert_eq!(parsed(&[]), MALFORMED);
        let mut other_version = bytes;
        other_version[0] = 0x4b;
        assert_eq!(parsed(&other_version), MALFORMED);
    }

    #[test]
    fn extension_headers_are_stepped_over() {
        assert_eq!(parsed(&packet(17, &[])), Ok((17, false, 0)));
        let all = [extension(43), extension(60), extension(44)].concat();
        let all = [&all[..], &fragment(6, 0, false), &[1; 20]].concat();
        assert_eq!(parsed(&packet(0, &all)), Ok((6, false, 32)));
        let long = [&[6, 2][..], &[0; 22], &[1; 20]].concat();
        assert_eq!(parsed(&packet(60, &long)), Ok((6, false, 24)));
    }

    #[test]
    fn five_are_and_a_sixth_is_not() {
        let mut chain = [extension(60); 4].concat();
        chain.extend(extension(6));
        assert_eq!(parsed(&packet(60, &chain)), Ok((6, false, 40)));
        let mut chain = [extension(60); 5].concat();
        assert_eq!(parsed(&packet(60, &chain)), PASS);
        chain.extend(extension(6));
        assert_eq!(parsed(&packet(60, &chain)), PASS);
    }

    #[test]
    fn other_next_headers_pass() {
        for next in [1, 4, 41, 47, 50, 51, 58, 59, 132, 135, 255] {
            assert_eq!(parsed(&packet(next, &[1; 40])), PASS, "{next}");
            let behind = [extension(next), [1; 8]].concat();
            assert_eq!(parsed(&packet(60, &behind)), PASS, "{next}");
        }
        // Hop-by-hop options are the first header or none.
        let twice = [extension(0), extension(6)].concat();
        assert_eq!(parsed(&packet(0, &twice)), PASS);
        assert_eq!(Ipv6::parse(&packet(17, &[1; 8]), false), Err(Verdict::Pass));
    }

    #[test]
    fn fragments_are_told_apart() {
        let with = |offset, more| packet(44, &[&fragment(6, offset, more)[..], &[1; 24]].concat());
        assert_eq!(parsed(&with(0, false)), Ok((6, false, 8)));
        assert_eq!(parsed(&with(0, true)), Ok((6, true, 8)));
        assert_eq!(parsed(&with(1, false)), PASS);
        assert_eq!(parsed(&with(0x1fff, true)), PASS);
        // Whatever follows a later fragment's header.
        let mut later = packet(44, &fragment(0, 3, true));
        assert_eq!(parsed(&later), PASS);
        later.truncate(LENGTH + 7);
        assert_eq!(parsed(&later), MALFORMED);
        let two = [fragment(44, 0, false), fragment(6, 0, false)].concat();
        assert_eq!(parsed(&packet(44, &two)), PASS);
    }

    #[test]
    fn an_extension_header_ends_within_packet_and_frame() {
        let whole = packet(60, &[&extension(6)[..], &[1; 20]].concat());
        for length in 40..48 {
            assert_eq!(parsed(&whole[..length]), MALFORMED, "{length}");
        }
        let mut short = whole;
        for length in 0..8 {
            short[5] = length;
            assert_eq!(parsed(&short), MALFORMED, "{length}");
        }
        short[5] = 8;
        assert_eq!(parsed(&short), Ok((6, false, 8)));
        let long = packet(60, &[6, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parsed(&long), MALFORMED);
    }
}

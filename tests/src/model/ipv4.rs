//! The IPv4 header (RFC 791; rule 4).

use std::net::Ipv4Addr;

use super::{
    checksum,
    link::word,
    parse::End,
    verdict::{Reason, Verdict, drop},
};

/// Bytes without options.
pub const LENGTH: usize = 20;

/// *Don't fragment*, in [`Ipv4::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments follow.
const MORE_FRAGMENTS: u16 = 0x2000;
/// The part's offset, in units of 8 bytes.
const OFFSET: u16 = 0x1fff;

/// An IPv4 header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// DSCP and ECN.
    pub type_of_service: u8,
    /// Bytes of header and payload.
    pub total_length: u16,
    /// The same in all fragments of a packet.
    pub identification: u16,
    /// Flags and offset.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Of the payload.
    pub protocol: u8,
    /// The header's.
    pub checksum: u16,
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Ipv4Addr,
    /// Up to 40 bytes, in words of four.
    pub options: Vec<u8>,
}

impl Ipv4 {
    /// Takes the header off a packet.
    ///
    /// # Errors
    /// It is none, or contradicts itself.
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8]), Verdict> {
        let malformed = || drop(Reason::Malformed);
        let first = *packet.first().ok_or_else(malformed)?;
        let length = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || length < LENGTH {
            return Err(malformed());
        }
        let (bytes, rest) = packet.split_at_checked(length).ok_or_else(malformed)?;
        let header = Self {
            type_of_service: bytes[1],
            total_length: word(&bytes[2..4]),
            identification: word(&bytes[4..6]),
            fragment: word(&bytes[6..8]),
            ttl: bytes[8],
            protocol: bytes[9],
            checksum: word(&bytes[10..12]),
            source: Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]),
            destination: Ipv4Addr::new(bytes[16], bytes[17], bytes[18], bytes[19]),
            options: bytes[LENGTH..].to_vec(),
        };
        if usize::from(header.total_length) < length {
            return Err(malformed());
        }
        Ok((header, rest))
    }

    /// Bytes of the header.
    pub const fn length(&self) -> usize {
        LENGTH + self.options.len()
    }

    /// Bytes of the payload, as the header says.
    pub fn payload_length(&self) -> usize {
        usize::from(self.total_length) - self.length()
    }

    /// Whether it is a fragment other than the first.
    pub const fn is_later_fragment(&self) -> bool {
        self.fragment & OFFSET != 0
    }

    /// Whether it is the first of several fragments.
    pub const fn is_first_fragment(&self) -> bool {
        self.fragment & OFFSET == 0 && self.fragment & MORE_FRAGMENTS != 0
    }

    /// The header as it stands in a packet.
    pub fn bytes(&self) -> Vec<u8> {
        let Self {
            type_of_service,
            total_length,
            identification,
            fragment,
            ttl,
            protocol,
            checksum,
            source,
            destination,
            options,
        } = self;
        let words = u8::try_from(self.length() / 4).expect("at most 15 words");
        let mut bytes = vec![0x40 | words, *type_of_service];
        bytes.extend(total_length.to_be_bytes());
        bytes.extend(identification.to_be_bytes());
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([*ttl, *protocol]);
        bytes.extend(checksum.to_be_bytes());
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        bytes.extend(options);
        bytes
    }

    /// The same with its checksum computed in full.
    pub fn summed(self) -> Self {
        let blank = Self {
            checksum: 0,
            ..self
        };
        Self {
            checksum: checksum::full(&blank.bytes()),
            ..blank
        }
    }

    /// The same after a hop: its checksum by difference, of the word with TTL and protocol.
    pub fn after_a_hop(self) -> Self {
        let ttl = self.ttl - 1;
        let (before, after) = ([self.ttl, self.protocol], [ttl, self.protocol]);
        Self {
            ttl,
            checksum: checksum::changed(self.checksum, &before, &after),
            ..self
        }
    }

    /// The same with another address at one end, its checksum by difference.
    pub fn readdressed(mut self, end: End, address: Ipv4Addr) -> Self {
        let place = match end {
            End::Source => &mut self.source,
            End::Destination => &mut self.destination,
        };
        let before = place.octets();
        *place = address;
        self.checksum = checksum::changed(self.checksum, &before, &address.octets());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a 60-byte packet, its checksum computed by hand.
    const BYTES: [u8; 20] = [
        0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0xb1, 0xe6, 0xac, 0x10, 0x0a,
        0x63, 0xac, 0x10, 0x0a, 0x0c,
    ];

    #[test]
    fn a_header_is_taken_off_and_put_on() {
        let (header, rest) = Ipv4::parse(&BYTES).unwrap();
        assert!(rest.is_empty());
        assert_eq!(header.total_length, 60);
        assert_eq!(header.payload_length(), 40);
        assert_eq!((header.ttl, header.protocol), (64, 6));
        assert_eq!(header.source, Ipv4Addr::new(172, 16, 10, 99));
        assert_eq!(header.destination, Ipv4Addr::new(172, 16, 10, 12));
        assert_eq!(header.bytes(), BYTES);
        assert_eq!(header.clone().summed(), header);
    }

    #[test]
    fn changes_leave_a_right_checksum_right() {
        let (header, _) = Ipv4::parse(&BYTES).unwrap();
        let changed = header
            .after_a_hop()
            .readdressed(End::Destination, Ipv4Addr::new(10, 0, 0, 1))
            .readdressed(End::Source, Ipv4Addr::new(192, 0, 2, 7));
        assert_eq!(changed.source, Ipv4Addr::new(192, 0, 2, 7));
        assert_eq!(changed.destination, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(changed.ttl, 63);
        assert_eq!(changed.clone().summed(), changed);
    }

    #[test]
    fn options_are_part_of_the_header() {
        let mut bytes = BYTES.to_vec();
        bytes[0] = 0x46;
        bytes.extend([1, 1, 1, 0, 0xaa]);
        let (header, rest) = Ipv4::parse(&bytes).unwrap();
        assert_eq!(header.options, [1, 1, 1, 0]);
        assert_eq!(rest, [0xaa]);
        assert_eq!(header.payload_length(), 36);
        assert_eq!(header.bytes(), bytes[..24]);
    }

    #[test]
    fn a_header_that_contradicts_itself_is_malformed() {
        let malformed = Err(drop(Reason::Malformed));
        let with = |at: usize, value: u8| {
            let mut bytes = BYTES;
            bytes[at] = value;
            bytes
        };
        assert_eq!(Ipv4::parse(&[]), malformed);
        assert_eq!(Ipv4::parse(&BYTES[..19]), malformed);
        for (at, value) in [(0, 0x55), (0, 0x65), (0, 0x44), (0, 0x46), (3, 19)] {
            assert_eq!(Ipv4::parse(&with(at, value)), malformed, "{at} {value}");
        }
        assert!(Ipv4::parse(&with(3, 20)).is_ok());
    }

    #[test]
    fn fragments_are_told_apart() {
        let with = |fragment| {
            let (header, _) = Ipv4::parse(&BYTES).unwrap();
            Ipv4 { fragment, ..header }
        };
        for (fragment, first, later) in [
            (0x0000, false, false),
            (0x4000, false, false),
            (0x8000, false, false),
            (0x2000, true, false),
            (0x6000, true, false),
            (0x0001, false, true),
            (0x2001, false, true),
            (0x1fff, false, true),
        ] {
            assert_eq!(with(fragment).is_first_fragment(), first, "{fragment:#x}");
            assert_eq!(with(fragment).is_later_fragment(), later, "{fragment:#x}");
        }
    }
}

//! The Ethernet header and VLAN tags (rules 1 to 3).

use super::verdict::{Reason, Verdict, drop};

/// The most tags that are looked behind.
const TAGS_MAX: usize = 2;

/// EtherTypes.
pub mod ether_type {
    /// RFC 894.
    pub const IPV4: u16 = 0x0800;
    /// RFC 2464.
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad, the outer tag of two.
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// A frame's link-layer header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The destination.
    pub destination: [u8; 6],
    /// The source.
    pub source: [u8; 6],
    /// From the outer to the inner one.
    pub tags: Vec<Tag>,
    /// Of what follows the tags.
    pub ether_type: u16,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// [`ether_type::VLAN`] or [`ether_type::SERVICE_VLAN`].
    pub protocol: u16,
    /// Priority, drop eligibility and VLAN id.
    pub control: u16,
}

impl Link {
    /// Takes the header off a frame, tags only where they are in use.
    ///
    /// # Errors
    /// The frame ends within the header.
    pub fn parse(frame: &[u8], vlan: bool) -> Result<(Self, &[u8]), Verdict> {
        let malformed = || drop(Reason::Malformed);
        let (header, mut rest) = frame.split_at_checked(14).ok_or_else(malformed)?;
        let mut link = Self {
            destination: header[0..6].try_into().expect("6 bytes"),
            source: header[6..12].try_into().expect("6 bytes"),
            tags: Vec::new(),
            ether_type: word(&header[12..14]),
        };
        let is_tag = |kind| matches!(kind, ether_type::VLAN | ether_type::SERVICE_VLAN);
        while vlan && is_tag(link.ether_type) && link.tags.len() < TAGS_MAX {
            let (tag, behind) = rest.split_at_checked(4).ok_or_else(malformed)?;
            link.tags.push(Tag {
                protocol: link.ether_type,
                control: word(&tag[0..2]),
            });
            link.ether_type = word(&tag[2..4]);
            rest = behind;
        }
        Ok((link, rest))
    }

    /// The header as it stands in a frame.
    pub fn bytes(&self) -> Vec<u8> {
        let Self {
            destination,
            source,
            tags,
            ether_type,
        } = self;
        let mut bytes = [*destination, *source].concat();
        for Tag { protocol, control } in tags {
            bytes.extend(protocol.to_be_bytes());
            bytes.extend(control.to_be_bytes());
        }
        bytes.extend(ether_type.to_be_bytes());
        bytes
    }
}

/// Two bytes as a number.
pub(super) fn word(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 16] = [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x08, 0x00, 0xaa, 0xbb];

    fn tagged(types: &[u16]) -> Vec<u8> {
        let mut frame = PLAIN[..12].to_vec();
        for kind in types {
            frame.extend(kind.to_be_bytes());
            frame.extend([0x20, 0x07]);
        }
        frame.extend([0x86, 0xdd, 0xaa]);
        frame
    }

    #[test]
    fn a_header_is_taken_off_and_put_on() {
        let (link, rest) = Link::parse(&PLAIN, false).unwrap();
        assert_eq!(
            link,
            Link {
                destination: [1; 6],
                source: [2; 6],
                tags: vec![],
                ether_type: 0x0800
            }
        );
        assert_eq!(rest, [0xaa, 0xbb]);
        assert_eq!(link.bytes(), PLAIN[..14]);
    }

    #[test]
    fn up_to_two_tags_are_stepped_over() {
        for types in [&[0x8100][..], &[0x88a8, 0x8100], &[0x8100, 0x88a8]] {
            let frame = tagged(types);
            let (link, rest) = Link::parse(&frame, true).unwrap();
            assert_eq!(link.ether_type, 0x86dd);
            assert_eq!(link.tags.len(), types.len());
            assert_eq!(link.tags[0].control, 0x2007);
            assert_eq!(rest, [0xaa]);
            assert_eq!(link.bytes(), frame[..frame.len() - 1]);
        }
        let frame = tagged(&[0x8100; 3]);
        let (link, _) = Link::parse(&frame, true).unwrap();
        assert_eq!((link.tags.len(), link.ether_type), (2, 0x8100));
    }

    #[test]
    fn tags_that_are_not_in_use_are_a_protocol_that_nobody_knows() {
        let frame = tagged(&[0x8100]);
        let (link, _) = Link::parse(&frame, false).unwrap();
        assert_eq!((link.tags.len(), link.ether_type), (0, 0x8100));
    }

    #[test]
    fn a_header_that_the_frame_ends_in_is_malformed() {
        let malformed = Err(drop(Reason::Malformed));
        assert_eq!(Link::parse(&PLAIN[..13], true), malformed);
        assert!(Link::parse(&PLAIN[..14], true).is_ok());
        let frame = tagged(&[0x8100, 0x8100]);
        for length in 14..22 {
            assert_eq!(Link::parse(&frame[..length], true), malformed, "{length}");
            assert!(Link::parse(&frame[..length], false).is_ok());
        }
    }
}

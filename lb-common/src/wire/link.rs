//! The link layer: an Ethernet header and up to two VLAN tags (IEEE 802.1Q), which are kept as they are.

use super::{
    Cursor, Header,
    cursor::{Ahead, Truncated},
    ethernet::Ethernet,
};
use crate::{endian::Be16, verifier::forget};

/// What follows a link header, in network order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EtherType([u8; 2]);

/// A VLAN tag as it stands in a frame, behind the EtherType that announces it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanTag {
    /// Priority, drop eligibility and VLAN number.
    control: [u8; 2],
    /// What follows.
    pub ether_type: EtherType,
}

// SAFETY: bytes only.
unsafe impl Header for VlanTag {}

/// A frame's link header.
#[derive(Debug)]
pub struct Link<'a> {
    /// The Ethernet header.
    pub ethernet: &'a mut Ethernet,
    /// The tags behind it.
    pub tags: Tags,
    /// What follows all of it.
    pub ether_type: EtherType,
}

/// The tags of a frame, by value: they outlive a change of the frame's head. Each is its four bytes as
/// one integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// How many there are, up to two.
    pub count: u32,
    first: u32,
    second: u32,
}

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self([0x08, 0x00]);
    /// IPv6.
    pub const IPV6: Self = Self([0x86, 0xdd]);
    /// A customer's tag follows (IEEE 802.1Q).
    pub const VLAN: Self = Self([0x81, 0x00]);
    /// A service's tag follows (IEEE 802.1ad, QinQ).
    pub const SERVICE_VLAN: Self = Self([0x88, 0xa8]);

    /// Whether it is the same. One comparison of whole words, unlike `==` on bytes.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        Be16::from_bytes(self.0).raw() == Be16::from_bytes(other.0).raw()
    }

    /// A byte of which the verifier knows nothing.
    #[inline(always)]
    const fn any(self) -> u8 {
        let [_, any] = self.0;
        any
    }

    #[inline(always)]
    const fn is_tag(self) -> bool {
        self.is(Self::VLAN) || self.is(Self::SERVICE_VLAN)
    }
}

impl VlanTag {
    /// Bytes of a tag.
    pub const LENGTH: usize = 4;

    #[inline(always)]
    const fn to_word(self) -> u32 {
        let ([a, b], [c, d]) = (self.control, self.ether_type.0);
        u32::from_ne_bytes([a, b, c, d])
    }

    #[inline(always)]
    const fn set(&mut self, word: u32) {
        let [a, b, c, d] = word.to_ne_bytes();
        self.control = [a, b];
        self.ether_type = EtherType([c, d]);
    }
}

impl Tags {
    /// Bytes of all tags.
    #[inline(always)]
    pub const fn length(self) -> u32 {
        self.count * VlanTag::LENGTH as u32
    }
}

impl<'a> Link<'a> {
    /// Reads a link header; tags only where `vlan` says that there may be some.
    ///
    /// # Errors
    /// [`Truncated`] where the frame ends in it.
    #[inline(always)]
    pub fn read(cursor: &mut Cursor<'a>, vlan: bool) -> Result<Self, Truncated> {
        let ethernet = cursor.read::<Ethernet>()?;
        let mut link = Self {
            ether_type: ethernet.ether_type,
            ethernet,
            tags: Tags::default(),
        };
        if vlan {
            let mut count = 0;
            let mut ahead = Ahead::default();
            let any = link.ether_type.any();
            if link.ether_type.is_tag() {
                let tag = cursor.peek::<VlanTag>(ahead)?;
                count = 1;
                ahead = ahead.plus(VlanTag::LENGTH as u32, any);
                link.tags.first = tag.to_word();
                link.ether_type = tag.ether_type;
                if link.ether_type.is_tag() {
                    let tag = cursor.peek::<VlanTag>(ahead)?;
                    count = 2;
                    ahead = ahead.plus(VlanTag::LENGTH as u32, any);
                    link.tags.second = tag.to_word();
                    link.ether_type = tag.ether_type;
                }
            }
            // All that follows is the same for the verifier, however many tags there are.
            cursor.advance(ahead.plus(0, any))?;
            link.tags.count = forget(count, any);
        }
        Ok(link)
    }

    /// Writes the link header of a frame that has got a new head: `tags` as before, `announcing` the
    /// EtherType that the Ethernet header had before, then `inner`. Addresses are left to the caller.
    ///
    /// # Errors
    /// [`Truncated`] where the frame has no room for it.
    #[inline(always)]
    pub fn write(
        cursor: &mut Cursor<'a>,
        tags: Tags,
        announcing: EtherType,
        inner: EtherType,
    ) -> Result<&'a mut Ethernet, Truncated> {
        let ethernet = cursor.read::<Ethernet>()?;
        if tags.count == 0 {
            ethernet.ether_type = inner;
            return Ok(ethernet);
        }
        ethernet.ether_type = announcing;
        let tag = cursor.read::<VlanTag>()?;
        tag.set(tags.first);
        if tags.count == 1 {
            tag.ether_type = inner;
            return Ok(ethernet);
        }
        let tag = cursor.read::<VlanTag>()?;
        tag.set(tags.second);
        tag.ether_type = inner;
        Ok(ethernet)
    }

    /// Bytes up to the IP header.
    #[inline(always)]
    pub const fn length(&self) -> u32 {
        Ethernet::LENGTH as u32 + self.tags.length()
    }
}

const _: () = assert!(size_of::<VlanTag>() == VlanTag::LENGTH);

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tags: &[u16], ether_type: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        for tag in tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0xa0, 0x07]);
        }
        frame.extend(ether_type.to_be_bytes());
        frame
    }

    #[test]
    fn up_to_two_tags_are_stepped_over() {
        for (tags, count) in [(&[][..], 0), (&[0x8100], 1), (&[0x88a8, 0x8100], 2)] {
            let mut bytes = frame(tags, 0x86dd);
            let mut cursor = Cursor::new(&mut bytes);
            let link = Link::read(&mut cursor, true).unwrap();
            assert_eq!(link.tags.count, count);
            assert_eq!(link.ether_type, EtherType::IPV6);
            assert_eq!(link.length(), 14 + 4 * count);
            assert!(!cursor.has(1));
        }
    }

    #[test]
    fn a_third_tag_is_what_follows() {
        let mut bytes = frame(&[0x88a8, 0x88a8, 0x8100], 0x0800);
        let link = Link::read(&mut Cursor::new(&mut bytes), true).unwrap();
        assert_eq!(link.ether_type, EtherType::VLAN);
    }

    #[test]
    fn tags_are_not_looked_behind_unless_asked() {
        let mut bytes = frame(&[0x8100], 0x0800);
        let link = Link::read(&mut Cursor::new(&mut bytes), false).unwrap();
        assert_eq!(link.ether_type, EtherType::VLAN);
    }

    #[test]
    fn a_frame_that_ends_in_a_tag_is_too_short() {
        let mut bytes = frame(&[0x8100, 0x8100], 0x0800);
        for length in 0..bytes.len() {
            let mut cursor = Cursor::new(&mut bytes[..length]);
            assert!(Link::read(&mut cursor, true).is_err(), "{length}");
        }
    }

    #[test]
    fn tags_stay_when_the_inner_type_changes() {
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
            let mut bytes = frame(tags, 0x0800);
            let link = Link::read(&mut Cursor::new(&mut bytes), true).unwrap();
            let (tags_read, announcing) = (link.tags, link.ethernet.ether_type);
            let mut written = vec![0; bytes.len()];
            let mut cursor = Cursor::new(&mut written);
            Link::write(&mut cursor, tags_read, announcing, EtherType::IPV6).unwrap();
            assert_eq!(written, frame(tags, 0x86dd));
        }
    }
}

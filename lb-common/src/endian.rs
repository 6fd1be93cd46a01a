//! Byte order as a type: a value in network order cannot be mistaken for a number.

/// A 16-bit value in network byte order, for example a port.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be16(u16);

/// A 32-bit value in network byte order, for example an IPv4 address.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be32(u32);

impl Be16 {
    /// Converts from host order.
    #[inline(always)]
    pub const fn new(host: u16) -> Self {
        Self(host.to_be())
    }

    /// Takes the bytes as they stand in a packet.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(bytes))
    }

    /// The bytes as they stand in a packet.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; 2] {
        self.0.to_ne_bytes()
    }

    /// The value in host order.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The bytes as one integer, for hashing and for checksum sums, where the order cancels out.
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        self.0
    }
}

impl Be32 {
    /// Converts from host order.
    #[inline(always)]
    pub const fn new(host: u32) -> Self {
        Self(host.to_be())
    }

    /// Takes the bytes as they stand in a packet.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    /// The bytes as they stand in a packet.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// The value in host order.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        u32::from_be(self.0)
    }

    /// The bytes as one integer, for hashing and for checksum sums, where the order cancels out.
    #[inline(always)]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The same with the bits of `value` in place of those that `mask` has: both as numbers.
    #[inline(always)]
    #[must_use]
    pub const fn with_bits(self, mask: u32, value: u32) -> Self {
        let (mask, value) = (mask.to_be(), value.to_be());
        Self(self.0 & !mask | value & mask)
    }
}

/// A 128-bit value in network byte order, for example an IPv6 address. As two words: arrays are copied
/// byte by byte on the BPF target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be128 {
    first: u64,
    last: u64,
}

impl Be128 {
    /// Takes the bytes as they stand in a packet, in two halves.
    #[inline(always)]
    pub const fn from_halves(first: [u8; 8], last: [u8; 8]) -> Self {
        Self {
            first: u64::from_ne_bytes(first),
            last: u64::from_ne_bytes(last),
        }
    }

    /// Four bytes, then zeros: how an IPv4 address stands where there is room for IPv6.
    #[inline(always)]
    pub const fn from_leading(leading: Be32) -> Self {
        Self {
            first: u64::from_le((leading.0.to_le()) as u64),
            last: 0,
        }
    }

    /// The bytes as they stand in a packet, in two halves.
    #[inline(always)]
    pub const fn to_halves(self) -> ([u8; 8], [u8; 8]) {
        (self.first.to_ne_bytes(), self.last.to_ne_bytes())
    }

    /// The bytes as they stand in a packet.
    #[inline(always)]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        // SAFETY: 16 bytes without padding.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// The first four bytes.
    #[inline(always)]
    pub const fn leading(self) -> Be32 {
        Be32(u32::from_le(self.first.to_le() as u32))
    }

    /// The bytes as two integers, for hashing and for checksum sums, where the order cancels out.
    #[inline(always)]
    pub const fn raw(self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// The same with the bits of `value` in place of those that `mask` has, in the last 32: both as
    /// numbers.
    #[inline(always)]
    #[must_use]
    pub const fn with_trailing(self, mask: u32, value: u32) -> Self {
        let (mask, value) = ((mask as u64).to_be(), (value as u64).to_be());
        Self {
            first: self.first,
            last: self.last & !mask | value & mask,
        }
    }
}

impl core::ops::BitAnd for Be128 {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self {
            first: self.first & other.first,
            last: self.last & other.last,
        }
    }
}

impl core::ops::BitAnd for Be32 {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl From<core::net::Ipv6Addr> for Be128 {
    fn from(address: core::net::Ipv6Addr) -> Self {
        let number = u128::from(address);
        Self::from_halves(
            ((number >> 64) as u64).to_be_bytes(),
            (number as u64).to_be_bytes(),
        )
    }
}

impl From<Be128> for core::net::Ipv6Addr {
    fn from(address: Be128) -> Self {
        let (first, last) = address.to_halves();
        let number =
            u128::from(u64::from_be_bytes(first)) << 64 | u128::from(u64::from_be_bytes(last));
        Self::from(number)
    }
}

impl From<core::net::Ipv4Addr> for Be32 {
    fn from(address: core::net::Ipv4Addr) -> Self {
        Self::from_bytes(address.octets())
    }
}

impl From<Be32> for core::net::Ipv4Addr {
    fn from(address: Be32) -> Self {
        Self::from(address.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_as_in_the_packet() {
        assert_eq!(Be16::new(80).to_bytes(), [0, 80]);
        assert_eq!(Be32::new(0x0a4d_0050).to_bytes(), [10, 77, 0, 80]);
        assert_eq!(Be16::from_bytes([0x1f, 0x90]).get(), 8080);
        assert_eq!(Be32::from_bytes([10, 0, 0, 1]).get(), 0x0a00_0001);
    }

    #[test]
    fn an_ipv6_address_comes_back_as_it_was() {
        let address: core::net::Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let value = Be128::from(address);
        assert_eq!(core::net::Ipv6Addr::from(value), address);
        assert_eq!(value.leading(), Be32::new(0x2001_0db8));
        assert_eq!(Be128::from_leading(Be32::new(7)).leading(), Be32::new(7));
        assert_eq!(
            Be128::from_leading(Be32::new(7)).to_halves(),
            ([0, 0, 0, 7, 0, 0, 0, 0], [0; 8])
        );
    }

    #[test]
    fn trailing_bits_are_replaced_as_numbers() {
        let address: core::net::Ipv6Addr = "fd00::1:2222:3333".parse().unwrap();
        let mixed = Be128::from(address).with_trailing(0x0000_ffff, 0xabcd_ef01);
        assert_eq!(
            core::net::Ipv6Addr::from(mixed),
            "fd00::1:2222:ef01".parse::<core::net::Ipv6Addr>().unwrap()
        );
    }
}

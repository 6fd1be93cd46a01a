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
}

//! What a client addresses: the key of the service tables, and of the reply table (where it names a
//! backend's address instead of a VIP).

use super::service::ServiceId;
use crate::endian::{Be16, Be32, Be128};

/// IPv4 address, port and protocol. Port 0 means every port.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKeyV4 {
    /// The address.
    pub address: Be32,
    /// The port; 0 in a table entry means every port.
    pub port: Be16,
    /// IANA protocol number: 6 or 17.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}

/// IPv6 address, port and protocol. Port 0 means every port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKeyV6 {
    /// The address.
    pub address: Be128,
    /// The port; 0 in a table entry means every port.
    pub port: Be16,
    /// IANA protocol number: 6 or 17.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// What a VIP leads to: a value of the service tables.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vip {
    /// The service.
    pub service: ServiceId,
    /// Zero.
    pub reserved: u32,
}

impl VipKeyV4 {
    /// A key with its reserved byte zeroed.
    #[inline(always)]
    pub const fn new(address: Be32, port: Be16, protocol: u8) -> Self {
        Self {
            address,
            port,
            protocol,
            reserved: 0,
        }
    }

    /// The key as one word, as it stands in memory.
    #[inline(always)]
    pub(super) const fn word(self) -> u64 {
        self.address.raw() as u64 | (rest(self.port, self.protocol) << 32)
    }
}

impl VipKeyV6 {
    /// A key with its reserved bytes zeroed.
    #[inline(always)]
    pub const fn new(address: Be128, port: Be16, protocol: u8) -> Self {
        Self {
            address,
            port,
            protocol,
            reserved: [0; 5],
        }
    }

    /// The key as three words, as they stand in memory.
    #[inline(always)]
    pub(super) const fn words(self) -> [u64; 3] {
        let (first, last) = self.address.raw();
        [first, last, rest(self.port, self.protocol)]
    }
}

/// A port and a protocol as they stand in memory. Sluice's targets are little-endian.
#[inline(always)]
const fn rest(port: Be16, protocol: u8) -> u64 {
    port.raw() as u64 | (protocol as u64) << 16
}

const _: () = assert!(size_of::<Vip>() == 8);
const _: () = assert!(size_of::<VipKeyV4>() == 8);
const _: () = assert!(size_of::<VipKeyV6>() == 24);

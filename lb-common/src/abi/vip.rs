//! What a client addresses: the key of the service tables, and of the reply table (where it names a
//! backend's address instead of a VIP).

use crate::endian::{Be16, Be32, Be128};

/// IPv4 address, port and protocol. Port 0 means every port.
#[repr(C)]
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
}

const _: () = assert!(size_of::<VipKeyV4>() == 8);
const _: () = assert!(size_of::<VipKeyV6>() == 24);

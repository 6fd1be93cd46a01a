//! What a reply of a `dnat` backend is turned back into.

use super::service::ServiceId;
use crate::endian::{Be16, Be32, Be128};

/// The VIP that a backend's address, port and protocol stand for. Inserted and deleted, never
/// updated; lives as long as the backend's index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyV4 {
    /// The VIP.
    pub address: Be32,
    /// The VIP's port.
    pub port: Be16,
    /// Zero.
    pub reserved: u16,
    /// The service, for tracing.
    pub service: ServiceId,
    /// The backend's index, for tracing.
    pub backend: u32,
}

/// The same for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyV6 {
    /// The VIP.
    pub address: Be128,
    /// The VIP's port.
    pub port: Be16,
    /// Zero.
    pub reserved: u16,
    /// The service, for tracing.
    pub service: ServiceId,
    /// The backend's index, for tracing.
    pub backend: u32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<ReplyV4>() == 16);
const _: () = assert!(size_of::<ReplyV6>() == 32);

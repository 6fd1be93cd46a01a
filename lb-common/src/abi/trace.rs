//! What tracing keeps on each CPU while a packet is judged.
//!
//! In a map and not on the stack: the verifier then walks through the program once, and not once for
//! every packet that is traced and once for every one that is not.

use crate::endian::{Be16, Be128};

/// A value of `TRACE_STATE`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceState {
    /// The second, since boot, that `used` counts for.
    pub second: u64,
    /// Records written in it: a flood must not drown the daemon.
    pub used: u64,
    /// 1: the packet that is being judged is traced.
    pub traced: u64,
    /// That packet as it came in.
    pub before: TracedPacket,
    /// The same as it leaves.
    pub after: TracedPacket,
}

/// A packet's addresses as they stood at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TracedPacket {
    /// Source address; IPv4 as an IPv4-mapped one (RFC 4291, section 2.5.5.2).
    pub source: Be128,
    /// Destination address, likewise.
    pub destination: Be128,
    /// The service that it is for, or that it is a reply of: its id and one; 0: none.
    pub service: u64,
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// IANA protocol number.
    pub protocol: u8,
    /// TCP's flags; none for UDP.
    pub flags: u8,
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<TraceState>() == 120);

//! Services: an id that never changes its meaning while reachable, and the record in force.

use crate::{
    endian::{Be16, Be32, Be128},
    hash::HashKey,
};

/// Index into `SERVICES`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// A value of `SERVICES`: names the record in force, in one aligned word so that publishing a new
/// record is one atomic write. Zero means no such service. The program takes the word as an index into
/// `RECORDS` without looking at it: the record at place 0 stays zero, one without slots and backends.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceRef(pub u64);

impl ServiceRef {
    /// No service under this id.
    pub const NONE: Self = Self(0);

    /// Points to a record.
    #[inline(always)]
    pub const fn record(index: u32) -> Self {
        Self(index as u64 + 1)
    }

    /// Where in `RECORDS` that is; 0: none.
    pub const fn place(self) -> u32 {
        self.0 as u32
    }

    /// The number of the record, if any: one less than its place.
    #[inline(always)]
    pub const fn get(self) -> Option<u32> {
        match self.0 {
            0 => None,
            n => Some((n - 1) as u32),
        }
    }
}

/// How a service's packets reach its backends: [`ServiceRecord::forward`].
pub mod forward {
    /// Destination address and port rewritten; replies pass back through here.
    pub const DNAT: u8 = 1;
    /// Source and destination rewritten.
    pub const NAT: u8 = 2;
    /// Only the destination MAC rewritten.
    pub const DSR: u8 = 3;
    /// IP in IP.
    pub const IPIP: u8 = 4;
    /// Generic UDP encapsulation, variant 1.
    pub const GUE: u8 = 5;
}

/// When a flow gets an entry: [`ServiceRecord::tracking`].
pub mod tracking {
    /// Only in slots that are in motion.
    pub const TRANSITION: u8 = 0;
    /// Always.
    pub const ALWAYS: u8 = 1;
    /// Never.
    pub const NEVER: u8 = 2;
}

/// What the packet hash covers: [`ServiceRecord::hash`].
pub mod hash {
    /// Both addresses, both ports, the protocol.
    pub const FIVE_TUPLE: u8 = 0;
    /// The source address, by the record's mask.
    pub const SOURCE: u8 = 1;
}

/// A service's settings. **Invariant:** a record does not change while a [`ServiceRef`] names it,
/// nor until a barrier after that.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceRecord {
    /// The first slot of the service's table in `SLOTS`.
    pub slots_first: u32,
    /// The table's size, a prime.
    pub slots_count: u32,
    /// The range being left, while the table is resized or re-seeded.
    pub old_slots_first: u32,
    /// 0: no resize in progress.
    pub old_slots_count: u32,
    /// The first entry of the service's range in `BACKENDS`; local index 1 is this one.
    pub backends_first: u32,
    /// How many entries the range has.
    pub backends_count: u32,
    /// The service's own id.
    pub service: ServiceId,
    /// One of [`forward`].
    pub forward: u8,
    /// One of [`tracking`].
    pub tracking: u8,
    /// One of [`hash`].
    pub hash: u8,
    /// The same for the range being left.
    pub old_hash: u8,
    /// Clamp of the TCP MSS in bytes; 0: off.
    pub mss_clamp: u16,
    /// Destination port of GUE.
    pub gue_port: Be16,
    /// Bits of an IPv4 source that count with [`hash::SOURCE`].
    pub source_mask_ipv4: Be32,
    /// Keys the flow hash. In the first cache line, with all that a packet needs of a service at rest.
    pub hash_key: HashKey,
    /// Zero.
    pub reserved_a: u32,
    /// As `source_mask_ipv4`, for the range being left.
    pub old_source_mask_ipv4: Be32,
    /// Keys the flow hash of the range being left; zero where none is.
    pub old_hash_key: HashKey,
    /// Bits of an IPv6 source that count with [`hash::SOURCE`].
    pub source_mask_ipv6: Be128,
    /// The same for the range being left.
    pub old_source_mask_ipv6: Be128,
    /// Zero; two cache lines a record, so that the first begins at one.
    pub reserved_b: [u32; 4],
}

const _: () = assert!(size_of::<ServiceRecord>() == 128);

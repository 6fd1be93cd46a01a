//! Flow entries: kept for slots in motion, and for every flow of a service that is always tracked.
//!
//! Time is counted in ticks of 2^30 ns (1.074 s) of the monotonic clock: a shift instead of a
//! division for every packet that looks.

use super::slot::LocalBackend;
use crate::{
    endian::{Be16, Be32, Be128},
    tuple::FlowTuple,
};

/// A flow as the client sends it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey<A> {
    /// Client address.
    pub source: A,
    /// VIP.
    pub destination: A,
    /// Client port.
    pub source_port: Be16,
    /// VIP port.
    pub destination_port: Be16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// An IPv4 flow.
pub type FlowKeyV4 = FlowKey<Be32>;

/// An IPv6 flow.
pub type FlowKeyV6 = FlowKey<Be128>;

impl<A: Copy> FlowKey<A> {
    /// The flow.
    pub const fn tuple(&self) -> FlowTuple<A> {
        let Self {
            source,
            destination,
            source_port,
            destination_port,
            protocol,
            reserved: _,
        } = *self;
        FlowTuple {
            source,
            destination,
            source_port,
            destination_port,
            protocol,
        }
    }
}

impl FlowKey<Be32> {
    /// A key, put together from whole words: the kernel hashes and compares it in words of 4 and 8
    /// bytes at once, and a word that was just written in pieces keeps the processor waiting.
    #[inline(always)]
    pub const fn new(flow: FlowTuple<Be32>) -> Self {
        let words = [
            flow.source.raw() as u64 | (flow.destination.raw() as u64) << 32,
            flow.rest(),
        ];
        // SAFETY: both are 16 bytes, and every bit pattern is a key.
        unsafe { core::mem::transmute::<[u64; 2], Self>(words) }
    }
}

impl FlowKey<Be128> {
    /// A key, put together from whole words, as that of an IPv4 flow.
    #[inline(always)]
    pub const fn new(flow: FlowTuple<Be128>) -> Self {
        let ((a, b), (c, d)) = (flow.source.raw(), flow.destination.raw());
        // SAFETY: both are 40 bytes, and every bit pattern is a key.
        unsafe { core::mem::transmute::<[u64; 5], Self>([a, b, c, d, flow.rest()]) }
    }
}

/// Nanoseconds of a tick, as a power of two.
pub const TICK_SHIFT: u32 = 30;

/// Ticks are kept in an entry modulo this: 208 days.
pub const TICKS: u32 = 1 << 24;

/// Ticks since boot, from nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub const fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds >> TICK_SHIFT
}

/// One word, so that it is read and written whole: local backend (bits 0..16), the backend's
/// generation (16..32), flags (32..40), last seen in ticks modulo [`TICKS`] (40..64).
///
/// User space inserts and deletes entries, the program inserts them and replaces the word by
/// compare-and-exchange: an element that was deleted meanwhile may be another flow's already.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEntry(pub u64);

impl FlowEntry {
    /// A packet other than a SYN was seen.
    pub const ESTABLISHED: u8 = 1;
    /// A FIN or RST was seen.
    pub const CLOSING: u8 = 2;

    /// Packs an entry. `ticks` is kept modulo [`TICKS`].
    #[inline(always)]
    pub const fn new(backend: LocalBackend, generation: u16, flags: u8, ticks: u64) -> Self {
        Self(backend as u64 | (generation as u64) << 16 | (flags as u64) << 32 | ticks << 40)
    }

    /// The backend's local index.
    #[inline(always)]
    pub const fn backend(self) -> LocalBackend {
        self.0 as u16
    }

    /// The backend's generation when the entry was made.
    #[inline(always)]
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// [`Self::ESTABLISHED`], [`Self::CLOSING`].
    #[inline(always)]
    pub const fn flags(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// Ticks modulo [`TICKS`].
    #[inline(always)]
    pub const fn last_seen(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// Ticks since the entry's flow was last seen; `now` in ticks since boot. A stamp of the future
    /// (another CPU's clock is a tick ahead) is age 0.
    pub const fn age(self, now: u64) -> u32 {
        let age = (now as u32).wrapping_sub(self.last_seen()) & (TICKS - 1);
        if age > TICKS / 2 { 0 } else { age }
    }
}

/// A value of `INSERT_BUDGET`, per CPU: entries made in the running tick. A flood of SYNs must not
/// take the inserts of living flows, so each kind has its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsertBudget {
    /// The tick, since boot.
    pub tick: u64,
    /// Entries made for SYNs in it.
    pub syn: u32,
    /// Entries made for other packets in it.
    pub other: u32,
}

/// A value of `FLOW_COUNTERS`, per service and CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Packets that looked for an entry.
    pub lookups: u64,
    /// Those that found none that holds.
    pub misses: u64,
    /// Entries made.
    pub inserts: u64,
    /// Entries that should have been made and were not: table full or budget spent.
    pub refused: u64,
    /// When that last happened, in ticks since boot; 0: never.
    pub last_refused: u64,
}

const _: () = assert!(size_of::<InsertBudget>() == 16);
const _: () = assert!(size_of::<FlowCounters>() == 40);
const _: () = assert!(size_of::<FlowKeyV4>() == 16);
const _: () = assert!(size_of::<FlowKeyV6>() == 40);
const _: () = assert!(size_of::<FlowEntry>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_fields_where_they_belong() {
        let fields = FlowKeyV4 {
            source: Be32::new(0x0a4d_010a),
            destination: Be32::new(0x0a4d_0050),
            source_port: Be16::new(40_000),
            destination_port: Be16::new(80),
            protocol: 17,
            reserved: [0; 3],
        };
        assert_eq!(FlowKeyV4::new(fields.tuple()), fields);
    }

    #[test]
    fn an_entry_keeps_its_parts_apart() {
        let entry = FlowEntry::new(0xfffe, 0xabcd, FlowEntry::CLOSING, 0x0123_4567);
        assert_eq!(entry.backend(), 0xfffe);
        assert_eq!(entry.generation(), 0xabcd);
        assert_eq!(entry.flags(), FlowEntry::CLOSING);
        assert_eq!(entry.last_seen(), 0x23_4567);
    }

    #[test]
    fn an_age_survives_the_wrap_of_the_ticks() {
        let entry = |ticks| FlowEntry::new(1, 0, 0, ticks);
        assert_eq!(entry(100).age(130), 30);
        assert_eq!(entry(u64::from(TICKS) - 1).age(u64::from(TICKS) + 4), 5);
        assert_eq!(entry(131).age(130), 0, "a stamp of the next tick");
    }
}

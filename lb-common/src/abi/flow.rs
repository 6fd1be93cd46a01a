//! Flow entries: kept only for slots in motion. The tables arrive with connection tracking; their
//! layout is fixed here.

use crate::endian::{Be16, Be32};

/// An IPv4 flow as the client sends it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKeyV4 {
    /// Client address.
    pub source: Be32,
    /// VIP.
    pub destination: Be32,
    /// Client port.
    pub source_port: Be16,
    /// VIP port.
    pub destination_port: Be16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// An IPv6 flow as the client sends it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKeyV6 {
    /// Client address.
    pub source: [Be32; 4],
    /// VIP.
    pub destination: [Be32; 4],
    /// Client port.
    pub source_port: Be16,
    /// VIP port.
    pub destination_port: Be16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// One word, so that it is read and written whole: local backend (bits 0..16), the backend's
/// generation (16..32), flags (32..40), last seen in seconds modulo 2^24 (40..64).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEntry(pub u64);

impl FlowEntry {
    /// A packet other than a SYN was seen.
    pub const ESTABLISHED: u8 = 1;
    /// A FIN or RST was seen.
    pub const CLOSING: u8 = 2;

    /// Packs an entry. `seconds` is kept modulo 2^24 (194 days).
    pub const fn new(backend: u16, generation: u16, flags: u8, seconds: u32) -> Self {
        Self(
            backend as u64
                | (generation as u64) << 16
                | (flags as u64) << 32
                | ((seconds & 0xff_ffff) as u64) << 40,
        )
    }

    /// The backend's local index.
    pub const fn backend(self) -> u16 {
        self.0 as u16
    }

    /// The backend's generation when the entry was made.
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// [`Self::ESTABLISHED`], [`Self::CLOSING`].
    pub const fn flags(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// Seconds modulo 2^24.
    pub const fn last_seen(self) -> u32 {
        (self.0 >> 40) as u32
    }
}

const _: () = assert!(size_of::<FlowKeyV4>() == 16);
const _: () = assert!(size_of::<FlowKeyV6>() == 40);
const _: () = assert!(size_of::<FlowEntry>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_parts_apart() {
        let entry = FlowEntry::new(0xfffe, 0xabcd, FlowEntry::CLOSING, 0x0123_4567);
        assert_eq!(entry.backend(), 0xfffe);
        assert_eq!(entry.generation(), 0xabcd);
        assert_eq!(entry.flags(), FlowEntry::CLOSING);
        assert_eq!(entry.last_seen(), 0x23_4567);
    }
}

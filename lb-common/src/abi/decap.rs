//! What the program on a backend shares with `sluice decap`: its counters, its settings, and the prefixes
//! that tunnels are taken from.
//!
//! No part of [`ABI_VERSION`](super::ABI_VERSION): nothing of it is adopted.

use crate::endian::Be16;

/// What became of a frame. Each is counted exactly once, in `DECAP_COUNTERS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecapCounter {
    /// An IPv4 packet was taken out of IP in IP.
    IpipIpv4 = 0,
    /// An IPv6 packet was taken out of IP in IP.
    IpipIpv6 = 1,
    /// An IPv4 packet was taken out of GUE.
    GueIpv4 = 2,
    /// An IPv6 packet was taken out of GUE.
    GueIpv6 = 3,
    /// Nothing that could be taken out: left to the kernel.
    NotATunnel = 4,
    /// A tunnel's packet from a source that is not listed: left to the kernel.
    RefusedSource = 5,
    /// A fragment of a tunnel's packet: left to the kernel.
    Fragment = 6,
    /// An IPv6 extension header before what may be a tunnel's packet: left to the kernel.
    ExtensionHeader = 7,
    /// The outer header contradicts itself or the frame: dropped.
    Malformed = 8,
    /// The inner header contradicts itself or the outer one, or is cut off: dropped.
    InnerMalformed = 9,
    /// Congestion was marked on the way, and the inner packet's ends would not understand it: dropped.
    Ecn = 10,
}

/// What the kinds of [`DecapCounter`] have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecapFate {
    /// The outer header was taken off, the rest given to the kernel.
    Decapsulated,
    /// Left to the kernel as it came in.
    Passed,
    /// Dropped.
    Dropped,
}

impl DecapCounter {
    /// Every counter, in order of its number.
    pub const ALL: [Self; 11] = [
        Self::IpipIpv4,
        Self::IpipIpv6,
        Self::GueIpv4,
        Self::GueIpv6,
        Self::NotATunnel,
        Self::RefusedSource,
        Self::Fragment,
        Self::ExtensionHeader,
        Self::Malformed,
        Self::InnerMalformed,
        Self::Ecn,
    ];

    /// How many entries `DECAP_COUNTERS` has.
    pub const COUNT: u32 = Self::ALL.len() as u32;

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IpipIpv4 => "ipip_ipv4",
            Self::IpipIpv6 => "ipip_ipv6",
            Self::GueIpv4 => "gue_ipv4",
            Self::GueIpv6 => "gue_ipv6",
            Self::NotATunnel => "not_a_tunnel",
            Self::RefusedSource => "refused_source",
            Self::Fragment => "fragment",
            Self::ExtensionHeader => "extension_header",
            Self::Malformed => "malformed",
            Self::InnerMalformed => "inner_malformed",
            Self::Ecn => "ecn",
        }
    }

    /// What became of the frame.
    #[inline(always)]
    pub const fn fate(self) -> DecapFate {
        match self {
            Self::IpipIpv4 | Self::IpipIpv6 | Self::GueIpv4 | Self::GueIpv6 => {
                DecapFate::Decapsulated
            }
            Self::NotATunnel | Self::RefusedSource | Self::Fragment | Self::ExtensionHeader => {
                DecapFate::Passed
            }
            Self::Malformed | Self::InnerMalformed | Self::Ecn => DecapFate::Dropped,
        }
    }
}

impl DecapFate {
    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decapsulated => "decapsulated",
            Self::Passed => "passed",
            Self::Dropped => "dropped",
        }
    }
}

/// The read-only global `DECAP_SETTINGS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecapSettings {
    /// UDP destination port of GUE.
    pub gue_port: Be16,
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<DecapSettings>() == 4);

/// What a prefix of `DECAP_SOURCES_IPV4` and `DECAP_SOURCES_IPV6` means: that it is there.
pub const LISTED: u8 = 1;

/// Names of the maps, globals and programs in the object file.
pub mod names {
    /// [`DecapCounter`](super::DecapCounter) to `u64`, per CPU; pinned as `maps/DECAP_COUNTERS`.
    pub const COUNTERS: &str = "DECAP_COUNTERS";
    /// IPv4 prefixes of the load balancers; not pinned.
    pub const SOURCES_IPV4: &str = "DECAP_SOURCES_IPV4";
    /// IPv6 prefixes of the load balancers; not pinned.
    pub const SOURCES_IPV6: &str = "DECAP_SOURCES_IPV6";
    /// The read-only global that holds [`DecapSettings`](super::DecapSettings).
    pub const SETTINGS: &str = "DECAP_SETTINGS";
    /// The program.
    pub const PROGRAM: &str = "decap";
    /// The same for frames that lie in several buffers.
    pub const FRAGS_PROGRAM: &str = "decap_frags";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_own_number_and_name() {
        for (number, counter) in DecapCounter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, number);
            let same_name = |other: &&DecapCounter| other.name() == counter.name();
            assert_eq!(DecapCounter::ALL.iter().filter(same_name).count(), 1);
        }
    }
}

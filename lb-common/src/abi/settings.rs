//! What is fixed when the program is loaded: a read-only global. The verifier knows its value and
//! removes what it rules out.

/// Switches: what the configuration does not use costs nothing.
pub mod feature {
    /// Some service forwards with `dnat`: replies are rewritten.
    pub const DNAT: u32 = 1;
    /// There is more than one interface: packets may leave by another than they came in by.
    pub const REDIRECT: u32 = 1 << 1;

    /// Some service listens on UDP.
    pub const UDP: u32 = 1 << 2;
    /// Some service forwards with `dsr`.
    pub const DSR: u32 = 1 << 3;
    /// Some service takes every port of its address.
    pub const ANY_PORT: u32 = 1 << 4;
    /// Slots may be in motion: flows are looked up and remembered there.
    pub const TRANSITION: u32 = 1 << 5;
    /// Some service is always tracked, or was and has entries left.
    pub const ALWAYS: u32 = 1 << 6;
    /// Some service listens on IPv6.
    pub const IPV6: u32 = 1 << 7;
    /// Frames may have VLAN tags.
    pub const VLAN: u32 = 1 << 8;
    /// Some service forwards with `ipip`.
    pub const IPIP: u32 = 1 << 9;
    /// Some service forwards with `gue`.
    pub const GUE: u32 = 1 << 10;
    /// Some tunnel ends at an IPv4 address.
    pub const OUTER_IPV4: u32 = 1 << 11;
    /// Some tunnel ends at an IPv6 address.
    pub const OUTER_IPV6: u32 = 1 << 12;
    /// Some service hashes the source address alone, or its table in motion does.
    pub const HASH_SOURCE: u32 = 1 << 13;
    /// The program writes no map: a copy that answers what would become of a packet.
    pub const DRY_RUN: u32 = 1 << 31;

    /// Every switch that a configuration turns on, with its name, for listings.
    pub const ALL: [(u32, &str); 14] = [
        (DNAT, "dnat"),
        (REDIRECT, "redirect"),
        (UDP, "udp"),
        (DSR, "dsr"),
        (ANY_PORT, "any_port"),
        (TRANSITION, "transition"),
        (ALWAYS, "always"),
        (IPV6, "ipv6"),
        (VLAN, "vlan"),
        (IPIP, "ipip"),
        (GUE, "gue"),
        (OUTER_IPV4, "outer_ipv4"),
        (OUTER_IPV6, "outer_ipv6"),
        (HASH_SOURCE, "hash_source"),
    ];
}

/// The value of [`Settings::trace_service`] that traces everything.
pub const TRACE_ALL: u32 = u32::MAX;

/// The read-only global `SETTINGS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Bits of [`feature`].
    pub features: u32,
    /// The service whose packets are traced, or [`TRACE_ALL`].
    pub trace_service: u32,
    /// At most so many trace records a second on each CPU.
    pub trace_rate: u32,
    /// At most so many entries for SYNs a tick on each CPU.
    pub syn_inserts: u32,
    /// At most so many entries for other packets a tick on each CPU.
    pub other_inserts: u32,
    /// Bits of `ipip`'s outer IPv4 source that come from the flow hash, as a number.
    pub source_entropy_ipv4: u32,
    /// The same of the last 32 bits of its IPv6 source.
    pub source_entropy_ipv6: u32,
}

const _: () = assert!(size_of::<Settings>() == 28);

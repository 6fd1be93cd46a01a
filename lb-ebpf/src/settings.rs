//! What was fixed when the program was loaded. The verifier knows these values and removes the code
//! that they rule out.

use core::mem::MaybeUninit;

use lb_common::abi::settings::{Settings, feature};

/// Set by the daemon before loading, frozen after. `MaybeUninit` keeps the compiler from taking the
/// zeros that stand here for the values.
#[unsafe(no_mangle)]
static SETTINGS: MaybeUninit<Settings> = MaybeUninit::new(Settings {
    features: 0,
    trace_service: 0,
    trace_rate: 0,
    syn_inserts: 0,
    other_inserts: 0,
    source_entropy_ipv4: 0,
    source_entropy_ipv6: 0,
});

/// Reads one field. Volatile, so that the read stays in the program for the verifier to resolve.
macro_rules! setting {
    ($field:ident) => {
        // SAFETY: initialised above, all of it, and only ever replaced by other `Settings`.
        unsafe { (&raw const (*SETTINGS.as_ptr()).$field).read_volatile() }
    };
}

/// Whether the switch of [`feature`] is on.
#[inline(always)]
fn has(switch: u32) -> bool {
    setting!(features) & switch != 0
}

/// Whether some service forwards with `dnat`.
#[inline(always)]
pub(crate) fn dnat() -> bool {
    has(feature::DNAT)
}

/// Whether some service forwards with `dsr`.
#[inline(always)]
pub(crate) fn dsr() -> bool {
    has(feature::DSR)
}

/// Whether some service listens on IPv6.
#[inline(always)]
pub(crate) fn ipv6() -> bool {
    has(feature::IPV6)
}

/// Whether frames may have VLAN tags.
#[inline(always)]
pub(crate) fn vlan() -> bool {
    has(feature::VLAN)
}

/// Whether some service forwards with `ipip`.
#[inline(always)]
pub(crate) fn ipip() -> bool {
    has(feature::IPIP)
}

/// Whether some service forwards with `gue`.
#[inline(always)]
pub(crate) fn gue() -> bool {
    has(feature::GUE)
}

/// Whether some tunnel ends at an IPv4 address.
#[inline(always)]
pub(crate) fn outer_ipv4() -> bool {
    has(feature::OUTER_IPV4)
}

/// Whether some tunnel ends at an IPv6 address.
#[inline(always)]
pub(crate) fn outer_ipv6() -> bool {
    has(feature::OUTER_IPV6)
}

/// Whether some service hashes the source address alone.
#[inline(always)]
pub(crate) fn hash_source() -> bool {
    has(feature::HASH_SOURCE)
}

/// Whether there is more than one interface.
#[inline(always)]
pub(crate) fn redirect() -> bool {
    has(feature::REDIRECT)
}

/// Whether some service listens on UDP.
#[inline(always)]
pub(crate) fn udp() -> bool {
    has(feature::UDP)
}

/// Whether some service takes every port of its address.
#[inline(always)]
pub(crate) fn any_port() -> bool {
    has(feature::ANY_PORT)
}

/// Whether slots may be in motion, or some service is always tracked: whether there are flow entries.
#[inline(always)]
pub(crate) fn flows() -> bool {
    has(feature::TRANSITION | feature::ALWAYS)
}

/// Whether slots may be in motion.
#[inline(always)]
pub(crate) fn transition() -> bool {
    has(feature::TRANSITION)
}

/// Whether some service is always tracked, or was and has entries left.
#[inline(always)]
pub(crate) fn always() -> bool {
    has(feature::ALWAYS)
}

/// Whether this is the copy that writes no map.
#[inline(always)]
pub(crate) fn dry_run() -> bool {
    has(feature::DRY_RUN)
}

/// Entries for SYNs allowed a tick on each CPU.
#[inline(always)]
pub(crate) fn syn_inserts() -> u32 {
    setting!(syn_inserts)
}

/// Entries for other packets allowed a tick on each CPU.
#[inline(always)]
pub(crate) fn other_inserts() -> u32 {
    setting!(other_inserts)
}

/// Bits of `ipip`'s outer IPv4 source that come from the flow hash.
#[inline(always)]
pub(crate) fn source_entropy_ipv4() -> u32 {
    setting!(source_entropy_ipv4)
}

/// The same of the last 32 bits of its IPv6 source.
#[inline(always)]
pub(crate) fn source_entropy_ipv6() -> u32 {
    setting!(source_entropy_ipv6)
}

/// The service whose packets are traced.
#[inline(always)]
pub(crate) fn trace_service() -> u32 {
    setting!(trace_service)
}

/// Trace records allowed a second on each CPU.
#[inline(always)]
pub(crate) fn trace_rate() -> u32 {
    setting!(trace_rate)
}

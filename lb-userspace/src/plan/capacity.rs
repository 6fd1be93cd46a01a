//! How many entries each map has, from the configured limits: what the maps are made with and what
//! plans keep to.

use crate::model::Limits;

/// Listeners for each service, on average.
const LISTENERS_PER_SERVICE: u32 = 8;
/// Reply keys for each backend, on average: it needs one a listener.
const REPLIES_PER_BACKEND: u32 = 4;

/// Entries of the maps that plans fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// `SERVICES`.
    pub services: u32,
    /// `RECORDS`: for each service the record in force and the next one.
    pub records: u32,
    /// `VIPS_IPV4`, and `VIPS_IPV6` where it is used; of both together.
    pub vips: u32,
    /// `REPLIES_IPV4`, and `REPLIES_IPV6` where it is used; of both together.
    pub replies: u32,
    /// `BACKENDS` and `BACKEND_COUNTERS`.
    pub backends: u32,
    /// Slots, not rows, in `SLOTS`.
    pub slots: u32,
    /// `FLOWS_IPV4`, and `ALWAYS_FLOWS_IPV4` where a service is always tracked.
    pub flows_ipv4: u32,
    /// `FLOWS_IPV6`, and `ALWAYS_FLOWS_IPV6`, where some service listens on IPv6.
    pub flows_ipv6: u32,
}

impl From<&Limits> for Capacity {
    fn from(limits: &Limits) -> Self {
        let Limits {
            services,
            backends,
            slots,
            flows_ipv4,
            flows_ipv6,
        } = *limits;
        Self {
            services,
            records: services.saturating_mul(2),
            vips: services.saturating_mul(LISTENERS_PER_SERVICE),
            replies: backends.saturating_mul(REPLIES_PER_BACKEND),
            backends,
            slots,
            flows_ipv4,
            flows_ipv6,
        }
    }
}

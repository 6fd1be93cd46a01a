//! `[limits]`.

use toml::Spanned;

use super::words::number;
use crate::{
    config::{
        raw::RawLimits,
        report::{FileId, Report, Spot},
    },
    model::Limits,
};

/// The largest `slots`, so the largest `table_size` too: 256 MiB of table.
pub(super) const MAX_SLOTS: u32 = 1 << 26;

/// The largest `flows_ipv4` and `flows_ipv6`: 1.4 and 1.8 GiB of table.
const MAX_FLOWS: u32 = 1 << 24;

/// `[limits]`, each with where it stands.
pub(super) struct Bounds {
    /// Services.
    pub(super) services: Bound,
    /// Backends over all services.
    pub(super) backends: Bound,
    /// Slots over all services.
    pub(super) slots: Bound,
    /// IPv4 flow entries over all services.
    pub(super) flows_ipv4: Bound,
    /// IPv6 flow entries over all services.
    pub(super) flows_ipv6: Bound,
}

/// One limit.
pub(super) struct Bound {
    /// So many, and no more.
    pub(super) most: u32,
    /// `None`: the default.
    pub(super) spot: Option<Spot>,
}

impl Bounds {
    /// What the model keeps of them.
    pub(super) fn limits(&self) -> Limits {
        let Self {
            services,
            backends,
            slots,
            flows_ipv4,
            flows_ipv6,
        } = self;
        Limits {
            services: services.most,
            backends: backends.most,
            slots: slots.most,
            flows_ipv4: flows_ipv4.most,
            flows_ipv6: flows_ipv6.most,
        }
    }
}

/// `[limits]`; `None` where it is wrong, so that nothing is measured by it.
pub(super) fn bounds(raw: RawLimits, report: &mut Report<'_>) -> Option<Bounds> {
    let defaults = Limits::default();
    let RawLimits {
        services,
        backends,
        slots,
        flows_ipv4,
        flows_ipv6,
    } = raw;
    let mut bound = |field: Option<Spanned<i64>>, range, default| {
        let Some(raw) = field.map(|raw| FileId(0).place(raw)) else {
            return Some(Bound {
                most: default,
                spot: None,
            });
        };
        Some(Bound {
            most: number(&raw, range, report)?,
            spot: Some(raw.spot),
        })
    };
    // All of them are looked at before any of them gives up.
    let services = bound(services, 1..=65_536, defaults.services);
    let backends = bound(backends, 1..=1_048_576, defaults.backends);
    let slots = bound(slots, 16..=MAX_SLOTS, defaults.slots);
    let flows_ipv4 = bound(flows_ipv4, 1..=MAX_FLOWS, defaults.flows_ipv4);
    let flows_ipv6 = bound(flows_ipv6, 1..=MAX_FLOWS, defaults.flows_ipv6);
    Some(Bounds {
        services: services?,
        backends: backends?,
        slots: slots?,
        flows_ipv4: flows_ipv4?,
        flows_ipv6: flows_ipv6?,
    })
}

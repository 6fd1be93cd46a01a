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

/// `[limits]`, each with where it stands.
pub(super) struct Bounds {
    /// Services.
    pub(super) services: Bound,
    /// Backends over all services.
    pub(super) backends: Bound,
    /// Slots over all services.
    pub(super) slots: Bound,
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
        } = self;
        Limits {
            services: services.most,
            backends: backends.most,
            slots: slots.most,
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
    // All three are looked at before any of them gives up.
    let services = bound(services, 1..=65_536, defaults.services);
    let backends = bound(backends, 1..=1_048_576, defaults.backends);
    let slots = bound(slots, 16..=MAX_SLOTS, defaults.slots);
    Some(Bounds {
        services: services?,
        backends: backends?,
        slots: slots?,
    })
}

//! `[limits]`.

use super::words::number;
use crate::{
    config::{
        raw::RawLimits,
        report::{Placed, Report},
    },
    model::Limits,
};

/// The largest `slots`, so the largest `table_size` too: 256 MiB of table.
pub(super) const MAX_SLOTS: u32 = 1 << 26;

/// `[limits]`; `None` where it is wrong, so that nothing is measured by it.
pub(super) fn limits(raw: Option<Placed<RawLimits>>, report: &mut Report<'_>) -> Option<Limits> {
    let defaults = Limits::default();
    let Some(Placed { value: raw, spot }) = raw else {
        return Some(defaults);
    };
    let RawLimits {
        services,
        backends,
        slots,
    } = raw;
    let mut read = |field: Option<_>, range, default| match field {
        Some(raw) => number(&spot.file.place(raw), range, report),
        None => Some(default),
    };
    // All three are looked at before any of them gives up.
    let services = read(services, 1..=65_536, defaults.services);
    let backends = read(backends, 1..=1_048_576, defaults.backends);
    let slots = read(slots, 16..=MAX_SLOTS, defaults.slots);
    Some(Limits {
        services: services?,
        backends: backends?,
        slots: slots?,
    })
}

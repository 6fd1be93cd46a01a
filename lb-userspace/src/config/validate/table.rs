//! `table_size`: a prime, and slots enough for the backends.

use super::{limits::MAX_SLOTS, prime, words::number};
use crate::config::report::{Placed, Report, Spot};

const DEFAULT_SIZE: u32 = 16_381;
/// A slot names a backend by 16 bits; 0 and 0xFFFF mean something else.
const MAX_BACKENDS: usize = 65_534;
/// Fewer, and backends of equal weight get visibly unequal shares.
const SLOTS_FOR_EACH: usize = 32;

/// The size of a service's table; the service stands at `service`.
pub(super) fn size(
    raw: Option<Placed<i64>>,
    service: &Spot,
    backends: usize,
    report: &mut Report<'_>,
) -> u32 {
    match raw {
        Some(raw) => {
            let size = prime_size(&raw, report);
            fits(size, &raw.spot, "", backends, report);
            size
        }
        None => {
            fits(DEFAULT_SIZE, service, "table_size", backends, report);
            DEFAULT_SIZE
        }
    }
}

fn prime_size(raw: &Placed<i64>, report: &mut Report<'_>) -> u32 {
    let Some(size) = number(raw, 2..=MAX_SLOTS, report) else {
        return DEFAULT_SIZE;
    };
    if !prime::is_prime(size) {
        let near: Vec<_> = prime::neighbours(size, MAX_SLOTS)
            .iter()
            .map(u32::to_string)
            .collect();
        report.error(
            raw.spot.clone(),
            format!("{size} is not a prime, use {}", near.join(" or ")),
        );
    }
    size
}

/// `spot` is the size's, or the service's that lacks the `key`.
fn fits(slots: u32, spot: &Spot, key: &str, backends: usize, report: &mut Report<'_>) {
    let enough = backends.saturating_mul(SLOTS_FOR_EACH);
    let slots_given = usize::try_from(slots).unwrap_or(usize::MAX);
    if backends > MAX_BACKENDS {
        let message =
            format!("{backends} backends, a service has at most {MAX_BACKENDS}: split it");
        report.missing(spot, key, message);
    } else if backends > slots_given {
        let message = format!(
            "{slots} slots do not go round for {backends} backends, use a prime of at least {enough}"
        );
        report.missing(spot, key, message);
    } else if enough > slots_given {
        let message = format!(
            "{slots} slots for {backends} backends make uneven shares, \
             use a prime of at least {enough}"
        );
        report.warn(spot, key, message);
    }
}

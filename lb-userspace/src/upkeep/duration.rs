//! Durations in ticks.

use std::time::Duration;

use lb_common::abi::flow::TICK_SHIFT;

/// How many ticks a duration lasts at least: rounded up, and one more, since both its ends may be
/// anywhere in a tick.
pub const fn in_ticks(duration: Duration) -> u64 {
    let nanoseconds = duration.as_nanos();
    let ticks = nanoseconds.div_ceil(1 << TICK_SHIFT);
    if ticks > u32::MAX as u128 {
        u32::MAX as u64
    } else {
        ticks as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_is_cut_short() {
        assert_eq!(in_ticks(Duration::ZERO), 1);
        assert_eq!(in_ticks(Duration::from_nanos(1)), 2);
        assert_eq!(in_ticks(Duration::from_secs(1)), 2);
        assert_eq!(in_ticks(Duration::from_secs(900)), 840);
        assert_eq!(in_ticks(Duration::MAX), u64::from(u32::MAX));
    }
}

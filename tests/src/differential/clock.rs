//! The tick that the program stamps flows with, known for sure.

use std::{thread, time::Duration};

use lb_common::abi::flow::TICK_SHIFT;
use nix::time::{ClockId, clock_gettime};

/// The program's clock may be behind by a timer interrupt, of which there are at least a hundred a second.
const BEHIND: u64 = 15_000_000;

/// The tick that it is now, for this clock and for the program's. Where the tick has just begun, that is
/// waited for.
pub(super) fn settled() -> u64 {
    loop {
        let now = nanoseconds();
        let begun = now % (1 << TICK_SHIFT);
        if begun >= BEHIND {
            return now >> TICK_SHIFT;
        }
        thread::sleep(Duration::from_nanos(BEHIND - begun));
    }
}

/// The tick that it is now.
pub(super) fn tick() -> u64 {
    nanoseconds() >> TICK_SHIFT
}

fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock that is always there");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

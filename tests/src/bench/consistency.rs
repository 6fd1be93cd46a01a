//! `consistency`: what becomes of connections while backends change.
//!
//! - `streams`: real connections through the daemon, in a network of their own; `script` says what
//!   changes, `scene` does it.
//! - `flows` and `flood`: packet by packet through the program of a daemon (`bed`), for more flows than
//!   there could be sockets.
//!
//! These figures are counts, not times: a machine that is slow or busy changes none of those that have
//! to be zero.

mod bed;
mod flood;
mod flows;
mod operator;
mod scene;
mod script;
mod streams;

use std::{ops::Range, time::Duration};

use anyhow::{Result, bail};

use crate::{
    figure::{Figure, Goal, Part},
    progress::Progress,
};

/// The name of the benchmark in reports.
pub(crate) const NAME: &str = "consistency";

/// Longer than any run: a backend that leaves the file is drained, and its connections last.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3600);

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    /// A machine that does not keep up proves nothing: an error, unless this is only to see that all is
    /// well. Time fails no such run.
    may_be_slow: bool,
    /// Connections that are held.
    connections: u32,
    /// Changes of the backends, and the time from one to the next.
    changes: usize,
    gap: Range<Duration>,
    /// `transition_window`.
    window: Duration,
    /// Flows that are followed packet by packet; changes by the operator, and how long they speak
    /// after each.
    flows: u32,
    orders: usize,
    packet_gap: Duration,
    /// `transition_window` under the flood, and how long that lasts.
    flood_window: Duration,
    flood: Duration,
    /// `flows_ipv4` under the flood; `None`: the default, which it fills.
    flood_table: Option<u32>,
}

impl Effort {
    /// For a quick run, or a whole one.
    pub(crate) const fn of(quick: bool) -> Self {
        if quick {
            Self {
                may_be_slow: true,
                connections: 200,
                changes: 10,
                gap: Duration::from_millis(400)..Duration::from_millis(600),
                window: Duration::from_secs(3),
                flows: 10_000,
                orders: 6,
                packet_gap: Duration::from_millis(400),
                flood_window: Duration::from_secs(3),
                flood: Duration::from_secs(1),
                // Not filled: no need to wait until a flood's entries expire.
                flood_table: Some(1 << 19),
            }
        } else {
            Self {
                may_be_slow: false,
                connections: 2000,
                changes: 100,
                gap: Duration::from_secs(2)..Duration::from_secs(3),
                window: Duration::from_secs(10),
                flows: 100_000,
                orders: 50,
                packet_gap: Duration::from_secs(3),
                flood_window: Duration::from_secs(10),
                flood: Duration::from_secs(20),
                flood_table: None,
            }
        }
    }
}

/// Measures everything, each part whatever became of the one before.
pub(crate) fn run(effort: &Effort, progress: &Progress) -> Vec<Part> {
    let mut parts = streams::run(effort, progress);
    parts.push(("flows".to_owned(), flows::run(effort, progress)));
    parts.push(("flood".to_owned(), flood::run(effort, progress)));
    let named = |(part, figures)| (format!("{NAME}, {part}"), figures);
    parts.into_iter().map(named).collect()
}

/// Whether what was counted proves something. `why`: what the machine did not keep up with, if it did not.
fn proves(effort: &Effort, why: Option<String>) -> Result<bool> {
    match why {
        None => Ok(true),
        Some(why) if effort.may_be_slow => {
            eprintln!("bench: {why}; this proves nothing and is not judged");
            Ok(false)
        }
        Some(why) => bail!(why),
    }
}

/// That flows were silent for longer than their entries are sure to be made in, if they were.
fn too_silent(silence: Duration, window: Duration) -> Option<String> {
    (silence >= window).then(|| {
        format!(
            "flows were silent for {silence:.1?}, and the window is {window:?}: this machine is too slow"
        )
    })
}

/// So many of something.
fn count(case: String, unit: &str, flows: u32, count: u64) -> Figure {
    Figure {
        flows: Some(flows),
        ..Figure::new(NAME, case, unit, &[count as f64])
    }
}

/// Of which there must be none, or the run fails.
fn none_of(case: String, unit: &str, flows: u32, found: u64) -> Figure {
    let mut figure = count(case, unit, flows, found);
    figure.judge(Goal::None, &[]);
    figure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_machine_fails_no_quick_run() {
        let [fast, slow] = [2, 4].map(Duration::from_secs);
        let why = || too_silent(slow, Duration::from_secs(3));
        assert!(!proves(&Effort::of(true), why()).unwrap());
        assert!(proves(&Effort::of(false), why()).is_err());
        assert!(proves(&Effort::of(true), too_silent(fast, slow)).unwrap());
    }
}

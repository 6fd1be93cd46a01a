//! `consistency`: what becomes of connections while backends change.
//!
//! - `streams`: real connections through the daemon, in a network of their own; `script` says what
//!   changes, `scene` does it.
//!
//! These figures are counts, not times: a machine that is slow or busy changes none of those that have
//! to be zero.

mod scene;
mod script;
mod streams;

use std::{ops::Range, time::Duration};

use anyhow::Result;

use crate::{
    figure::{Figure, Goal},
    progress::Progress,
};

/// The name of the benchmark in reports.
pub(crate) const NAME: &str = "consistency";

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    /// Connections that are held.
    connections: u32,
    /// Changes of the backends, and the time from one to the next.
    changes: usize,
    gap: Range<Duration>,
    /// `transition_window`.
    window: Duration,
}

impl Effort {
    /// For a quick run, or a whole one.
    pub(crate) const fn of(quick: bool) -> Self {
        if quick {
            Self {
                connections: 200,
                changes: 10,
                gap: Duration::from_millis(400)..Duration::from_millis(600),
                window: Duration::from_secs(3),
            }
        } else {
            Self {
                connections: 2000,
                changes: 100,
                gap: Duration::from_secs(2)..Duration::from_secs(3),
                window: Duration::from_secs(10),
            }
        }
    }
}

/// Measures everything.
pub(crate) fn run(effort: &Effort, progress: &Progress) -> Result<Vec<Figure>> {
    streams::run(effort, progress)
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

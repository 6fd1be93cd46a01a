//! A figure: what was measured, how much it came to over the runs, what was hoped for.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// What a figure has to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// The net cost, as a multiple of the floor, is at most this.
    Net(f64),
    /// The total is at most this many times that of another case at so many flows.
    TotalOf(f64, &'static str, u32),
    /// The relative value is at least this.
    AtLeast(f64),
    /// The relative value is at most this.
    AtMost(f64),
    /// There are none; where there are, the run fails.
    None,
}

/// A part of a benchmark by its name, and what it gave. One that failed leaves the others.
pub(crate) type Part = (String, Result<Vec<Figure>>);

/// Least, middle and most of some runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) minimum: f64,
    pub(crate) median: f64,
    pub(crate) maximum: f64,
    /// In the order in which they were measured.
    pub(crate) runs: Vec<f64>,
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// `program`, `veth`, `control`, `consistency`.
    pub(crate) bench: String,
    /// What was measured.
    pub(crate) case: String,
    /// The picture that it is drawn into, where it is.
    #[serde(default)]
    pub(crate) chart: Option<String>,
    /// Number of flows, where it matters.
    pub(crate) flows: Option<u32>,
    /// The unit of the values, and whether more is better.
    pub(crate) unit: String,
    pub(crate) more_is_better: bool,
    /// The values.
    pub(crate) total: Spread,
    /// Values of the same by the thread's CPU time.
    pub(crate) cpu: Option<Spread>,
    /// The floor in the same runs.
    pub(crate) floor: Option<Spread>,
    /// What the goal speaks of: the net cost as a multiple of the floor, a share, a ratio.
    pub(crate) relative: Option<f64>,
    /// The goal in words, and whether it was reached.
    pub(crate) goal: Option<String>,
    pub(crate) reached: Option<bool>,
    /// The run fails where the goal is not reached.
    #[serde(default)]
    pub(crate) required: bool,
}

impl Spread {
    /// Of at least one run; of none all is NaN.
    pub(crate) fn of(runs: &[f64]) -> Self {
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        Self {
            minimum: at(0),
            median: f64::midpoint(at(low), at(high)),
            maximum: at(sorted.len().saturating_sub(1)),
            runs: runs.to_vec(),
        }
    }
}

impl Figure {
    /// A figure without floor and goal.
    pub(crate) fn new(bench: &str, case: impl Into<String>, unit: &str, runs: &[f64]) -> Self {
        Self {
            bench: bench.to_owned(),
            case: case.into(),
            chart: None,
            flows: None,
            unit: unit.to_owned(),
            more_is_better: false,
            total: Spread::of(runs),
            cpu: None,
            floor: None,
            relative: None,
            goal: None,
            reached: None,
            required: false,
        }
    }

    /// Whether it is so wrong that the run fails.
    pub(crate) fn fails(&self) -> bool {
        self.required && self.reached != Some(true)
    }

    /// Says what was hoped for and whether it was reached. `others`: the figures that the goal may
    /// compare with.
    pub(crate) fn judge(&mut self, goal: Goal, others: &[Self]) {
        self.required = goal == Goal::None;
        let (words, reached) = match goal {
            Goal::Net(most) | Goal::AtMost(most) => (
                format!("at most {most}"),
                self.relative.map(|net| net <= most),
            ),
            Goal::AtLeast(least) => (
                format!("at least {least}"),
                self.relative.map(|share| share >= least),
            ),
            Goal::None => ("none".to_owned(), Some(self.total.maximum == 0.0)),
            Goal::TotalOf(most, case, flows) => {
                let other = others
                    .iter()
                    .find(|other| other.case == case && other.flows == Some(flows));
                let times = other.map(|other| self.total.median / other.total.median);
                let shown = times.map_or_else(|| "?".to_owned(), |times| format!("{times:.2}"));
                (
                    format!("total {shown} of {case}, {flows} flow: at most {most}"),
                    times.map(|times| times <= most),
                )
            }
        };
        self.goal = Some(words);
        self.reached = reached;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]).median, 2.0);
    }

    #[test]
    fn a_goal_on_another_case_is_judged_by_totals() {
        let base = Figure {
            flows: Some(1),
            ..Figure::new("program", "base", "ns", &[100.0])
        };
        let mut slow = Figure::new("program", "slow", "ns", &[120.0]);
        slow.judge(Goal::TotalOf(1.15, "base", 1), &[base]);
        assert_eq!(slow.reached, Some(false));
    }

    #[test]
    fn one_of_what_there_must_be_none_of_fails_the_run() {
        for (found, fails) in [(0.0, false), (1.0, true)] {
            let mut figure = Figure::new("consistency", "broken", "connections", &[found]);
            figure.judge(Goal::None, &[]);
            assert_eq!(figure.fails(), fails);
        }
        let mut slow = Figure::new("veth", "slow", "Mpps", &[1.0]);
        slow.relative = Some(0.5);
        slow.judge(Goal::AtLeast(0.85), &[]);
        assert!(!slow.fails(), "times never fail a run");
    }
}

//! `--compare`: what has become worse since an earlier report.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::{consistency, figure::Figure, report::Report};

/// How much worse a figure may be before it counts, as a factor: noise of a quiet machine.
const TOLERANCE: f64 = 1.10;

/// Differences below this are noise whatever the factor: nanoseconds, tenths of a multiple.
const TOO_SMALL: f64 = 0.1;

/// What a comparison found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Figures that both reports have.
    pub(crate) compared: usize,
    /// A line for each that is worse than it was.
    pub(crate) worse: Vec<String>,
}

/// Reads an earlier report that a `quick` run, or a whole one, may be compared with.
///
/// # Errors
/// Where it cannot be read, or is of the other kind.
pub(crate) fn read(path: &Path, quick: bool) -> Result<Report> {
    let old = Report::read(path)?;
    let kind = |quick| if quick { "quick" } else { "whole" };
    ensure!(
        old.quick == quick,
        "{} is of a {} run, this is a {} one, and their figures do not compare: measure it anew",
        path.display(),
        kind(old.quick),
        kind(quick)
    );
    Ok(old)
}

/// Compares with an earlier report; of another machine, only multiples.
pub(crate) fn compare(old: &Report, new: &Report) -> Found {
    let same_machine = old.is_of_machine_of(new);
    let pairs: Vec<_> = (new.figures.iter())
        // Counts of what broke are judged by themselves.
        .filter(|figure| figure.bench != consistency::NAME)
        .filter_map(|figure| {
            let before = old.figures.iter().find(|other| same(other, figure))?;
            Some((figure, values(before, figure, same_machine)?))
        })
        .collect();
    let worse = (pairs.iter())
        .filter(|(figure, [then, now])| is_worse(*then, *now, figure.more_is_better))
        .map(|(figure, [then, now])| {
            let Figure {
                bench, case, flows, ..
            } = figure;
            let flows = flows.map_or_else(String::new, |flows| format!(", {flows} flows"));
            format!("worse: {bench}, {case}{flows}: {then:.2} was, {now:.2} is")
        });
    Found {
        compared: pairs.len(),
        worse: worse.collect(),
    }
}

fn same(a: &Figure, b: &Figure) -> bool {
    (&a.bench, &a.case, a.flows, &a.unit) == (&b.bench, &b.case, b.flows, &b.unit)
}

/// What it was and what it is: multiples of a floor, where there are any, since they do not change with
/// the machine's mood.
fn values(before: &Figure, figure: &Figure, same_machine: bool) -> Option<[f64; 2]> {
    match (before.relative, figure.relative) {
        (Some(then), Some(now)) => Some([then, now]),
        _ => same_machine.then_some([before.total.median, figure.total.median]),
    }
}

fn is_worse(then: f64, now: f64, more_is_better: bool) -> bool {
    let (good, bad) = if more_is_better {
        (now, then)
    } else {
        (then, now)
    };
    bad > good * TOLERANCE && bad - good > TOO_SMALL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(total: f64, relative: f64) -> Report {
        let mut report = Report::new(false).unwrap();
        let mut figure = Figure::new("program", "dnat", "ns", &[total]);
        figure.relative = Some(relative);
        report.figures.push(figure);
        report
    }

    fn worse(old: &Report, new: &Report) -> Vec<String> {
        compare(old, new).worse
    }

    #[test]
    fn a_slower_machine_is_not_a_slower_program() {
        assert!(worse(&report(50.0, 1.5), &report(100.0, 1.5)).is_empty());
    }

    #[test]
    fn what_is_worse_is_named() {
        let lines = worse(&report(50.0, 1.5), &report(50.0, 1.9));
        assert_eq!(lines, ["worse: program, dnat: 1.50 was, 1.90 is"]);
        assert!(worse(&report(50.0, 1.9), &report(50.0, 1.5)).is_empty());
    }

    #[test]
    fn times_of_another_machine_are_not_compared() {
        let [mut old, mut new] = [50.0, 100.0].map(|total| report(total, 1.5));
        for report in [&mut old, &mut new] {
            report.figures[0].relative = None;
        }
        assert_eq!(compare(&old, &new).worse.len(), 1);
        old.cpus += 1;
        let nothing = Found {
            compared: 0,
            worse: Vec::new(),
        };
        assert_eq!(compare(&old, &new), nothing);
        assert_eq!(compare(&report(50.0, 1.5), &new).compared, 1);
    }

    #[test]
    fn a_quick_run_is_not_compared_with_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        report(50.0, 1.5).write(&path).unwrap();
        assert!(read(&path, false).is_ok());
        let error = read(&path, true).unwrap_err().to_string();
        assert!(
            error.contains("of a whole run, this is a quick one"),
            "{error}"
        );
    }

    #[test]
    fn fewer_packets_a_second_are_worse() {
        assert!(is_worse(4.0, 3.0, true));
        assert!(!is_worse(3.0, 4.0, true));
    }
}

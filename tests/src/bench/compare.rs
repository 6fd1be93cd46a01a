//! `--compare`: what has become worse since an earlier report.

use crate::{consistency, figure::Figure, report::Report};

/// How much worse a figure may be before it counts, as a factor: noise of a quiet machine.
const TOLERANCE: f64 = 1.10;

/// Differences below this are noise whatever the factor: nanoseconds, tenths of a multiple.
const TOO_SMALL: f64 = 0.1;

/// A line for each figure that is worse than it was.
pub(crate) fn worse(old: &Report, new: &Report) -> Vec<String> {
    new.figures
        .iter()
        // Counts of what broke are judged by themselves.
        .filter(|figure| figure.bench != consistency::NAME)
        .filter_map(|figure| {
            let before = old.figures.iter().find(|other| same(other, figure))?;
            let (then, now) = values(before, figure);
            is_worse(then, now, figure.more_is_better).then(|| {
                format!(
                    "worse: {}, {}{}: {then:.2} was, {now:.2} is",
                    figure.bench,
                    figure.case,
                    figure
                        .flows
                        .map_or_else(String::new, |flows| format!(", {flows} flows"))
                )
            })
        })
        .collect()
}

fn same(a: &Figure, b: &Figure) -> bool {
    (&a.bench, &a.case, a.flows, &a.unit) == (&b.bench, &b.case, b.flows, &b.unit)
}

/// Multiples of a floor, where there are any: they do not change with the machine's mood.
fn values(before: &Figure, figure: &Figure) -> (f64, f64) {
    match (before.relative, figure.relative) {
        (Some(then), Some(now)) => (then, now),
        _ => (before.total.median, figure.total.median),
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
    fn fewer_packets_a_second_are_worse() {
        assert!(is_worse(4.0, 3.0, true));
        assert!(!is_worse(3.0, 4.0, true));
    }
}

//! What came of the requests, and whether the failures among them were to be expected.
//!
//! A backend that dies takes requests with it until its health checks have noticed: those are
//! excused. Every other failure is Sluice's.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use testbed::{load::Outcome, mode::Family};

/// Seconds of history for the graphs.
pub(crate) const HISTORY: usize = 40;

/// What came of the requests by HTTP, and by UDP where there are any.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    pub(crate) http: Ledger,
    pub(crate) udp: Ledger,
}

/// Running totals.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Requests answered, by backend.
    pub(crate) answered: BTreeMap<String, u64>,
    /// Requests that failed while a death was still to be noticed.
    pub(crate) excused: u64,
    /// Requests that failed otherwise.
    pub(crate) unexcused: u64,
    /// Why the first of them did.
    pub(crate) first_error: Option<String>,
    /// Requests answered in the last seconds, by backend, the latest last.
    pub(crate) history: BTreeMap<String, VecDeque<u64>>,
    answered_by: BTreeMap<Family, u64>,
    failed_by: BTreeMap<Family, u64>,
    windows: Vec<Window>,
    second: BTreeMap<String, u64>,
}

/// From a death to the moment it must be noticed.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Instant,
    until: Instant,
}

impl Ledgers {
    /// A backend is about to die; call it before.
    pub(crate) fn excuse(&mut self, from: Instant, detection: Duration) {
        self.http.excuse(from, detection);
        self.udp.excuse(from, detection);
    }
}

impl Ledger {
    fn excuse(&mut self, from: Instant, detection: Duration) {
        self.windows.push(Window {
            from,
            until: from + detection,
        });
    }

    /// Counts outcomes of requests by IP of `family`.
    pub(crate) fn record_all(
        &mut self,
        family: Family,
        outcomes: impl IntoIterator<Item = Outcome>,
    ) {
        outcomes
            .into_iter()
            .for_each(|outcome| self.record(family, &outcome));
    }

    fn record(&mut self, family: Family, outcome: &Outcome) {
        let of_family = match outcome.result {
            Ok(_) => &mut self.answered_by,
            Err(_) => &mut self.failed_by,
        };
        *of_family.entry(family).or_default() += 1;
        match &outcome.result {
            Ok(backend) => {
                *self.answered.entry(backend.clone()).or_default() += 1;
                *self.second.entry(backend.clone()).or_default() += 1;
            }
            Err(_) if self.is_excused(outcome) => self.excused += 1,
            Err(error) => {
                self.unexcused += 1;
                self.first_error.get_or_insert_with(|| error.clone());
            }
        }
    }

    /// A second has passed; gives the answers in it, by backend.
    pub(crate) fn end_second(&mut self) -> BTreeMap<String, u64> {
        let second = std::mem::take(&mut self.second);
        for name in second.keys() {
            self.history.entry(name.clone()).or_default();
        }
        for (name, history) in &mut self.history {
            history.push_back(second.get(name).copied().unwrap_or(0));
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
        second
    }

    /// Requests answered and failed.
    pub(crate) fn requests(&self) -> u64 {
        self.answered() + self.failed()
    }

    /// The same, those by IP of `family`.
    pub(crate) fn requests_by(&self, family: Family) -> u64 {
        let failed = self.failed_by.get(&family).copied().unwrap_or(0);
        self.answered_by(family) + failed
    }

    /// Requests answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.values().sum()
    }

    /// The same, those by IP of `family`.
    pub(crate) fn answered_by(&self, family: Family) -> u64 {
        self.answered_by.get(&family).copied().unwrap_or(0)
    }

    /// Requests that failed, excused or not.
    pub(crate) fn failed(&self) -> u64 {
        self.excused + self.unexcused
    }

    /// It was on its way while a death was still to be noticed.
    fn is_excused(&self, outcome: &Outcome) -> bool {
        self.windows
            .iter()
            .any(|window| outcome.started <= window.until && outcome.ended >= window.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETECTION: Duration = Duration::from_millis(2300);

    fn failure(start: Instant, from: u64, to: u64) -> Outcome {
        Outcome {
            started: start + Duration::from_millis(from),
            ended: start + Duration::from_millis(to),
            result: Err("no answer".to_owned()),
        }
    }

    #[test]
    fn only_requests_under_way_while_a_death_was_unnoticed_are_excused() {
        let start = Instant::now();
        let kill = start + Duration::from_secs(5);
        let cases = [
            ("over before the kill", 4000, 4900, 0),
            ("under way at the kill", 4900, 6900, 1),
            ("begun before the deadline", 7200, 9200, 1),
            ("begun after the deadline", 7400, 7500, 0),
        ];
        for (what, from, to, excused) in cases {
            let mut ledger = Ledger::default();
            ledger.excuse(kill, DETECTION);
            ledger.record(Family::Ipv4, &failure(start, from, to));
            assert_eq!(
                (ledger.excused, ledger.unexcused),
                (excused, 1 - excused),
                "{what}"
            );
            assert_eq!(ledger.first_error.is_some(), excused == 0, "{what}");
        }
    }

    #[test]
    fn a_second_without_answers_is_a_zero_in_the_history() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        ledger.record(
            Family::Ipv6,
            &Outcome {
                started: now,
                ended: now,
                result: Ok("b1".to_owned()),
            },
        );
        assert_eq!(ledger.end_second().get("b1"), Some(&1));
        ledger.end_second();
        assert_eq!(ledger.history["b1"], [1, 0]);
        assert_eq!((ledger.requests(), ledger.failed()), (1, 0));
        let by = Family::ALL.map(|family| ledger.requests_by(family));
        assert_eq!(by, [0, 1]);
    }
}

//! What was counted.

use std::{collections::BTreeMap, fmt};

use lb_common::abi::decap::{DecapCounter, DecapFate};
use serde::Serialize;

use crate::dataplane::DecapCounts;

/// Every counter of an instance, by what became of the frames. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of this type.
    pub schema: u32,
    /// The instance.
    pub instance: String,
    /// Given to the kernel without their outer header.
    pub decapsulated: BTreeMap<&'static str, u64>,
    /// Left to the kernel as they came in.
    pub passed: BTreeMap<&'static str, u64>,
    /// Dropped.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Sorts what was counted.
    pub fn new(instance: &str, counts: &DecapCounts) -> Self {
        let of = |fate: DecapFate| {
            let counts = counts.iter().filter(|(counter, _)| counter.fate() == fate);
            counts
                .map(|(counter, count)| (counter.name(), *count))
                .collect()
        };
        Self {
            schema: 1,
            instance: instance.to_owned(),
            decapsulated: of(DecapFate::Decapsulated),
            passed: of(DecapFate::Passed),
            dropped: of(DecapFate::Dropped),
        }
    }

    /// Every counter: what became of the frames, its name, its value; in the order of their numbers.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        DecapCounter::ALL.into_iter().map(|counter| {
            let group = match counter.fate() {
                DecapFate::Decapsulated => &self.decapsulated,
                DecapFate::Passed => &self.passed,
                DecapFate::Dropped => &self.dropped,
            };
            let value = group.get(counter.name()).copied().unwrap_or(0);
            (counter.fate().name(), counter.name(), value)
        })
    }
}

impl fmt::Display for Report {
    /// On one line, without the counters that are zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = [
            (DecapFate::Decapsulated, &self.decapsulated),
            (DecapFate::Passed, &self.passed),
            (DecapFate::Dropped, &self.dropped),
        ];
        for (number, (fate, group)) in groups.into_iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{} {}", fate.name(), group.values().sum::<u64>())?;
            let counted: Vec<_> = group
                .iter()
                .filter(|(_, count)| **count > 0)
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            if !counted.is_empty() {
                write!(f, " ({})", counted.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counts: &[(DecapCounter, u64)]) -> Report {
        let mut all: DecapCounts = DecapCounter::ALL.map(|counter| (counter, 0)).into();
        all.extend(counts.iter().copied());
        Report::new("default", &all)
    }

    #[test]
    fn a_report_on_one_line_has_what_was_counted() {
        let idle = "decapsulated 0, passed 0, dropped 0";
        assert_eq!(report(&[]).to_string(), idle);
        let busy = report(&[
            (DecapCounter::IpipIpv4, 10),
            (DecapCounter::GueIpv6, 2),
            (DecapCounter::NotATunnel, 7),
            (DecapCounter::Ecn, 1),
        ]);
        assert_eq!(
            busy.to_string(),
            "decapsulated 12 (gue_ipv6 2, ipip_ipv4 10), passed 7 (not_a_tunnel 7), dropped 1 (ecn 1)"
        );
    }

    #[test]
    fn every_counter_has_a_row_and_a_field() {
        let report = report(&[(DecapCounter::Fragment, 3)]);
        let names: Vec<_> = report.rows().map(|(_, name, _)| name).collect();
        assert_eq!(names, DecapCounter::ALL.map(DecapCounter::name));
        assert!(report.rows().any(|row| row == ("passed", "fragment", 3)));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["passed"]["fragment"], 3);
        assert_eq!(json["dropped"]["inner_malformed"], 0);
        assert_eq!(json["decapsulated"].as_object().unwrap().len(), 4);
    }
}

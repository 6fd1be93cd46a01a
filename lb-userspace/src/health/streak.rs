//! Rise and fall: how a row of answers becomes a backend's health. Pure.

use crate::model::{Health, HealthCheck};

/// A backend's health, and how many answers in a row speak against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Streak {
    health: Health,
    contrary: u32,
    rise: u32,
    fall: u32,
}

impl Streak {
    /// Starts from the last known health.
    pub(super) fn new(initial: Health, check: &HealthCheck) -> Self {
        Self {
            health: match initial {
                Health::Up | Health::Down => initial,
                Health::Unknown | Health::Unchecked => Health::Unknown,
            },
            contrary: 0,
            rise: check.rise,
            fall: check.fall,
        }
    }

    /// The health as it stands.
    pub(super) const fn health(&self) -> Health {
        self.health
    }

    /// Counts an answer and returns the health after it.
    pub(super) fn record(&mut self, ok: bool) -> Health {
        let answered = if ok { Health::Up } else { Health::Down };
        let needed = match self.health {
            // It had no traffic that one stray answer could harm.
            Health::Unknown | Health::Unchecked => 1,
            Health::Up => self.fall,
            Health::Down => self.rise,
        };
        if answered == self.health {
            self.contrary = 0;
            return self.health;
        }
        self.contrary = self.contrary.saturating_add(1);
        if self.contrary >= needed {
            self.health = answered;
            self.contrary = 0;
        }
        self.health
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Probe;

    fn streak(initial: Health, rise: u32, fall: u32) -> Streak {
        Streak::new(
            initial,
            &HealthCheck {
                probe: Probe::Tcp,
                interval: Duration::from_secs(1),
                timeout: Duration::from_millis(500),
                rise,
                fall,
            },
        )
    }

    /// `+` a success, `-` a failure; returns the health after each as `U`, `D` or `?`.
    fn walk(streak: &mut Streak, answers: &str) -> String {
        answers
            .chars()
            .map(|answer| match streak.record(answer == '+') {
                Health::Up => 'U',
                Health::Down => 'D',
                Health::Unknown | Health::Unchecked => '?',
            })
            .collect()
    }

    #[test]
    fn the_first_answer_decides_an_unknown_backend() {
        assert_eq!(walk(&mut streak(Health::Unknown, 3, 3), "+"), "U");
        assert_eq!(walk(&mut streak(Health::Unknown, 3, 3), "-"), "D");
    }

    #[test]
    fn a_backend_without_a_check_before_counts_as_unknown() {
        let mut streak = streak(Health::Unchecked, 3, 3);
        assert_eq!(streak.health(), Health::Unknown);
        assert_eq!(walk(&mut streak, "-"), "D");
    }

    #[test]
    fn fall_failures_in_a_row_take_it_down() {
        assert_eq!(walk(&mut streak(Health::Up, 2, 3), "--+---"), "UUUUUD");
    }

    #[test]
    fn rise_successes_in_a_row_bring_it_up() {
        assert_eq!(walk(&mut streak(Health::Down, 2, 3), "+-++"), "DDDU");
    }

    #[test]
    fn after_a_change_the_count_starts_again() {
        assert_eq!(
            walk(&mut streak(Health::Unknown, 2, 2), "+--++--"),
            "UUDDUUD"
        );
    }

    #[test]
    fn one_is_enough_where_one_is_asked() {
        assert_eq!(walk(&mut streak(Health::Up, 1, 1), "-+-"), "DUD");
    }
}

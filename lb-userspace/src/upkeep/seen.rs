//! One backend: since when it is what it is.

use lb_common::abi::backend::{Backend, BackendState};

/// What is remembered of one backend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    generation: u16,
    state: BackendState,
    /// Since when it has been dead, or may have been.
    dead_since: Option<u64>,
    /// Since when it has not been configured.
    leaving_since: Option<u64>,
    /// The pass in which the last slot let go of it.
    unnamed_in: Option<u64>,
    ramp: Option<Ramp>,
}

/// A slow start.
#[derive(Clone, Copy, Debug)]
struct Ramp {
    since: u64,
    from: u16,
}

/// When something is observed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Now, in ticks.
    pub(super) now: u64,
    /// The last pass that has begun.
    pub(super) pass: u64,
    /// The service's window, in ticks.
    pub(super) window: u64,
}

impl Seen {
    /// Compares an entry in use with what was known of it.
    pub(super) fn observe(
        known: Option<Self>,
        entry: &Backend,
        is_configured: bool,
        is_named: bool,
        Moment { now, pass, window }: Moment,
    ) -> Self {
        let state = BackendState(entry.state);
        let known = known.filter(|known| known.generation == entry.generation);
        let dead_since = match &known {
            Some(known) => known.dead_since.or(Some(now)),
            // A daemon before this one may have seen it die.
            None => Some(now.saturating_sub(window)),
        };
        let starting = state.admit() < u16::MAX;
        // Less than before: it starts anew.
        let ramp = known
            .filter(|known| known.state.admit() <= state.admit())
            .and_then(|known| known.ramp)
            .unwrap_or(Ramp {
                since: now,
                from: state.admit(),
            });
        let leaving_since = known.and_then(|known| known.leaving_since).unwrap_or(now);
        let unnamed_in = known.and_then(|known| known.unnamed_in).unwrap_or(pass);
        Self {
            generation: entry.generation,
            state,
            dead_since: dead_since.filter(|_| state.is_dead()),
            leaving_since: Some(leaving_since).filter(|_| !is_configured),
            unnamed_in: Some(unnamed_in).filter(|_| !is_named),
            ramp: Some(ramp).filter(|_| starting),
        }
    }

    /// Whether it takes no new flows.
    pub(super) const fn gives_up(&self) -> bool {
        self.state.0 & BackendState::NO_NEW_FLOWS != 0
    }

    pub(super) const fn leaving_since(&self) -> Option<u64> {
        self.leaving_since
    }

    pub(super) const fn unnamed_in(&self) -> Option<u64> {
        self.unnamed_in
    }

    /// Whether it does anything but serve: time brings something of it.
    pub(super) const fn is_aging(&self) -> bool {
        self.gives_up()
            || self.dead_since.is_some()
            || self.leaving_since.is_some()
            || self.is_starting()
    }

    pub(super) const fn is_starting(&self) -> bool {
        self.ramp.is_some()
    }

    /// Whether it was dead at a time that may have been the same tick.
    pub(super) fn was_dead_at(&self, at: u64) -> bool {
        self.dead_since.is_some_and(|since| since <= at)
    }

    /// The part of new flows that it is to admit, if that is not what it admits.
    pub(super) fn admits_next(&self, slow_start: u64, now: u64) -> Option<u16> {
        let Ramp { since, from } = self.ramp?;
        let rest = u64::from(u16::MAX - from);
        let passed = now.saturating_sub(since).min(slow_start);
        let more = (rest * passed).checked_div(slow_start).unwrap_or(rest);
        let admit = u16::try_from(u64::from(from) + more).unwrap_or(u16::MAX);
        (admit != self.state.admit()).then_some(admit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting(admit: u16) -> Backend {
        Backend {
            state: BackendState::IN_USE | u32::from(admit) << 16,
            ..Backend::default()
        }
    }

    fn observe(known: Option<Seen>, entry: &Backend, now: u64) -> Seen {
        let moment = Moment {
            now,
            pass: 0,
            window: 9,
        };
        Seen::observe(known, entry, true, true, moment)
    }

    #[test]
    fn a_slow_start_takes_its_time_and_ends_at_the_whole() {
        let mut seen = observe(None, &starting(100), 50);
        assert_eq!(seen.admits_next(10, 50), None);
        let mut last = 100;
        for now in 51..=60 {
            let admit = seen.admits_next(10, now).unwrap();
            assert!(admit > last, "{admit} after {last}");
            last = admit;
            seen = observe(Some(seen), &starting(admit), now);
        }
        assert_eq!(last, u16::MAX);
        assert!(!seen.is_starting());
    }

    #[test]
    fn a_backend_that_starts_again_starts_anew() {
        let seen = observe(None, &starting(60_000), 50);
        let seen = observe(Some(seen), &starting(100), 58);
        assert_eq!(seen.admits_next(10, 58), None);
        assert!(seen.admits_next(10, 59).unwrap() < 10_000);
    }

    #[test]
    fn a_backend_that_was_found_dead_may_have_been_dead_for_a_window() {
        let dead = Backend {
            state: BackendState::new(BackendState::IN_USE | BackendState::DEAD).0,
            ..Backend::default()
        };
        assert!(observe(None, &dead, 50).was_dead_at(41));
        assert!(!observe(None, &dead, 50).was_dead_at(40));
        let seen = observe(None, &starting(u16::MAX), 50);
        let seen = observe(Some(seen), &dead, 60);
        assert!(!seen.was_dead_at(59));
        assert!(seen.was_dead_at(60));
        let seen = observe(Some(seen), &dead, 70);
        assert!(seen.was_dead_at(60));
    }
}

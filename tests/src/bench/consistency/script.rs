//! What changes, in which order: the same for every way of tracking, so that they compare.

use fastrand::Rng;

/// A backend, by its place in the network.
pub(super) type Place = usize;

/// A change that an operator, a backend or the network makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It comes into the file.
    Join(Place),
    /// It leaves the file.
    Leave(Place),
    /// `sluice drain`.
    Drain(Place),
    /// `sluice undrain`.
    Undrain(Place),
    /// Another weight in the file.
    Weight(Place, u16),
    /// Its health checks fail, its connections go on.
    Alarm(Place),
    /// They pass again.
    Recover(Place),
    /// Its server is gone.
    Die(Place),
    /// It is back.
    Revive(Place),
}

impl Change {
    /// The backend.
    pub(super) const fn place(self) -> Place {
        match self {
            Self::Join(place)
            | Self::Leave(place)
            | Self::Drain(place)
            | Self::Undrain(place)
            | Self::Weight(place, _)
            | Self::Alarm(place)
            | Self::Recover(place)
            | Self::Die(place)
            | Self::Revive(place) => place,
        }
    }

    /// Whether an operator makes it, and not the backend.
    pub(super) const fn is_ordered(self) -> bool {
        !matches!(
            self,
            Self::Alarm(_) | Self::Recover(_) | Self::Die(_) | Self::Revive(_)
        )
    }
}

/// `changes` of them over `backends` backends, of which the last is not in the file at first. Every
/// round of ten has one of each kind and two weights. At least `backends` - 4 take new connections at
/// any time.
pub(super) fn script(changes: usize, backends: usize) -> Vec<Change> {
    let mut random = Rng::with_seed(5);
    let mut present: Vec<Place> = (0..backends - 1).collect();
    let mut absent = backends - 1;
    let mut all = Vec::new();
    while all.len() < changes {
        random.shuffle(&mut present);
        let [drained, alarmed, heavy, dying, ..] = present[..] else {
            break;
        };
        let leaving = heavy;
        all.extend([
            Change::Weight(heavy, random.u16(2..=4)),
            Change::Drain(drained),
            Change::Alarm(alarmed),
            Change::Join(absent),
            Change::Recover(alarmed),
            Change::Undrain(drained),
            Change::Weight(heavy, 1),
            Change::Die(dying),
            Change::Revive(dying),
            Change::Leave(leaving),
        ]);
        present.retain(|place| *place != leaving);
        present.push(absent);
        absent = leaving;
    }
    all.truncate(changes);
    all
}

/// `changes` of those that an operator makes.
pub(super) fn orders(changes: usize, backends: usize) -> impl Iterator<Item = Change> {
    // Six of ten are.
    let all = script(changes * 2, backends).into_iter();
    all.filter(|change| change.is_ordered()).take(changes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn enough_backends_take_new_connections_at_any_time() {
        const BACKENDS: usize = 6;
        let mut present: BTreeSet<Place> = (0..BACKENDS - 1).collect();
        let mut out_of_use = BTreeSet::new();
        for change in script(100, BACKENDS) {
            let fits = match change {
                Change::Join(place) => present.insert(place),
                Change::Leave(place) => !out_of_use.contains(&place) && present.remove(&place),
                Change::Drain(place) | Change::Alarm(place) | Change::Die(place) => {
                    present.contains(&place) && out_of_use.insert(place)
                }
                Change::Undrain(place) | Change::Recover(place) | Change::Revive(place) => {
                    out_of_use.remove(&place)
                }
                Change::Weight(place, _) => present.contains(&place),
            };
            assert!(fits, "{change:?} with {present:?}, {out_of_use:?}");
            assert!(present.len() - out_of_use.len() >= 3, "{change:?}");
        }
        assert!(out_of_use.is_empty(), "{out_of_use:?}");
    }

    #[test]
    fn it_is_as_long_as_asked_and_the_same_again() {
        assert_eq!(script(25, 6).len(), 25);
        assert_eq!(script(100, 6), script(100, 6));
        assert_eq!(orders(50, 10).count(), 50);
    }
}

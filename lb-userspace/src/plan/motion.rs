//! What becomes of a slot: the rules by which it moves, is released, and comes to rest.
//!
//! They keep one invariant: every flow without an entry belongs to the slot's owner, which is the
//! previous backend in transition and the current one otherwise. `current` 0 is nobody: new flows are
//! dropped, and whoever comes next may have the flows that nobody had.

use lb_common::abi::slot::{LocalBackend, NO_BACKEND, Slot};

use crate::model::Tracking;

/// Nobody: the `current` of a slot that takes no new flows.
pub const NOBODY: LocalBackend = 0;

/// A slot, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// At rest.
    Stable(LocalBackend),
    /// New flows go to `current`, flows without an entry belong to `previous`.
    Transition {
        /// Who gets new flows.
        current: LocalBackend,
        /// Who may have flows without an entry.
        previous: LocalBackend,
    },
    /// Flows without an entry belong to this backend; others may have entries.
    Tracked(LocalBackend),
}

/// Reads a slot.
pub const fn state(slot: Slot) -> State {
    let (current, previous) = (slot.current(), slot.previous());
    if current == previous {
        State::Stable(current)
    } else if previous == NO_BACKEND {
        State::Tracked(current)
    } else {
        State::Transition { current, previous }
    }
}

/// Who has the flows without an entry; [`NOBODY`] is nobody.
pub const fn owner(slot: Slot) -> LocalBackend {
    match state(slot) {
        State::Stable(owner) | State::Tracked(owner) => owner,
        State::Transition { previous, .. } => previous,
    }
}

/// The slot's new flows go to `to` from now on.
pub(super) const fn moved(slot: Slot, to: LocalBackend, tracking: Tracking) -> Slot {
    match tracking {
        Tracking::Never => Slot::stable(to),
        Tracking::Transition => moved_in_transition(slot, to),
        Tracking::Always => at_rest_tracked(moved_in_transition(slot, to)),
    }
}

const fn moved_in_transition(slot: Slot, to: LocalBackend) -> Slot {
    if slot.current() == to {
        return slot;
    }
    match state(slot) {
        State::Stable(NOBODY) => Slot::stable(to),
        // Other backends' flows may have entries; those without one had nobody.
        State::Tracked(NOBODY) => Slot::tracked(to),
        State::Stable(from) | State::Tracked(from) => Slot::transition(to, from),
        State::Transition { previous, .. } if previous == to => Slot::tracked(to),
        // No flow was added that is not remembered: the window goes on.
        State::Transition { previous, .. } => Slot::transition(to, previous),
    }
}

/// The resting state of a service that is always tracked.
const fn at_rest_tracked(slot: Slot) -> Slot {
    match state(slot) {
        State::Stable(NOBODY) => slot,
        State::Stable(current) => Slot::tracked(current),
        State::Transition { .. } | State::Tracked(_) => slot,
    }
}

/// A new slot of a service: no flow has met it.
pub(super) const fn fresh(to: LocalBackend, tracking: Tracking) -> Slot {
    moved(Slot::UNSET, to, tracking)
}

/// A slot of a range that takes another's place: flows without an entry are looked up in the old one.
pub(super) const fn resizing(to: LocalBackend) -> Slot {
    Slot::tracked(to)
}

/// The slot lets go of backends that are gone for good; `to` takes the place of its current one.
pub(super) fn released(
    slot: Slot,
    is_gone: impl Fn(LocalBackend) -> bool,
    to: LocalBackend,
) -> Slot {
    let is_gone = |local| local == NO_BACKEND || (local != NOBODY && is_gone(local));
    match state(slot) {
        State::Stable(current) if is_gone(current) => Slot::stable(to),
        State::Tracked(current) if is_gone(current) => Slot::tracked(to),
        State::Stable(_) | State::Tracked(_) => slot,
        State::Transition { current, previous } => {
            let next = if is_gone(current) { to } else { current };
            if is_gone(previous) || previous == NOBODY || previous == next {
                Slot::tracked(next)
            } else {
                Slot::transition(next, previous)
            }
        }
    }
}

/// A slot of the range that is being left lets go: only its owner counts.
pub(super) fn released_old(slot: Slot, is_gone: impl Fn(LocalBackend) -> bool) -> Slot {
    let is_gone = |local| local == NO_BACKEND || (local != NOBODY && is_gone(local));
    match state(slot) {
        State::Stable(owner) | State::Tracked(owner) if is_gone(owner) => Slot::UNSET,
        State::Stable(_) | State::Tracked(_) => slot,
        State::Transition { previous, .. } if is_gone(previous) || previous == NOBODY => {
            Slot::UNSET
        }
        State::Transition { current, previous } if is_gone(current) => Slot::stable(previous),
        State::Transition { .. } => slot,
    }
}

/// The window of a slot in transition is over: every flow of the previous backend that spoke in it has
/// an entry.
pub(super) const fn expired(slot: Slot) -> Slot {
    match state(slot) {
        State::Transition { current, .. } => Slot::tracked(current),
        State::Stable(_) | State::Tracked(_) => slot,
    }
}

/// No entry is left that says other than the slot.
pub(super) const fn settled(slot: Slot) -> Slot {
    match state(slot) {
        State::Tracked(current) => Slot::stable(current),
        State::Stable(_) | State::Transition { .. } => slot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LocalBackend = 1;
    const B: LocalBackend = 2;
    const P: LocalBackend = 3;

    fn stable(current: LocalBackend) -> Slot {
        Slot::stable(current)
    }

    fn tracked(current: LocalBackend) -> Slot {
        Slot::tracked(current)
    }

    fn transition(current: LocalBackend, previous: LocalBackend) -> Slot {
        Slot::transition(current, previous)
    }

    #[test]
    fn a_slot_that_moves_remembers_who_may_have_flows() {
        let moved = |slot, to| moved(slot, to, Tracking::Transition);
        assert_eq!(moved(stable(A), A), stable(A));
        assert_eq!(moved(stable(A), B), transition(B, A));
        assert_eq!(moved(tracked(A), A), tracked(A));
        assert_eq!(moved(tracked(A), B), transition(B, A));
        assert_eq!(moved(transition(A, P), A), transition(A, P));
        assert_eq!(moved(transition(A, P), B), transition(B, P));
        assert_eq!(moved(transition(A, P), P), tracked(P));
    }

    #[test]
    fn a_slot_of_nobody_has_no_flows_to_lose() {
        let moved = |slot, to| moved(slot, to, Tracking::Transition);
        assert_eq!(moved(Slot::UNSET, B), stable(B));
        assert_eq!(moved(tracked(NOBODY), B), tracked(B));
        assert_eq!(moved(stable(A), NOBODY), transition(NOBODY, A));
        assert_eq!(moved(tracked(A), NOBODY), transition(NOBODY, A));
        assert_eq!(moved(transition(A, P), NOBODY), transition(NOBODY, P));
        assert_eq!(moved(transition(NOBODY, A), B), transition(B, A));
        assert_eq!(moved(transition(NOBODY, A), A), tracked(A));
    }

    #[test]
    fn a_service_that_is_never_tracked_has_stable_slots() {
        for slot in [stable(A), tracked(A), transition(A, P), Slot::UNSET] {
            assert_eq!(moved(slot, B, Tracking::Never), stable(B));
            assert_eq!(moved(slot, A, Tracking::Never), stable(A));
            assert_eq!(moved(slot, NOBODY, Tracking::Never), Slot::UNSET);
        }
        assert_eq!(fresh(A, Tracking::Never), stable(A));
    }

    #[test]
    fn a_service_that_is_always_tracked_rests_in_tracked_slots() {
        let moved = |slot, to| moved(slot, to, Tracking::Always);
        assert_eq!(moved(stable(A), A), tracked(A));
        assert_eq!(moved(stable(A), B), transition(B, A));
        assert_eq!(moved(tracked(A), B), transition(B, A));
        assert_eq!(moved(transition(A, P), P), tracked(P));
        assert_eq!(moved(transition(A, P), B), transition(B, P));
        assert_eq!(fresh(A, Tracking::Always), tracked(A));
        assert_eq!(fresh(NOBODY, Tracking::Always), Slot::UNSET);
        assert_eq!(fresh(A, Tracking::Transition), stable(A));
    }

    #[test]
    fn a_backend_that_is_gone_is_replaced_and_forgotten() {
        let released = |slot, to| released(slot, |local| local == A, to);
        assert_eq!(released(stable(A), B), stable(B));
        assert_eq!(released(tracked(A), B), tracked(B));
        assert_eq!(released(transition(A, P), B), transition(B, P));
        assert_eq!(released(transition(A, P), P), tracked(P));
        assert_eq!(released(transition(B, A), B), tracked(B));
        assert_eq!(released(transition(B, A), P), tracked(B));
        assert_eq!(released(stable(A), NOBODY), Slot::UNSET);
        assert_eq!(released(tracked(A), NOBODY), tracked(NOBODY));
        assert_eq!(released(transition(A, P), NOBODY), transition(NOBODY, P));
        for slot in [stable(B), tracked(B), transition(B, P), Slot::UNSET] {
            assert_eq!(released(slot, P), slot);
        }
    }

    #[test]
    fn both_backends_of_a_slot_may_be_gone() {
        let released = |slot, to| released(slot, |local| local != B, to);
        assert_eq!(released(transition(A, P), B), tracked(B));
        assert_eq!(released(transition(A, P), NOBODY), tracked(NOBODY));
        assert_eq!(released(transition(NOBODY, P), B), tracked(NOBODY));
    }

    #[test]
    fn no_bits_name_a_backend_that_is_not_there() {
        let released = |slot, to| released(slot, |local| local != B, to);
        assert_eq!(released(Slot::stable(NO_BACKEND), B), stable(B));
        assert_eq!(released(transition(NO_BACKEND, B), B), tracked(B));
        assert_eq!(released(transition(B, NOBODY), B), tracked(B));
    }

    #[test]
    fn the_old_range_keeps_owners_that_stay() {
        let released = |slot| released_old(slot, |local| local == A);
        assert_eq!(released(stable(A)), Slot::UNSET);
        assert_eq!(released(tracked(A)), Slot::UNSET);
        assert_eq!(released(transition(B, A)), Slot::UNSET);
        assert_eq!(released(transition(A, B)), stable(B));
        assert_eq!(released(transition(P, B)), transition(P, B));
        assert_eq!(released(stable(B)), stable(B));
        assert_eq!(released(Slot::UNSET), Slot::UNSET);
    }

    #[test]
    fn time_brings_a_slot_to_rest() {
        assert_eq!(expired(transition(A, P)), tracked(A));
        assert_eq!(expired(transition(NOBODY, P)), tracked(NOBODY));
        assert_eq!(expired(tracked(A)), tracked(A));
        assert_eq!(expired(stable(A)), stable(A));
        assert_eq!(settled(tracked(A)), stable(A));
        assert_eq!(settled(tracked(NOBODY)), Slot::UNSET);
        assert_eq!(settled(transition(A, P)), transition(A, P));
        assert_eq!(settled(stable(A)), stable(A));
    }

    #[test]
    fn the_owner_has_the_flows_without_an_entry() {
        assert_eq!(owner(stable(A)), A);
        assert_eq!(owner(tracked(A)), A);
        assert_eq!(owner(transition(A, P)), P);
        assert_eq!(owner(Slot::UNSET), NOBODY);
    }
}

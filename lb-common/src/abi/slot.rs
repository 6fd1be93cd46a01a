//! Slots: a service's Maglev table, one `u32` a slot.
//!
//! A slot names backends by their local index: 1 is the first entry of the service's range.

/// Slots in one value of `SLOTS`: a cache line, since array values have a stride of 8 bytes.
pub const SLOTS_PER_ROW: u32 = 16;

/// A backend's index inside its service's range. 0: unset. [`NO_BACKEND`]: none. Else 1..=65534.
pub type LocalBackend = u16;

/// `previous` of a tracked slot.
pub const NO_BACKEND: LocalBackend = 0xffff;

/// The highest local index.
pub const MAX_LOCAL_BACKEND: LocalBackend = 0xfffe;

/// One slot: the backend that new flows get (`current`, low half) and the one that flows without
/// an entry may belong to (`previous`, high half).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A value of `SLOTS`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotRow(pub [Slot; SLOTS_PER_ROW as usize]);

impl Slot {
    /// Names no backend.
    pub const UNSET: Self = Self(0);

    /// At rest: every flow goes to `backend`, none needs an entry.
    #[inline(always)]
    pub const fn stable(backend: LocalBackend) -> Self {
        Self(backend as u32 | (backend as u32) << 16)
    }

    /// Moved from `previous` to `current` within the transition window.
    #[inline(always)]
    pub const fn transition(current: LocalBackend, previous: LocalBackend) -> Self {
        Self(current as u32 | (previous as u32) << 16)
    }

    /// Flows without an entry go to `current`; some flows still have entries.
    #[inline(always)]
    pub const fn tracked(current: LocalBackend) -> Self {
        Self::transition(current, NO_BACKEND)
    }

    /// The backend that new flows get.
    #[inline(always)]
    pub const fn current(self) -> LocalBackend {
        self.0 as LocalBackend
    }

    /// The backend that the slot had before, [`NO_BACKEND`] when tracked.
    #[inline(always)]
    pub const fn previous(self) -> LocalBackend {
        (self.0 >> 16) as LocalBackend
    }

    /// The backend that flows without an entry belong to; 0: nobody.
    #[inline(always)]
    pub const fn owner(self) -> LocalBackend {
        match self.previous() {
            NO_BACKEND => self.current(),
            previous => previous,
        }
    }

    /// Whether packets need no flow table.
    #[inline(always)]
    pub const fn is_stable(self) -> bool {
        self.current() == self.previous()
    }
}

const _: () = assert!(size_of::<Slot>() == 4);
const _: () = assert!(size_of::<SlotRow>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_apart() {
        assert!(Slot::stable(7).is_stable());
        assert!(Slot::UNSET.is_stable());
        assert!(!Slot::transition(7, 8).is_stable());
        assert!(!Slot::tracked(7).is_stable());
        assert_eq!(Slot::transition(7, 8).current(), 7);
        assert_eq!(Slot::transition(7, 8).previous(), 8);
        assert_eq!(Slot::tracked(MAX_LOCAL_BACKEND).previous(), NO_BACKEND);
    }
}

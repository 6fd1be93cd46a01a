//! Indices into the maps, each of its own type.

use std::fmt;

use lb_common::abi::{
    service::ServiceRecord,
    slot::{LocalBackend, MAX_LOCAL_BACKEND},
};

/// An index into `BACKENDS` and `BACKEND_COUNTERS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendIndex(pub u32);

/// The number of a record in `RECORDS`, see [`ServiceRef`](lb_common::abi::service::ServiceRef).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordIndex(pub u32);

/// A slot's number over all services: `SLOTS` row times 16 and the place in the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotIndex(pub u32);

/// Consecutive indices of one map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first index.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Range {
    /// The first index behind it, wide enough for any contents.
    pub fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.count)
    }

    /// Whether it shares an index with `other`.
    pub fn overlaps(self, other: Self) -> bool {
        u64::from(self.first) < other.end() && u64::from(other.first) < self.end()
    }

    /// The range of a record's slots.
    pub fn slots(record: &ServiceRecord) -> Self {
        Self {
            first: record.slots_first,
            count: record.slots_count,
        }
    }

    /// The range of the slots that a record leaves; of count 0 where it leaves none.
    pub fn old_slots(record: &ServiceRecord) -> Self {
        Self {
            first: record.old_slots_first,
            count: record.old_slots_count,
        }
    }

    /// The range of a record's backends.
    pub fn backends(record: &ServiceRecord) -> Self {
        Self {
            first: record.backends_first,
            count: record.backends_count,
        }
    }

    /// The entry that slots of this range of backends name as `local`.
    pub fn backend(self, local: LocalBackend) -> Option<BackendIndex> {
        let offset = u32::from(local).checked_sub(1)?;
        (offset < self.count)
            .then(|| self.first.checked_add(offset))
            .flatten()
            .map(BackendIndex)
    }

    /// The local indices of a range of backends, from 1 on.
    pub fn locals(self) -> impl Iterator<Item = LocalBackend> {
        let count = self.count.min(u32::from(MAX_LOCAL_BACKEND));
        1..=LocalBackend::try_from(count).unwrap_or(MAX_LOCAL_BACKEND)
    }
}

impl fmt::Display for BackendIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RecordIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SlotIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

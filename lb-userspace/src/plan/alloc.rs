//! Room in the maps: which ranges and indices are free. Derived from an image at the start of each
//! plan; what a plan frees is free for the next one.

use std::collections::BTreeSet;

use lb_common::abi::{
    service::ServiceId,
    slot::{MAX_LOCAL_BACKEND, SLOTS_PER_ROW},
};

use super::{
    capacity::Capacity,
    image::Image,
    index::{Range, RecordIndex},
};

/// The fewest entries in a service's range of backends, so that adding a few needs no new range.
const MIN_BACKENDS: u32 = 8;

/// What is taken, of every map that is divided among services.
#[derive(Debug)]
pub(super) struct Space {
    capacity: Capacity,
    backends: Taken,
    slots: Taken,
    records: BTreeSet<RecordIndex>,
    services: BTreeSet<ServiceId>,
}

impl Space {
    pub(super) fn of(image: &Image, capacity: Capacity) -> Self {
        let records = image.records();
        let in_use = image.backends_in_use().map(|(index, _)| Range {
            first: index.0,
            count: 1,
        });
        Self {
            capacity,
            backends: Taken::new(records.values().map(Range::backends).chain(in_use)),
            slots: Taken::new(records.values().map(Range::slots)),
            records: records.keys().copied().collect(),
            services: image.ids_in_use().collect(),
        }
    }

    /// A service id that nothing names.
    pub(super) fn service(&mut self) -> Option<ServiceId> {
        let id = (0..self.capacity.services)
            .map(ServiceId)
            .find(|id| !self.services.contains(id))?;
        self.services.insert(id);
        Some(id)
    }

    /// A record that nothing names.
    pub(super) fn record(&mut self) -> Option<RecordIndex> {
        let index = (0..self.capacity.records)
            .map(RecordIndex)
            .find(|index| !self.records.contains(index))?;
        self.records.insert(index);
        Some(index)
    }

    /// A range for a table of `size` slots, from the start of a row on: services share no row.
    pub(super) fn slots(&mut self, size: u32) -> Option<Range> {
        self.slots
            .first_fit(size, SLOTS_PER_ROW, self.capacity.slots)
    }

    /// A range for `needed` backends, with room to spare if there is any.
    pub(super) fn backends(&mut self, needed: u32) -> Option<Range> {
        let limit = self.capacity.backends;
        self.backends
            .first_fit(roomy(needed), 1, limit)
            .or_else(|| self.backends.first_fit(needed, 1, limit))
    }

    /// The same range, made longer so that it holds `needed` backends, where what follows is free.
    pub(super) fn extend_backends(&mut self, range: Range, needed: u32) -> Option<Range> {
        let count = roomy(needed);
        let more = Range {
            first: range.first.checked_add(range.count)?,
            count: count.checked_sub(range.count)?,
        };
        (more.end() <= u64::from(self.capacity.backends) && self.backends.is_free(more)).then(
            || {
                self.backends.take(more);
                Range { count, ..range }
            },
        )
    }
}

fn roomy(needed: u32) -> u32 {
    needed
        .max(MIN_BACKENDS)
        .checked_next_power_of_two()
        .unwrap_or(needed)
        .min(u32::from(MAX_LOCAL_BACKEND))
}

/// Ranges in order of their start.
#[derive(Debug)]
struct Taken(BTreeSet<Range>);

impl Taken {
    fn new(ranges: impl Iterator<Item = Range>) -> Self {
        Self(ranges.filter(|range| range.count > 0).collect())
    }

    fn take(&mut self, range: Range) {
        self.0.insert(range);
    }

    fn is_free(&self, range: Range) -> bool {
        !self.0.iter().any(|taken| taken.overlaps(range))
    }

    /// Takes the lowest free range of `count` indices below `limit` that starts at a multiple of
    /// `align`.
    fn first_fit(&mut self, count: u32, align: u32, limit: u32) -> Option<Range> {
        let align = u64::from(align);
        let mut first = 0_u64;
        for taken in &self.0 {
            if first + u64::from(count) <= u64::from(taken.first) {
                break;
            }
            first = first.max(taken.end()).next_multiple_of(align);
        }
        let fits = first + u64::from(count) <= u64::from(limit);
        let range = Range {
            first: u32::try_from(first).ok().filter(|_| fits)?,
            count,
        };
        self.take(range);
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, count: u32) -> Range {
        Range { first, count }
    }

    #[test]
    fn the_first_gap_that_is_large_enough_is_taken() {
        let mut taken = Taken::new([range(0, 4), range(6, 2), range(16, 8)].into_iter());
        assert_eq!(taken.first_fit(8, 1, 100), Some(range(8, 8)));
        assert_eq!(taken.first_fit(2, 1, 100), Some(range(4, 2)));
        assert_eq!(taken.first_fit(1, 1, 100), Some(range(24, 1)));
        assert_eq!(taken.first_fit(75, 1, 100), Some(range(25, 75)));
        assert_eq!(taken.first_fit(1, 1, 100), None);
    }

    #[test]
    fn tables_start_at_a_row() {
        let mut taken = Taken::new([range(0, 17)].into_iter());
        assert_eq!(taken.first_fit(31, 16, 100), Some(range(32, 31)));
        assert_eq!(taken.first_fit(31, 16, 100), Some(range(64, 31)));
        assert_eq!(taken.first_fit(31, 16, 100), None);
    }

    #[test]
    fn ranges_are_roomy() {
        assert_eq!(roomy(0), 8);
        assert_eq!(roomy(9), 16);
        assert_eq!(roomy(40_000), 65_534);
    }
}

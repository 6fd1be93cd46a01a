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

/// What is taken, of every map that is divided among services. Found out when first asked: most plans
/// need no room.
#[derive(Debug)]
pub(super) struct Space<'a> {
    capacity: Capacity,
    image: &'a Image,
    found: Option<Found>,
    backends: Option<Taken>,
}

#[derive(Debug)]
struct Found {
    slots: Taken,
    records: BTreeSet<RecordIndex>,
    services: BTreeSet<ServiceId>,
}

impl<'a> Space<'a> {
    pub(super) fn of(image: &'a Image, capacity: Capacity) -> Self {
        Self {
            capacity,
            image,
            found: None,
            backends: None,
        }
    }

    fn found(&mut self) -> &mut Found {
        let image = self.image;
        self.found.get_or_insert_with(|| Found::of(image))
    }

    fn taken_backends(&mut self) -> &mut Taken {
        let image = self.image;
        self.backends.get_or_insert_with(|| backends_of(image))
    }

    /// A service id that nothing names.
    pub(super) fn service(&mut self) -> Option<ServiceId> {
        let services = self.capacity.services;
        let found = self.found();
        let id = (0..services)
            .map(ServiceId)
            .find(|id| !found.services.contains(id))?;
        found.services.insert(id);
        Some(id)
    }

    /// A record that nothing names.
    pub(super) fn record(&mut self) -> Option<RecordIndex> {
        let records = self.capacity.records;
        let found = self.found();
        let index = (0..records)
            .map(RecordIndex)
            .find(|index| !found.records.contains(index))?;
        found.records.insert(index);
        Some(index)
    }

    /// A range for a table of `size` slots, from the start of a row on: services share no row.
    pub(super) fn slots(&mut self, size: u32) -> Option<Range> {
        let limit = self.capacity.slots;
        self.found().slots.first_fit(size, SLOTS_PER_ROW, limit)
    }

    /// A range for `needed` backends, with room to spare if there is any.
    pub(super) fn backends(&mut self, needed: u32) -> Option<Range> {
        let limit = self.capacity.backends;
        let backends = self.taken_backends();
        backends
            .first_fit(roomy(needed), 1, limit)
            .or_else(|| backends.first_fit(needed, 1, limit))
    }

    /// The same range, made longer so that it holds `needed` backends, where what follows is free.
    pub(super) fn extend_backends(&mut self, range: Range, needed: u32) -> Option<Range> {
        let count = roomy(needed);
        let more = Range {
            first: range.first.checked_add(range.count)?,
            count: count.checked_sub(range.count)?,
        };
        let limit = u64::from(self.capacity.backends);
        let backends = self.taken_backends();
        (more.end() <= limit && backends.is_free(more)).then(|| {
            backends.take(more);
            Range { count, ..range }
        })
    }
}

impl Found {
    fn of(image: &Image) -> Self {
        let records = image.records();
        let slots = records
            .values()
            .flat_map(|record| [Range::slots(record), Range::old_slots(record)]);
        Self {
            slots: Taken::new(slots),
            records: records.keys().copied().collect(),
            services: image.ids_in_use().collect(),
        }
    }
}

/// The ranges of services, and entries in use that are in none: left by a plan that was cut short.
fn backends_of(image: &Image) -> Taken {
    let mut taken = Taken::new(image.records().values().map(Range::backends));
    let mut ranges = taken.0.iter().peekable();
    let is_stray = |index: &u32| {
        while ranges
            .next_if(|range| range.end() <= u64::from(*index))
            .is_some()
        {}
        ranges.peek().is_none_or(|range| *index < range.first)
    };
    let in_use = image.backends_in_use().map(|(index, _)| index.0);
    let strays: Vec<u32> = in_use.filter(is_stray).collect();
    for first in strays {
        taken.take(Range { first, count: 1 });
    }
    taken
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
    use lb_common::abi::{backend::BackendState, service::ServiceRecord};

    use super::*;
    use crate::plan::{BackendIndex, Write};

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
    fn entries_outside_of_all_ranges_are_taken() {
        let mut image = Image::default();
        for (record, backends_first) in [(0, 0), (1, 8)] {
            image.apply(&Write::Record {
                index: RecordIndex(record),
                record: ServiceRecord {
                    backends_first,
                    backends_count: 4,
                    ..ServiceRecord::default()
                },
            });
        }
        for index in [0, 3, 4, 8, 11, 12, 20] {
            let state = BackendState(BackendState::IN_USE);
            let index = BackendIndex(index);
            image.apply(&Write::BackendState { index, state });
        }
        let Taken(ranges) = backends_of(&image);
        let taken = [(0, 4), (4, 1), (8, 4), (12, 1), (20, 1)];
        assert!(
            ranges
                .into_iter()
                .eq(taken.map(|(first, n)| range(first, n)))
        );
    }

    #[test]
    fn ranges_are_roomy() {
        assert_eq!(roomy(0), 8);
        assert_eq!(roomy(9), 16);
        assert_eq!(roomy(40_000), 65_534);
    }
}

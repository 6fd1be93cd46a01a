//! Which slot a connection falls into, and which backends slots name.

use std::collections::BTreeSet;

use lb_common::abi::{
    service::ServiceRecord,
    slot::{LocalBackend, Slot},
};

use super::{
    image::Image,
    index::{Range, SlotIndex},
};

impl Image {
    /// A slot of some service, by its number over all.
    pub fn slot(&self, index: SlotIndex) -> Option<Slot> {
        self.slots.get(index.0 as usize).copied()
    }

    /// The local indices that a service's slots name: whoever gets new connections, and whoever had
    /// a slot before its last move or in the table before.
    pub fn named(&self, record: &ServiceRecord) -> BTreeSet<LocalBackend> {
        let old = Range {
            first: record.old_slots_first,
            count: record.old_slots_count,
        };
        let mut named = vec![false; usize::from(LocalBackend::MAX) + 1];
        for range in [Range::slots(record), old] {
            let end = usize::try_from(range.end()).unwrap_or(usize::MAX);
            let slots = self.slots.get(range.first as usize..end);
            for slot in slots.unwrap_or_default() {
                named[usize::from(slot.current())] = true;
                named[usize::from(slot.previous())] = true;
            }
        }
        Range::backends(record)
            .locals()
            .filter(|local| named[usize::from(*local)])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{RecordIndex, Write};

    #[test]
    fn every_place_of_a_slot_counts() {
        let record = ServiceRecord {
            slots_first: 16,
            slots_count: 3,
            old_slots_first: 32,
            old_slots_count: 1,
            backends_count: 7,
            ..ServiceRecord::default()
        };
        let mut image = Image::default();
        let slots = [Slot::stable(1), Slot::transition(2, 3), Slot::tracked(4)];
        for (first, slots) in [
            (16, slots.to_vec()),
            (19, vec![Slot::stable(5)]),
            (32, vec![Slot::stable(6)]),
        ] {
            let first = SlotIndex(first);
            image.apply(&Write::Slots { first, slots });
        }
        image.apply(&Write::Record {
            index: RecordIndex(0),
            record,
        });
        assert_eq!(image.named(&record), [1, 2, 3, 4, 6].into());
        assert_eq!(image.slot(SlotIndex(17)), Some(Slot::transition(2, 3)));
        assert_eq!(image.slot(SlotIndex(99_999)), None);
    }
}

//! What the controller has written into the maps since it started, for the status.

use crate::{
    admin::status::Plans,
    plan::{Plan, Summary, Write},
};

/// Sums over the plans that were carried out.
#[derive(Debug, Default)]
pub(super) struct Written(Plans);

impl Written {
    /// Adds a plan that was carried out.
    pub(super) fn note(&mut self, plan: &Plan) {
        let Summary {
            writes,
            slots_moved,
            barriers,
        } = plan.summary();
        let slots_written: usize = plan
            .writes()
            .map(|write| match write {
                Write::Slots { slots, .. } => slots.len(),
                _ => 0,
            })
            .sum();
        let Self(sums) = self;
        sums.applied += 1;
        sums.writes += writes as u64;
        sums.slots_written += slots_written as u64;
        sums.slots_moved += slots_moved as u64;
        sums.barriers += barriers as u64;
    }

    /// The sums.
    pub(super) const fn so_far(&self) -> Plans {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{backend::BackendState, slot::Slot};

    use super::*;
    use crate::plan::{BackendIndex, Phase, SlotIndex};

    #[test]
    fn a_run_of_slots_is_one_write_of_many_slots() {
        let slots = |first, count| Write::Slots {
            first: SlotIndex(first),
            slots: vec![Slot::stable(1); count],
        };
        let state = Write::BackendState {
            index: BackendIndex(3),
            state: BackendState(1),
        };
        let mut written = Written::default();
        assert_eq!(written.so_far(), Plans::default());
        written.note(&Plan::of(vec![
            Phase(vec![slots(0, 7), state]),
            Phase(vec![slots(32, 2)]),
        ]));
        written.note(&Plan::of(vec![Phase(vec![slots(0, 1)])]));
        assert_eq!(
            written.so_far(),
            Plans {
                applied: 2,
                writes: 4,
                slots_written: 10,
                slots_moved: 0,
                barriers: 1,
            }
        );
    }
}

//! The order of a plan's writes: everybody puts theirs into the stage that they belong to.
//!
//! ```text
//! build     deaths, next hops, entries, replies, slots whose owner loses its claim, recoveries,
//!           records and tables nobody reaches; then what makes them reached: references, slots,
//!           VIPs; then backends and VIPs that go
//! -- barrier
//! withdraw  replies whose key is wanted with another value
//! -- barrier
//! late      those replies and VIPs again, and the slots and references that had to wait
//! -- barrier
//! retire    references and replies that nothing needs any more, old slots of backends that are gone
//! -- barrier
//! free      entries and records
//! ```
//!
//! Stages without writes fall out, with their barrier. Inside a stage inserts come before deletes: a
//! deleted element of a hash map can be given to the next insert while a packet still reads it.

use super::writes::{Phase, Plan, Write};

/// A plan in the making.
#[derive(Debug, Default)]
pub(super) struct Stages {
    /// Build: backends that died. First, since packets are being lost.
    pub(super) deaths: Vec<Write>,
    /// Build: next hops, sources and MTUs that changed.
    pub(super) next_hops: Vec<Write>,
    /// Build: entries that nothing names yet.
    pub(super) entries: Vec<Write>,
    /// Build: replies under new keys.
    pub(super) replies: Vec<Write>,
    /// Build: slots whose dead owner has lost its claim, before it can come back.
    pub(super) disowned: Vec<Write>,
    /// Build: backends that came back, before slots name them.
    pub(super) recoveries: Vec<Write>,
    /// Build: records and slots that nothing names yet.
    pub(super) tables: Vec<Write>,
    /// Build: what makes all this reached.
    pub(super) reach: Reach,
    /// Build: VIPs that go.
    pub(super) vip_deletes: Vec<Write>,
    /// Withdraw: replies that get another value.
    pub(super) withdrawn_replies: Vec<Write>,
    /// Late: the same keys again.
    pub(super) late_replies: Vec<Write>,
    /// Late: what waits for a barrier or for those replies.
    pub(super) late: Reach,
    /// Retire: references of services that go.
    pub(super) unpublished: Vec<Write>,
    /// Retire: replies that go.
    pub(super) reply_deletes: Vec<Write>,
    /// Retire: slots of ranges that are being left.
    pub(super) old_slots: Vec<Write>,
    /// Free: entries and records.
    pub(super) frees: Vec<Write>,
    /// Slots of tables in force that change.
    pub(super) slots_moved: usize,
}

/// Writes that packets see.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// References to records.
    pub(super) published: Vec<Write>,
    /// Slots of tables in force.
    pub(super) moves: Vec<Write>,
    /// VIPs.
    pub(super) vips: Vec<Write>,
    /// Backends that are gone for good, after the slots that let go of them.
    pub(super) departures: Vec<Write>,
}

impl Stages {
    /// Where writes go that packets see: late, or with the build.
    pub(super) fn reach_when(&mut self, late: bool) -> &mut Reach {
        if late {
            &mut self.late
        } else {
            &mut self.reach
        }
    }

    pub(super) fn into_plan(self) -> Plan {
        let Self {
            deaths,
            next_hops,
            entries,
            replies,
            disowned,
            recoveries,
            tables,
            reach,
            vip_deletes,
            withdrawn_replies,
            late_replies,
            late,
            unpublished,
            reply_deletes,
            old_slots,
            frees,
            slots_moved,
        } = self;
        // Elements and indices that are free again are not reused before a barrier.
        let settle = !(vip_deletes.is_empty()
            && unpublished.is_empty()
            && reply_deletes.is_empty()
            && frees.is_empty());

        let build = [
            deaths,
            next_hops,
            entries,
            replies,
            disowned,
            recoveries,
            tables,
            reach.into_writes(),
            vip_deletes,
        ]
        .concat();
        let late = [late_replies, late.into_writes()].concat();
        let retire = [unpublished, reply_deletes, old_slots].concat();

        let mut phases: Vec<Phase> = [build, withdrawn_replies, late, retire]
            .into_iter()
            .filter(|writes| !writes.is_empty())
            .map(Phase)
            .collect();
        if settle {
            if phases.is_empty() {
                // The plan before this one may have been the last to use what is freed here.
                phases.push(Phase::default());
            }
            phases.push(Phase(frees));
        }
        Plan {
            phases,
            slots_moved,
        }
    }
}

impl Reach {
    fn into_writes(self) -> Vec<Write> {
        let Self {
            published,
            moves,
            vips,
            departures,
        } = self;
        [published, moves, vips, departures].concat()
    }
}

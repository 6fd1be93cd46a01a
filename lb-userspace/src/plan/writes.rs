//! What a plan consists of: single writes into the maps, in phases.

use lb_common::{
    abi::{
        backend::{Backend, BackendState, NextHop},
        service::{ServiceId, ServiceRecord, ServiceRef},
        slot::Slot,
    },
    endian::Be128,
};

use super::{
    index::{BackendIndex, RecordIndex, SlotIndex},
    keys::{ReplyTarget, VipKey},
};

/// One write into one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A whole value of `BACKENDS`; planned only while nothing names the index.
    Backend {
        /// Where.
        index: BackendIndex,
        /// What.
        entry: Box<Backend>,
    },
    /// The `state` word of a value of `BACKENDS`, atomically.
    BackendState {
        /// Where.
        index: BackendIndex,
        /// What.
        state: BackendState,
    },
    /// The `next_hop` word of a value of `BACKENDS`, atomically.
    NextHop {
        /// Where.
        index: BackendIndex,
        /// What.
        next_hop: NextHop,
    },
    /// The `source` and `mtu` words of a value of `BACKENDS`, each atomically.
    Tunnel {
        /// Where.
        index: BackendIndex,
        /// Source of the outer header, held as the entry's address.
        source: Be128,
        /// Bytes that a packet with its outer header may have.
        mtu: u32,
    },
    /// Zeroes a value of `BACKEND_COUNTERS` on every CPU; planned only while nothing names the index.
    ResetCounters {
        /// Where.
        index: BackendIndex,
    },
    /// A value of `RECORDS`; planned only while no [`ServiceRef`] names the index. A record of zeros
    /// frees it.
    Record {
        /// Where.
        index: RecordIndex,
        /// What.
        record: ServiceRecord,
    },
    /// A run of slots, each written atomically with Release.
    Slots {
        /// The first one.
        first: SlotIndex,
        /// It and those after it.
        slots: Vec<Slot>,
    },
    /// A value of `SERVICES`, atomically.
    Publish {
        /// Where.
        service: ServiceId,
        /// The record in force from now on; [`ServiceRef::NONE`] frees the id.
        record: ServiceRef,
    },
    /// A key of `VIPS_IPV4` or `VIPS_IPV6` that is not there.
    InsertVip {
        /// The key.
        key: VipKey,
        /// The value.
        service: ServiceId,
    },
    /// A key of `VIPS_IPV4` or `VIPS_IPV6` that is there.
    DeleteVip {
        /// The key.
        key: VipKey,
    },
    /// A key of `REPLIES_IPV4` or `REPLIES_IPV6` that is not there.
    InsertReply {
        /// The key: a backend's address, port and protocol.
        key: VipKey,
        /// The value.
        reply: ReplyTarget,
    },
    /// A key of `REPLIES_IPV4` or `REPLIES_IPV6` that is there.
    DeleteReply {
        /// The key.
        key: VipKey,
    },
}

/// Writes to be made in their order, without waiting in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase(pub Vec<Write>);

/// Phases to be applied in their order, with a barrier (an RCU grace period) between one and the
/// next.
///
/// A phase may be empty: the barrier beside it still counts. Where the last one is, whoever applies
/// the plan ends with a barrier, so that the next plan may reuse what this one freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The phases.
    pub phases: Vec<Phase>,
    pub(super) slots_moved: usize,
}

/// How large a plan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Single writes; a run of slots counts as one.
    pub writes: usize,
    /// Slots of tables in force that change.
    pub slots_moved: usize,
    /// Barriers to wait for.
    pub barriers: usize,
}

impl Plan {
    /// A plan made by hand, for states that [`reconcile`](super::reconcile()) does not lead to.
    pub const fn of(phases: Vec<Phase>) -> Self {
        Self {
            phases,
            slots_moved: 0,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.writes().next().is_none()
    }

    /// Every write, in order.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.phases.iter().flat_map(|phase| &phase.0)
    }

    /// How large the plan is.
    pub fn summary(&self) -> Summary {
        Summary {
            writes: self.writes().count(),
            slots_moved: self.slots_moved,
            barriers: self.phases.len().saturating_sub(1),
        }
    }
}

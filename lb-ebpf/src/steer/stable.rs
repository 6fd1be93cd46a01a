//! A slot at rest: every flow goes to its current backend, no state is kept.

use lb_common::abi::{service::ServiceRecord, slot::Slot};

use super::{Chosen, living};
use crate::verdict::Verdict;

/// The slot's current backend, if it is alive.
#[inline(always)]
pub(super) fn choose(record: &ServiceRecord, slot: Slot) -> Result<Chosen, Verdict> {
    living(record, slot.current())
}

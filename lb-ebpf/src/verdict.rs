//! What becomes of a packet, and the one place that counts it.

use aya_ebpf::bindings::xdp_action;
use lb_common::{
    abi::counters::{Counter, DropReason},
    verifier::forget,
};

use crate::{maps, settings};

/// The end of a packet's walk.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    /// Out of the interface it came in by.
    Transmit,
    /// Out of another interface; the target is already set (`bpf_redirect_map`).
    Redirect,
    /// Left to the kernel.
    Pass,
    /// Taken over by the daemon, which sends it through the kernel.
    Punt,
    /// Dropped.
    Drop(DropReason),
}

impl From<DropReason> for Verdict {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// A verdict as numbers.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// [`Counter::index`].
    pub(crate) counter: u32,
    action: u32,
}

impl Verdict {
    /// The same as numbers.
    #[inline(always)]
    pub(crate) const fn end(self) -> End {
        End {
            counter: self.counter().index(),
            action: self.action(),
        }
    }

    /// Its counter.
    #[inline(always)]
    const fn counter(self) -> Counter {
        match self {
            Self::Transmit => Counter::TX,
            Self::Redirect => Counter::REDIRECT,
            Self::Pass => Counter::PASS,
            Self::Punt => Counter::PUNT,
            Self::Drop(reason) => Counter::dropped(reason),
        }
    }

    /// What the driver is told.
    #[inline(always)]
    const fn action(self) -> u32 {
        match self {
            Self::Transmit => xdp_action::XDP_TX,
            Self::Redirect => xdp_action::XDP_REDIRECT,
            Self::Pass => xdp_action::XDP_PASS,
            Self::Punt | Self::Drop(_) => xdp_action::XDP_DROP,
        }
    }
}

impl End {
    /// Ends the packet's walk: counts it and tells the driver what to do. A dry run counts nothing and
    /// tells both.
    #[inline(always)]
    pub(crate) fn conclude(self) -> u32 {
        let Self { counter, action } = self;
        if settings::dry_run() {
            return Counter::dry_run(counter, action);
        }
        if let Some(counter) = maps::COUNTERS.get_ptr_mut(counter) {
            // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU.
            unsafe { *counter += 1 }
        }
        action
    }

    /// The same, of which the verifier knows nothing: what follows is the same for every verdict. `any` is
    /// for [`forget`].
    #[inline(always)]
    pub(crate) fn forgotten(self, any: u8) -> Self {
        Self {
            counter: forget(self.counter, any),
            action: forget(self.action, any),
        }
    }
}

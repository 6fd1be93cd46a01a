//! Flow entries: looked for, made and changed. Which backend one names is decided by `steer::motion`.
//!
//! An entry is one word. A new one is inserted only where there is none, an old one is replaced by
//! compare-and-exchange: the daemon may have deleted it meanwhile, and the element be another
//! flow's already.

use core::{arch::asm, ptr::NonNull};

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use lb_common::{
    abi::{
        flow::{FlowCounters, FlowEntry, ticks},
        service::{ServiceId, ServiceRecord, tracking},
    },
    tuple::FlowTuple,
};

use crate::{family::Tables, maps, settings};

/// `BPF_NOEXIST`: insert only.
const NOEXIST: u64 = 1;
/// `-EEXIST`: there is an entry already.
const EXISTS: i32 = -17;

/// A flow of a service.
pub(crate) struct Flow<F: Tables> {
    key: F::FlowKey,
    service: ServiceId,
    /// Whether its entry belongs into the table of services that are always tracked.
    pub(crate) always: bool,
}

/// An entry in its table, or none. No option of both fields: see `steer::Chosen`.
pub(crate) struct Found {
    place: Option<NonNull<FlowEntry>>,
    /// The word as it was when it was found; zero: there is none.
    pub(crate) entry: FlowEntry,
}

/// What became of a flow that should be remembered.
pub(crate) enum Remembered {
    /// It is.
    Yes,
    /// Another CPU was quicker, and its entry holds.
    Otherwise,
    /// It is not: the table is full, the budget is spent, or the entry was just changed.
    No,
}

/// Ticks since boot. The coarse clock: it is some milliseconds behind, and costs a tenth.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: reads the clock, has no preconditions.
    ticks(unsafe { bpf_ktime_get_coarse_ns() })
}

impl<F: Tables> Flow<F> {
    /// A flow of the service.
    #[inline(always)]
    pub(crate) fn of(record: &ServiceRecord, flow: FlowTuple<F::Address>) -> Self {
        Self {
            key: F::flow_key(flow),
            service: record.service,
            always: settings::always()
                && (!settings::transition() || record.tracking == tracking::ALWAYS),
        }
    }

    /// Its entry: in its own table or, while services change between the two, in the other.
    #[inline(always)]
    pub(crate) fn find(&self) -> Found {
        let key = &self.key;
        let place = if self.always {
            match F::always_flows().get_ptr_mut(key) {
                None if settings::transition() => F::flows().get_ptr_mut(key),
                place => place,
            }
        } else {
            match F::flows().get_ptr_mut(key) {
                None if settings::always() => F::always_flows().get_ptr_mut(key),
                place => place,
            }
        };
        let place = place.and_then(NonNull::new);
        let entry = match place {
            // SAFETY: a map value, aligned, written as one word; volatile, so that it is read once.
            Some(place) => unsafe { place.read_volatile() },
            None => FlowEntry(0),
        };
        Found { place, entry }
    }

    /// Writes `entry` over what was found, or makes a new one. `quicker` becomes another CPU's entry.
    #[inline(always)]
    pub(crate) fn remember(
        &self,
        found: &Found,
        entry: FlowEntry,
        syn: bool,
        now: u64,
        quicker: &mut FlowEntry,
    ) -> Remembered {
        if settings::dry_run() {
            return Remembered::Yes;
        }
        match found.place {
            Some(place) if replace(place, found.entry, entry) => Remembered::Yes,
            Some(_) => Remembered::No,
            None => self.insert(entry, syn, now, quicker),
        }
    }

    #[inline(always)]
    fn insert(&self, entry: FlowEntry, syn: bool, now: u64, quicker: &mut FlowEntry) -> Remembered {
        if !within_budget(syn, now) {
            self.refused(now);
            return Remembered::No;
        }
        let key = &self.key;
        let result = if self.always {
            F::always_flows().insert(key, entry, NOEXIST)
        } else {
            F::flows().insert(key, entry, NOEXIST)
        };
        match result {
            Ok(()) => {
                self.count(|counters| counters.inserts += 1);
                Remembered::Yes
            }
            Err(EXISTS) => {
                let found = self.find();
                *quicker = found.entry;
                if found.exists() {
                    Remembered::Otherwise
                } else {
                    // Come and gone: nothing contradicts the choice.
                    Remembered::No
                }
            }
            Err(_) => {
                self.refused(now);
                Remembered::No
            }
        }
    }

    /// Counts a look-up.
    #[inline(always)]
    pub(crate) fn looked_up(&self, missed: bool) {
        self.count(|counters| {
            counters.lookups += 1;
            counters.misses += u64::from(missed);
        });
    }

    /// The daemon lets no window of the service end before it has passed since then.
    #[inline(always)]
    fn refused(&self, now: u64) {
        self.count(|counters| {
            counters.refused += 1;
            // 0 means never.
            counters.last_refused = if now == 0 { 1 } else { now };
        });
    }

    #[inline(always)]
    fn count(&self, change: impl FnOnce(&mut FlowCounters)) {
        if settings::dry_run() {
            return;
        }
        if let Some(counters) = maps::FLOW_COUNTERS.get_ptr_mut(self.service.0) {
            // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU.
            change(unsafe { &mut *counters });
        }
    }
}

impl Found {
    /// Whether there is an entry.
    #[inline(always)]
    pub(crate) const fn exists(&self) -> bool {
        self.place.is_some()
    }

    /// Notes that the flow was seen; nothing is written where nothing changes.
    #[inline(always)]
    pub(crate) fn touch(&self, flags: u8, now: u64) {
        let Self { place, entry } = *self;
        let seen = FlowEntry::new(entry.backend(), entry.generation(), flags, now);
        if let Some(place) = place
            && seen != entry
            && !settings::dry_run()
        {
            // Where it fails, another packet of the flow has just written the same.
            replace(place, entry, seen);
        }
    }
}

/// Replaces a word unless it has changed since it was found.
#[inline(always)]
fn replace(place: NonNull<FlowEntry>, old: FlowEntry, new: FlowEntry) -> bool {
    let old = old.0;
    let seen: u64;
    // SAFETY: an aligned word of a map value, which stays mapped until the program returns; the
    // instruction touches nothing else. In assembly, since the target has no such method.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({place} + 0, r0, {new})",
            place = in(reg) place.as_ptr(),
            new = in(reg) new.0,
            inout("r0") old => seen,
            options(nostack),
        );
    }
    known(seen == old)
}

/// The same value, of which the compiler does not know where it comes from. It would compare the two
/// words again wherever it matters; the verifier does not see that the answer is the same each time.
#[inline(always)]
fn known(value: bool) -> bool {
    let mut known = u64::from(value);
    // SAFETY: a register keeps its value. (An instruction there must be: one without would have a
    // line number that the kernel refuses.)
    unsafe { asm!("{0} = {0}", inout(reg) known, options(nomem, nostack)) };
    known != 0
}

/// Takes one entry off this CPU's allowance for the running tick. A flood of SYNs must not take the
/// entries that living flows need, so each kind has its own.
#[inline(always)]
fn within_budget(syn: bool, now: u64) -> bool {
    let Some(budget) = maps::INSERT_BUDGET.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU.
    let budget = unsafe { &mut *budget };
    if budget.tick != now {
        budget.tick = now;
        budget.syn = 0;
        budget.other = 0;
    }
    let (used, limit) = if syn {
        (&mut budget.syn, settings::syn_inserts())
    } else {
        (&mut budget.other, settings::other_inserts())
    };
    let within = *used < limit;
    *used += u32::from(within);
    within
}

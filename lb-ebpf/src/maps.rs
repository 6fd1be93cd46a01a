//! Every map. The daemon writes, the program reads, but for the counters and the flow entries.
//!
//! Sizes here are placeholders of one entry; the daemon sets them from `[limits]` when it loads the
//! program. The layouts are `lb_common::abi`'s.

use core::ptr::{self, NonNull};

use aya_ebpf::{
    btf_maps,
    helpers::generated::bpf_map_lookup_elem,
    macros::{btf_map, map},
    maps::{Array, DevMapHash, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use lb_common::abi::{
    AbiStamp,
    backend::Backend,
    counters::{BackendCounters, Counter},
    flow::{FlowCounters, FlowEntry, FlowKeyV4, FlowKeyV6, InsertBudget},
    lookup::Row,
    port::{INGRESS_ROWS, Ingress, IngressRow, MAX_PORTS, Port, ingress_row},
    reply::{ReplyV4, ReplyV6},
    service::{ServiceId, ServiceRecord},
    slot::SlotRow,
    trace::TraceState,
    vip::{Vip, VipKeyV4, VipKeyV6},
};

use crate::settings;

/// Lets user space map the values into its memory and write them atomically.
const MMAPABLE: u32 = 1 << 10;

/// ABI version; written once by the daemon that makes the maps, read by the next one.
#[map]
static ABI: Array<AbiStamp> = Array::with_max_entries(1, 0);

/// Address, port and protocol to service id: a look-up table. Inserted and deleted by the daemon, never
/// updated: a value being replaced could be read torn. Sized eight listeners a service.
#[map]
pub(crate) static VIPS_IPV4: Array<Row<VipKeyV4, Vip>> = Array::with_max_entries(1, MMAPABLE);

/// The same for IPv6. Sized alike, or one row where no service listens on IPv6.
#[map]
pub(crate) static VIPS_IPV6: Array<Row<VipKeyV6, Vip>> = Array::with_max_entries(1, MMAPABLE);

/// Service id to the record in force: one atomic word, written by the daemon. Sized `limits.services`.
#[map]
static SERVICES: Array<u64> = Array::with_max_entries(1, MMAPABLE);

/// Place of a record to a service's settings; immutable while reachable, and zero at place 0. Sized twice
/// `limits.services` and one.
#[map]
static RECORDS: Array<ServiceRecord> = Array::with_max_entries(1, MMAPABLE);

/// Slots, sixteen a value; each is one atomic word, written by the daemon. Sized `limits.slots`.
#[map]
static SLOTS: Array<SlotRow> = Array::with_max_entries(1, MMAPABLE);

/// Backend index to backend; what changes of it are atomic words, the rest is immutable while
/// reachable. Written by the daemon. Sized `limits.backends`.
#[map]
static BACKENDS: Array<Backend> = Array::with_max_entries(1, MMAPABLE);

/// Backend index to its counters, per CPU. Written here, read by the daemon. Sized
/// `limits.backends`.
#[map]
pub(crate) static BACKEND_COUNTERS: PerCpuArray<BackendCounters> =
    PerCpuArray::with_max_entries(1, 0);

/// `Counter` to number of packets, per CPU. Written here, read by the daemon.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// A `dnat` backend's address, port and protocol to the VIP it answers for: a look-up table. Inserted and
/// deleted by the daemon, never updated. Sized four listeners a backend.
#[map]
pub(crate) static REPLIES_IPV4: Array<Row<VipKeyV4, ReplyV4>> =
    Array::with_max_entries(1, MMAPABLE);

/// The same for IPv6. Sized alike, or one row where no service listens on IPv6.
#[map]
pub(crate) static REPLIES_IPV6: Array<Row<VipKeyV6, ReplyV6>> =
    Array::with_max_entries(1, MMAPABLE);

/// Port index to interface; written by the daemon.
#[map]
pub(crate) static PORTS: Array<Port> = Array::with_max_entries(MAX_PORTS, MMAPABLE);

/// Port index to the device to redirect to; written by the daemon, the same interfaces as `PORTS`. A hash,
/// since the kernel keeps an array of devices to programs of one kind (5.18+): those for frames in several
/// buffers, or the others.
#[map]
pub(crate) static DEVICES: DevMapHash = DevMapHash::with_max_entries(MAX_PORTS, 0);

/// Interface index, modulo rows, to what is known of the interface; written by the daemon.
#[map]
static INGRESS: Array<IngressRow> = Array::with_max_entries(INGRESS_ROWS, MMAPABLE);

/// IP packets, ready to send but for the next hop, which the kernel has yet to resolve. Written
/// here, read by the daemon. Small on purpose: with nobody reading, it fills up at once and the
/// packets go to the kernel instead.
#[map]
pub(crate) static PUNTS: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

/// A client's flow to its backend, for flows of slots in motion. Entries are inserted and changed
/// here, deleted by the daemon. Preallocated, never LRU: a flood of SYNs must not push living flows
/// out. Sized `limits.flows_ipv4`.
#[map]
pub(crate) static FLOWS_IPV4: HashMap<FlowKeyV4, FlowEntry> = HashMap::with_max_entries(1, 0);

/// The same for services that are always tracked. Sized `limits.flows_ipv4`, or one entry where no
/// service is.
#[map]
pub(crate) static ALWAYS_FLOWS_IPV4: LruHashMap<FlowKeyV4, FlowEntry> =
    LruHashMap::with_max_entries(1, 0);

/// `FLOWS_IPV4` for IPv6. Sized `limits.flows_ipv6`, or one entry where no service listens on IPv6.
#[map]
pub(crate) static FLOWS_IPV6: HashMap<FlowKeyV6, FlowEntry> = HashMap::with_max_entries(1, 0);

/// `ALWAYS_FLOWS_IPV4` for IPv6. Sized `limits.flows_ipv6`, or one entry where no service is always
/// tracked or listens on IPv6.
#[map]
pub(crate) static ALWAYS_FLOWS_IPV6: LruHashMap<FlowKeyV6, FlowEntry> =
    LruHashMap::with_max_entries(1, 0);

/// Service id to what became of its look-ups, per CPU. Written here, read by the daemon. Sized
/// `limits.services`.
#[map]
pub(crate) static FLOW_COUNTERS: PerCpuArray<FlowCounters> = PerCpuArray::with_max_entries(1, 0);

/// Entries made in the running tick, per CPU. Written here only.
#[map]
pub(crate) static INSERT_BUDGET: PerCpuArray<InsertBudget> = PerCpuArray::with_max_entries(1, 0);

/// One value, never entered by the program: what `BARRIER` points to.
type BarrierEntry = btf_maps::Array<u32, 1>;

/// Updating its entry makes the daemon wait until no program runs that could have seen what was
/// before (an RCU grace period).
#[btf_map]
static BARRIER: btf_maps::ArrayOfMaps<BarrierEntry, 1> = btf_maps::ArrayOfMaps::new();

/// The packet that is being traced, and the records written in the running second, per CPU. Written
/// here only.
#[map]
pub(crate) static TRACE_STATE: PerCpuArray<TraceState> = PerCpuArray::with_max_entries(1, 0);

/// The record in force of a service, which is named in another map's value.
#[inline(always)]
pub(crate) fn record(service: &'static ServiceId) -> Option<&'static ServiceRecord> {
    let reference = value_at(&SERVICES, &raw const service.0)?;
    // The low half of a `ServiceRef`, read once.
    let record = value_at(&RECORDS, reference.as_ptr().cast())?;
    // SAFETY: an array value is never unmapped, and this one does not change while it is named, nor until a
    // barrier after that.
    Some(unsafe { record.as_ref() })
}

/// The value of an array at an index that stands in another map's value. Given by value, the index would
/// go through the stack, and the look-up wait for that.
#[inline(always)]
fn value_at<T>(array: &'static Array<T>, index: *const u32) -> Option<NonNull<T>> {
    let array = ptr::from_ref(array).cast_mut().cast();
    // SAFETY: what stands for a map in the program is its definition, which is all that an `Array` is; the
    // index is four bytes of a value that is never unmapped.
    NonNull::new(unsafe { bpf_map_lookup_elem(array, index.cast()) }.cast())
}

/// One slot, by its number over all services.
#[inline(always)]
pub(crate) fn slot(number: u32) -> Option<lb_common::abi::slot::Slot> {
    use lb_common::abi::slot::{SLOTS_PER_ROW, Slot};

    let row = SLOTS.get_ptr(number / SLOTS_PER_ROW)?.cast::<Slot>();
    // SAFETY: the offset stays inside the row, whose slots the daemon writes as single words.
    Some(unsafe { row.add((number % SLOTS_PER_ROW) as usize).read_volatile() })
}

/// A backend, by its index over all services.
#[inline(always)]
pub(crate) fn backend(index: u32) -> Option<*const Backend> {
    BACKENDS.get_ptr(index)
}

/// An interface by its port index.
#[inline(always)]
pub(crate) fn port(index: u32) -> Option<&'static Port> {
    PORTS.get(index)
}

/// What is known of an interface by its index.
#[inline(always)]
pub(crate) fn ingress(ifindex: u32) -> Option<Ingress> {
    let row = INGRESS.get(ingress_row(ifindex))?;
    row.0.iter().copied().find(|way| way.ifindex() == ifindex)
}

/// Which backend's counters a packet adds to.
#[inline(always)]
pub(crate) fn count_backend(index: u32, bytes: u32, new_flow: bool) {
    if settings::dry_run() {
        return;
    }
    if let Some(counters) = BACKEND_COUNTERS.get_ptr_mut(index) {
        // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU.
        let counters = unsafe { &mut *counters };
        counters.packets += 1;
        counters.bytes += u64::from(bytes);
        counters.new_flows += u64::from(new_flow);
    }
}

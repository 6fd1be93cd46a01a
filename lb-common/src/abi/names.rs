//! The names of the maps and programs in the object file and, below the instance's folder, of their
//! pins.

/// One [`AbiStamp`](super::AbiStamp); user space only, pinned as `abi`.
pub const ABI: &str = "ABI";
/// [`Row`](super::lookup::Row)s of [`VipKeyV4`](super::vip::VipKeyV4) to [`Vip`](super::vip::Vip).
pub const VIPS_IPV4: &str = "VIPS_IPV4";
/// [`Row`](super::lookup::Row)s of [`VipKeyV6`](super::vip::VipKeyV6) to [`Vip`](super::vip::Vip).
pub const VIPS_IPV6: &str = "VIPS_IPV6";
/// Service id to the [`ServiceRef`](super::service::ServiceRef) that names the record in force.
pub const SERVICES: &str = "SERVICES";
/// Place of a record to [`ServiceRecord`](super::service::ServiceRecord).
pub const RECORDS: &str = "RECORDS";
/// Slot number / 16 to [`SlotRow`](super::slot::SlotRow).
pub const SLOTS: &str = "SLOTS";
/// Backend index to [`Backend`](super::backend::Backend).
pub const BACKENDS: &str = "BACKENDS";
/// Backend index to [`BackendCounters`](super::counters::BackendCounters), per CPU.
pub const BACKEND_COUNTERS: &str = "BACKEND_COUNTERS";
/// [`Counter`](super::counters::Counter) to `u64`, per CPU.
pub const COUNTERS: &str = "COUNTERS";
/// [`Row`](super::lookup::Row)s of [`VipKeyV4`](super::vip::VipKeyV4) of a backend to [`ReplyV4`](super::reply::ReplyV4).
pub const REPLIES_IPV4: &str = "REPLIES_IPV4";
/// [`Row`](super::lookup::Row)s of [`VipKeyV6`](super::vip::VipKeyV6) of a backend to [`ReplyV6`](super::reply::ReplyV6).
pub const REPLIES_IPV6: &str = "REPLIES_IPV6";
/// Port index to [`Port`](super::port::Port).
pub const PORTS: &str = "PORTS";
/// Port index to network device.
pub const DEVICES: &str = "DEVICES";
/// Interface index modulo rows to [`IngressRow`](super::port::IngressRow).
pub const INGRESS: &str = "INGRESS";
/// Packets whose next hop the kernel must resolve first; a ring buffer.
pub const PUNTS: &str = "PUNTS";
/// [`FlowKeyV4`](super::flow::FlowKeyV4) to [`FlowEntry`](super::flow::FlowEntry), of slots in motion.
pub const FLOWS_IPV4: &str = "FLOWS_IPV4";
/// The same for services that are always tracked; the least recently used entry gives way.
pub const ALWAYS_FLOWS_IPV4: &str = "ALWAYS_FLOWS_IPV4";
/// [`FlowKeyV6`](super::flow::FlowKeyV6) to [`FlowEntry`](super::flow::FlowEntry), of slots in motion.
pub const FLOWS_IPV6: &str = "FLOWS_IPV6";
/// The same for services that are always tracked; the least recently used entry gives way.
pub const ALWAYS_FLOWS_IPV6: &str = "ALWAYS_FLOWS_IPV6";
/// Service id to [`FlowCounters`](super::flow::FlowCounters), per CPU.
pub const FLOW_COUNTERS: &str = "FLOW_COUNTERS";
/// Entries made in the running tick ([`InsertBudget`](super::flow::InsertBudget)), per CPU; not pinned.
pub const INSERT_BUDGET: &str = "INSERT_BUDGET";
/// What tracing keeps while a packet is judged, per CPU; not pinned.
pub const TRACE_STATE: &str = "TRACE_STATE";
/// A one-entry array of maps: replacing its entry waits for an RCU grace period. User space only.
pub const BARRIER: &str = "BARRIER";
/// The read-only global that holds [`Settings`](super::settings::Settings).
pub const SETTINGS: &str = "SETTINGS";
/// The read-only global that holds [`Rows`](super::lookup::Rows).
pub const ROWS: &str = "ROWS";
/// The XDP program.
pub const PROGRAM: &str = "sluice";
/// The same for interfaces whose frames may lie in several buffers.
pub const FRAGS_PROGRAM: &str = "sluice_frags";
/// The XDP program that also logs packets.
pub const TRACED_PROGRAM: &str = "sluice_traced";
/// The same for interfaces whose frames may lie in several buffers.
pub const TRACED_FRAGS_PROGRAM: &str = "sluice_traced_frags";

/// The maps that outlive the daemon: pinned as `maps/<NAME>`.
pub const PINNED_MAPS: [&str; 19] = [
    VIPS_IPV4,
    VIPS_IPV6,
    SERVICES,
    RECORDS,
    SLOTS,
    BACKENDS,
    BACKEND_COUNTERS,
    COUNTERS,
    REPLIES_IPV4,
    REPLIES_IPV6,
    PORTS,
    DEVICES,
    INGRESS,
    PUNTS,
    FLOWS_IPV4,
    ALWAYS_FLOWS_IPV4,
    FLOWS_IPV6,
    ALWAYS_FLOWS_IPV6,
    FLOW_COUNTERS,
];

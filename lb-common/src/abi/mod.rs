//! The layout of the maps, shared by the kernel program and the daemon. A file a table.
//!
//! **Invariant:** whoever changes a size, an offset or a meaning here raises [`ABI_VERSION`]. Pinned
//! maps outlive the daemon, and a daemon adopts only maps of its own version.
//!
//! Every type is `#[repr(C)]`, has no padding that is not a named, zeroed field, and holds no type
//! with invalid bit patterns, so that any bytes read back from a map are a value.

pub mod backend;
pub mod counters;
pub mod decap;
pub mod flow;
pub mod lookup;
pub mod names;
pub mod port;
pub mod punt;
pub mod reply;
pub mod service;
pub mod settings;
pub mod slot;
pub mod trace;
pub mod vip;

/// The version of everything in this module.
pub const ABI_VERSION: u32 = 4;

/// What the map named `abi` holds: enough to refuse maps that another version made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbiStamp {
    /// [`ABI_VERSION`] of the daemon that made the maps.
    pub version: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<AbiStamp>() == 8);

/// Marks map types as plain old data for aya.
#[cfg(feature = "user")]
mod pod {
    macro_rules! pod {
        ($($type:ty),+ $(,)?) => {$(
            // SAFETY: `repr(C)` or `repr(transparent)`, no implicit padding (sizes are asserted
            // beside each type), and every bit pattern is a value.
            unsafe impl aya::Pod for $type {}
        )+};
    }

    // SAFETY: keys and values that are plain old data, of sizes that leave no padding between or behind them
    // (asserted in `lookup`).
    unsafe impl<K: aya::Pod, V: aya::Pod> aya::Pod for super::lookup::Row<K, V> {}

    pod!(
        super::AbiStamp,
        super::backend::Backend,
        super::counters::BackendCounters,
        super::decap::DecapSettings,
        super::flow::FlowCounters,
        super::flow::FlowEntry,
        super::flow::FlowKeyV4,
        super::flow::FlowKeyV6,
        super::flow::InsertBudget,
        super::lookup::Rows,
        super::port::Ingress,
        super::port::IngressRow,
        super::port::Port,
        super::reply::ReplyV4,
        super::reply::ReplyV6,
        super::service::ServiceId,
        super::service::ServiceRecord,
        super::settings::Settings,
        super::slot::Slot,
        super::slot::SlotRow,
        super::trace::TraceState,
        super::vip::Vip,
        super::vip::VipKeyV4,
        super::vip::VipKeyV6,
    );
}

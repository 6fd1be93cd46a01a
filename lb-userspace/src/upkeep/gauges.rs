//! What a pass over the flow tables has counted.

use std::collections::BTreeMap;

use lb_common::abi::slot::LocalBackend;

/// What is known of a service's flows, by the last complete pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Entries; `None`: no pass has been completed since the service was there.
    pub entries: Option<u64>,
    /// Of each backend that has entries or gives up new flows.
    pub backends: BTreeMap<LocalBackend, BackendGauges>,
}

/// What is known of a backend's flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendGauges {
    /// Entries that name it.
    pub entries: u64,
    /// It takes no new flows and none of its own is left: no slot names it, and a complete pass begun
    /// after that found no entry.
    pub is_drained: bool,
}

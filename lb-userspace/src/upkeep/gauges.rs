//! What a pass over the flow tables has counted.

/// What is known of a backend's flows, by the last complete pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendGauges {
    /// Entries that name it.
    pub entries: u64,
    /// It takes no new flows and none of its own is left: no slot names it, and a complete pass begun
    /// after that found no entry.
    pub is_drained: bool,
}

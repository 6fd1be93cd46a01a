//! Which service and slot a flow's entry belongs to.

use lb_common::abi::{
    backend::BackendState, flow::FlowEntry, service::ServiceId, slot::LocalBackend,
};

use crate::plan::{FlowKey, Image, Range};

/// Entries whose flow has sent nothing but SYNs, in seconds of silence: Linux gives up a SYN after 63.
pub(super) const SYN_ONLY_SECONDS: u64 = 75;
/// Entries whose flow has sent a FIN or RST, in seconds of silence.
pub(super) const CLOSING_SECONDS: u64 = 30;

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, and was counted here.
    Kept(Place),
    /// Without it the packets go where they go with it, or nobody sends any.
    Unneeded,
}

/// Where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) service: ServiceId,
    /// The slot's offset in the table in force.
    pub(super) slot: u32,
    /// The backend that the entry names.
    pub(super) backend: LocalBackend,
}

/// Finds the place of a flow, as the program does; `None`: its VIP is nobody's.
pub(super) fn place(image: &Image, key: &FlowKey) -> Option<Place> {
    let service = image.service_at(key.vip(), key.protocol())?;
    let record = image.service(service)?.record;
    Some(Place {
        service,
        slot: key.hash(record.hashing()).slot(record.slots_count),
        backend: 0,
    })
}

/// Whether an entry names a backend that is there, of the generation that it was made for.
pub(super) fn names_backend(image: &Image, place: Place, entry: FlowEntry) -> bool {
    let backend = image
        .service(place.service)
        .and_then(|held| Range::backends(&held.record).backend(entry.backend()))
        .and_then(|index| image.backend(index));
    backend.is_some_and(|backend| {
        let state = BackendState(backend.state);
        state.is_in_use() && backend.generation == entry.generation()
    })
}

//! Which service and slot a flow's entry belongs to.

use lb_common::{
    abi::{
        flow::{FlowEntry, FlowKeyV4},
        service::ServiceId,
        slot::LocalBackend,
        vip::VipKeyV4,
    },
    endian::Be16,
    hash::FlowHash,
};

use crate::plan::{Image, Range};

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
pub(super) fn place(image: &Image, key: &FlowKeyV4) -> Option<Place> {
    let FlowKeyV4 {
        source,
        destination,
        source_port,
        destination_port,
        protocol,
        reserved: _,
    } = *key;
    let vip = |port| {
        image
            .vips()
            .get(&VipKeyV4::new(destination, port, protocol))
    };
    let service = *vip(destination_port).or_else(|| vip(Be16::new(0)))?;
    let record = image.service(service)?.record;
    let hash = FlowHash::ipv4(
        record.hash_key,
        source,
        destination,
        source_port,
        destination_port,
        protocol,
    );
    Some(Place {
        service,
        slot: hash.slot(record.slots_count),
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
        let state = lb_common::abi::backend::BackendState(backend.state);
        state.is_in_use() && backend.generation == entry.generation()
    })
}

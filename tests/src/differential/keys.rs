//! Between the tables' own types and the model's: keys of flows, hashes, entries.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    abi::{
        flow::{FlowEntry, FlowKeyV4},
        service::{ServiceId, ServiceRecord},
        vip::VipKeyV4,
    },
    endian::Be16,
    hash::HashKey,
};
use lb_userspace::{
    model::Listener,
    plan::{Image, Seed},
};

use super::setup::OldSetup;
use crate::model::{
    flows::Entry,
    transport::protocol,
    world::{FlowTuple, Hashed},
};

/// A flow's key in its table.
pub(super) fn flow_key(from: SocketAddr, to: SocketAddr, udp: bool) -> Option<FlowKeyV4> {
    let number = if udp { protocol::UDP } else { protocol::TCP };
    key(from, to, number)
}

/// The same of a flow in the model's terms.
pub(super) fn key_of(tuple: &FlowTuple) -> Option<FlowKeyV4> {
    let from = SocketAddr::new(tuple.source, tuple.source_port);
    let to = SocketAddr::new(tuple.destination, tuple.destination_port);
    key(from, to, tuple.protocol)
}

fn key(from: SocketAddr, to: SocketAddr, number: u8) -> Option<FlowKeyV4> {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Some(FlowKeyV4::new(
            source.into(),
            destination.into(),
            Be16::new(from.port()),
            Be16::new(to.port()),
            number,
        )),
        _ => None,
    }
}

/// The service that a listener is of, as the table of VIPs has it.
pub(super) fn service_of(image: &Image, listener: &Listener) -> Option<ServiceId> {
    let IpAddr::V4(address) = listener.address.ip() else {
        return None;
    };
    let port = Be16::new(listener.address.port());
    let key = VipKeyV4::new(address.into(), port, listener.protocol.number());
    image.vips().get(&key).copied()
}

/// The flow of a key.
pub(super) fn tuple_of(key: &FlowKeyV4) -> FlowTuple {
    FlowTuple {
        source: IpAddr::V4(key.source.into()),
        destination: IpAddr::V4(key.destination.into()),
        source_port: key.source_port.get(),
        destination_port: key.destination_port.get(),
        protocol: key.protocol,
    }
}

/// The 64-bit flow hash.
pub(super) fn hash(hash_key: HashKey, hashed: &Hashed) -> u64 {
    match hashed {
        Hashed::Flow(tuple) => key_of(tuple).map_or(0, |key| {
            let hash = key.hash(hash_key);
            u64::from(hash.primary()) << 32 | u64::from(hash.secondary())
        }),
        Hashed::Source(_) => 0,
    }
}

/// What the hash of a table that is being left is keyed by.
pub(super) fn old_key(in_force: HashKey, old: &OldSetup) -> HashKey {
    match &old.seed {
        None => in_force,
        Some(seed) => Seed::derive(Some(seed)).flow,
    }
}

/// The same, and what it is over, in a record.
pub(super) fn set_old_hash(record: &mut ServiceRecord, old: &OldSetup) {
    record.old_hash_key = old_key(record.hash_key, old);
}

/// An entry in the model's terms.
pub(super) fn entry_of(entry: FlowEntry) -> Entry {
    Entry {
        backend: entry.backend(),
        generation: entry.generation(),
        established: entry.flags() & FlowEntry::ESTABLISHED != 0,
        closing: entry.flags() & FlowEntry::CLOSING != 0,
        last_seen: u64::from(entry.last_seen()),
    }
}

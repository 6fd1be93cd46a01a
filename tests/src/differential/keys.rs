//! Between the tables' own types and the model's: keys of flows, hashes, entries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    abi::{
        flow::FlowEntry,
        service::{ServiceId, ServiceRecord, hash},
    },
    endian::{Be32, Be128},
    family::Hashing,
    hash::HashKey,
};
use lb_userspace::{
    model::Listener,
    plan::{FlowKey, Image, Seed, VipKey},
};

use super::setup::{FlowSetup, HashSetup, OldSetup};
use crate::model::{
    flows::Entry,
    transport::protocol,
    world::{FlowTuple, Hashed, cut},
};

/// Every configuration's seed.
pub(super) const SEED: &str = "differential";

/// The key of a flow that a setup remembers.
pub(super) fn flow_key(flow: &FlowSetup) -> Option<FlowKey> {
    let number = if flow.udp {
        protocol::UDP
    } else {
        protocol::TCP
    };
    FlowKey::new(flow.from, flow.to, number)
}

/// The same of a flow in the model's terms.
pub(super) fn key_of(tuple: &FlowTuple) -> Option<FlowKey> {
    let from = SocketAddr::new(tuple.source, tuple.source_port);
    let to = SocketAddr::new(tuple.destination, tuple.destination_port);
    FlowKey::new(from, to, tuple.protocol)
}

/// The service that a listener is of, as the table of VIPs has it.
pub(super) fn service_of(image: &Image, listener: &Listener) -> Option<ServiceId> {
    let at = listener.address;
    let key = VipKey::new(at.ip(), at.port(), listener.protocol.number());
    image.vips().get(&key).copied()
}

/// The flow of a key.
pub(super) fn tuple_of(key: &FlowKey) -> FlowTuple {
    FlowTuple {
        source: key.client().ip(),
        destination: key.vip().ip(),
        source_port: key.client().port(),
        destination_port: key.vip().port(),
        protocol: key.protocol(),
    }
}

/// The 64-bit flow hash: of a flow, or of a source whose bits all count.
pub(super) fn hash(key: HashKey, hashed: &Hashed) -> u64 {
    let (flow, by_source) = match *hashed {
        Hashed::Flow(tuple) => (key_of(&tuple), false),
        Hashed::Source(source) => {
            let from = SocketAddr::new(source, 0);
            (FlowKey::new(from, from, 0), true)
        }
    };
    let hash = flow.expect("one IP version").hash(Hashing {
        key,
        by_source,
        mask_ipv4: Ipv4Addr::BROADCAST.into(),
        mask_ipv6: Ipv6Addr::from(u128::MAX).into(),
    });
    u64::from(hash.primary()) << 32 | u64::from(hash.secondary())
}

/// What a configuration's flow hash is keyed by.
pub(super) fn key_in_force() -> HashKey {
    Seed::derive(Some(SEED)).flow
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
    let (kind, prefixes) = match old.hash {
        HashSetup::FiveTuple => (hash::FIVE_TUPLE, (0, 0)),
        HashSetup::Source(ipv4, ipv6) => (hash::SOURCE, (ipv4, ipv6)),
    };
    record.old_hash = kind;
    record.old_source_mask_ipv4 = mask_ipv4(prefixes.0);
    record.old_source_mask_ipv6 = mask_ipv6(prefixes.1);
}

fn mask_ipv4(prefix: u8) -> Be32 {
    match cut(Ipv4Addr::BROADCAST.into(), prefix) {
        IpAddr::V4(mask) => mask.into(),
        IpAddr::V6(_) => unreachable!("it was IPv4"),
    }
}

fn mask_ipv6(prefix: u8) -> Be128 {
    match cut(Ipv6Addr::from(u128::MAX).into(), prefix) {
        IpAddr::V6(mask) => mask.into(),
        IpAddr::V4(_) => unreachable!("it was IPv6"),
    }
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

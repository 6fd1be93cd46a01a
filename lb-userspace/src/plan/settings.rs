//! What the program is loaded with: only what the model uses, and what the maps still need.

use std::net::IpAddr;

use lb_common::abi::{
    backend::family,
    service::{ServiceRecord, forward, hash, tracking},
    settings::{Settings, feature},
};

use super::{image::Image, index::Range, keys::VipKey};
use crate::model::{FlowHash, Forward, Model, Protocol, Service, Tracking};

/// Entries that each CPU makes in a tick (1.07 s) at most, for SYNs and for other packets apart.
const INSERTS: u32 = 50_000;

/// Bits of an address that may come from the flow hash.
const ENTROPY: u32 = 32;

/// The program's read-only settings for a model.
pub fn settings(model: &Model) -> Settings {
    let entropy = |prefix: u8, length: u32| {
        let behind = length.saturating_sub(u32::from(prefix)).min(ENTROPY);
        u32::MAX.checked_shr(ENTROPY - behind).unwrap_or(0)
    };
    let daemon = &model.daemon;
    Settings {
        features: features(model),
        syn_inserts: INSERTS,
        other_inserts: INSERTS,
        source_entropy_ipv4: daemon
            .tunnel_source_ipv4
            .map_or(0, |source| entropy(source.prefix, 32)),
        source_entropy_ipv6: daemon
            .tunnel_source_ipv6
            .map_or(0, |source| entropy(source.prefix, 128)),
        ..Settings::default()
    }
}

/// What the model uses, as switches of the program.
fn features(model: &Model) -> u32 {
    let mut features = model.services.iter().map(of_service).fold(0, |a, b| a | b);
    if model.interfaces.len() > 1 {
        features |= feature::REDIRECT;
    }
    if model.interfaces.iter().any(|interface| interface.vlan) {
        features |= feature::VLAN;
    }
    features
}

fn of_service(service: &Service) -> u32 {
    let mut features = match service.forward {
        Forward::Dnat => feature::DNAT,
        Forward::Dsr => feature::DSR,
        Forward::Ipip => feature::IPIP,
        Forward::Gue { .. } => feature::GUE,
    };
    features |= match service.connections.tracking {
        Tracking::Transition => feature::TRANSITION,
        Tracking::Always => feature::TRANSITION | feature::ALWAYS,
        Tracking::Never => 0,
    };
    if service.hash != FlowHash::FiveTuple {
        features |= feature::HASH_SOURCE;
    }
    for listener in &service.listeners {
        let (is_udp, address) = (listener.protocol == Protocol::Udp, listener.address);
        features |= of_listener(address.is_ipv6(), is_udp, address.port());
    }
    if service.forward.is_tunnel() {
        for backend in &service.backends {
            features |= match backend.address {
                IpAddr::V4(_) => feature::OUTER_IPV4,
                IpAddr::V6(_) => feature::OUTER_IPV6,
            };
        }
    }
    features
}

const fn of_listener(is_ipv6: bool, is_udp: bool, port: u16) -> u32 {
    let mut features = 0;
    if is_ipv6 {
        features |= feature::IPV6;
    }
    if is_udp {
        features |= feature::UDP;
    }
    if port == 0 {
        features |= feature::ANY_PORT;
    }
    features
}

impl Image {
    /// What the maps use, as switches of the program. More than the model where a change is yet to be
    /// carried out or takes its time: services of an earlier daemon, tables that are left, backends that
    /// finish their connections.
    pub fn features(&self) -> u32 {
        let mut features = 0;
        for record in self.service_ids().filter_map(|id| self.service(id)) {
            features |= self.of_record(&record.record);
        }
        for key in self.vips().keys() {
            let (is_ipv6, is_udp) = (
                matches!(key, VipKey::V6(_)),
                key.protocol() == Protocol::Udp.number(),
            );
            features |= of_listener(is_ipv6, is_udp, key.port());
        }
        features
    }

    fn of_record(&self, record: &ServiceRecord) -> u32 {
        let mut features = match record.forward {
            forward::DNAT => feature::DNAT,
            forward::DSR => feature::DSR,
            forward::IPIP => feature::IPIP,
            forward::GUE => feature::GUE,
            _ => 0,
        };
        features |= match record.tracking {
            tracking::TRANSITION => feature::TRANSITION,
            tracking::ALWAYS => feature::TRANSITION | feature::ALWAYS,
            _ => 0,
        };
        if record.hash == hash::SOURCE || record.old_hash == hash::SOURCE {
            features |= feature::HASH_SOURCE;
        }
        if matches!(record.forward, forward::IPIP | forward::GUE) {
            for (_, entry) in self.backends_in(Range::backends(record)) {
                features |= match entry.family {
                    family::IPV6 => feature::OUTER_IPV6,
                    _ => feature::OUTER_IPV4,
                };
            }
        }
        features
    }
}

//! What the program is loaded with: only what the model uses.

use lb_common::abi::settings::{Settings, feature};

use crate::model::{Forward, Model, Protocol, Tracking};

/// Entries that each CPU makes in a tick (1.07 s) at most, for SYNs and for other packets apart.
const INSERTS: u32 = 50_000;

/// The program's read-only settings for a model.
pub fn settings(model: &Model) -> Settings {
    Settings {
        features: features(model),
        syn_inserts: INSERTS,
        other_inserts: INSERTS,
        ..Settings::default()
    }
}

/// What the model uses, as switches of the program.
fn features(model: &Model) -> u32 {
    let mut features = 0;
    for service in &model.services {
        match service.forward {
            Forward::Dnat => features |= feature::DNAT,
            Forward::Dsr => features |= feature::DSR,
            Forward::Ipip => features |= feature::IPIP,
            Forward::Gue { .. } => features |= feature::GUE,
        }
        match service.connections.tracking {
            Tracking::Transition => features |= feature::TRANSITION,
            Tracking::Always => features |= feature::TRANSITION | feature::ALWAYS,
            Tracking::Never => {}
        }
        for listener in &service.listeners {
            if listener.protocol == Protocol::Udp {
                features |= feature::UDP;
            }
            if listener.address.port() == 0 {
                features |= feature::ANY_PORT;
            }
        }
    }
    if model.interfaces.len() > 1 {
        features |= feature::REDIRECT;
    }
    features
}

//! What is wanted: the model, and what is known of its backends.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_common::abi::backend::NextHop;

use super::{keys::VipKey, progress::Progress, seed::Seed};
use crate::model::{BackendKey, Daemon, Health, Listener, Model, Override, Service};

/// The desired state.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// The configuration.
    pub model: &'a Model,
    /// What is known of the backends; one that is missing is unknown and unresolved.
    pub views: &'a BTreeMap<BackendKey, View>,
    /// What the operator said of backends; one that is missing is as configured.
    pub overrides: &'a BTreeMap<BackendKey, Override>,
    /// Keys the tables.
    pub seed: &'a Seed,
    /// What time has brought.
    pub progress: &'a Progress,
    /// What of all this may have changed.
    pub scope: Scope<'a>,
}

/// What a plan looks at.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Everything.
    All,
    /// The services of these names: a plan over everything was carried out whole, and since then
    /// nothing has changed but these services' backends, settings of connections, views, overrides
    /// and progress. [`widen`](super::widen()) has added whom that concerns. What this costs does not
    /// depend on the other services.
    Services(&'a BTreeSet<Arc<str>>),
}

/// What is known of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its health.
    pub health: Health,
    /// How it is reached; `None` where that is not known, or no longer.
    pub next_hop: Option<NextHop>,
    /// The kernel's source address on the way to it; `None` where that is not known.
    pub source: Option<IpAddr>,
    /// Bytes that an IP packet may have on the way to it; `None` where that is not known.
    pub mtu: Option<u32>,
}

impl View {
    /// The next hop, if frames can be sent to it.
    pub(super) fn resolved(&self) -> Option<NextHop> {
        self.next_hop.filter(|next_hop| next_hop.is_resolved())
    }
}

impl Desired<'_> {
    /// What is known of a backend; where the operator has chosen a source, that one.
    pub(super) fn view(&self, key: &BackendKey) -> View {
        let view = self.views.get(key).copied().unwrap_or_default();
        let Daemon {
            tunnel_source_ipv4,
            tunnel_source_ipv6,
            ..
        } = &self.model.daemon;
        let chosen: Option<IpAddr> = match key.address {
            IpAddr::V4(_) => tunnel_source_ipv4.map(|source| source.address.into()),
            IpAddr::V6(_) => tunnel_source_ipv6.map(|source| source.address.into()),
        };
        View {
            source: chosen.or(view.source),
            ..view
        }
    }

    pub(super) fn override_of(&self, key: &BackendKey) -> Override {
        self.overrides.get(key).copied().unwrap_or_default()
    }
}

impl Scope<'_> {
    /// Whether a service is looked at.
    pub fn includes(&self, service: &Service) -> bool {
        match self {
            Self::All => true,
            Self::Services(names) => names.contains(&service.name),
        }
    }

    pub(super) const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

/// The key under which a listener's packets are looked up.
pub(super) fn vip_key(listener: &Listener) -> VipKey {
    let address = listener.address;
    VipKey::new(address.ip(), address.port(), listener.protocol.number())
}

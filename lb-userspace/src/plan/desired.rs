//! What is wanted: the model, and what is known of its backends.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_common::{abi::backend::NextHop, abi::vip::VipKeyV4, endian::Be16};

use super::{errors::PlanError, progress::Progress, seed::Seed};
use crate::model::{BackendKey, Health, Listener, Model, Override, Service};

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
}

impl View {
    /// The next hop, if frames can be sent to it.
    pub(super) fn resolved(&self) -> Option<NextHop> {
        self.next_hop.filter(|next_hop| next_hop.is_resolved())
    }
}

impl Desired<'_> {
    pub(super) fn view(&self, key: &BackendKey) -> View {
        self.views.get(key).copied().unwrap_or_default()
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
pub(super) fn vip_key(service: &Service, listener: &Listener) -> Result<VipKeyV4, PlanError> {
    v4_key(
        service,
        listener.address.ip(),
        listener.address.port(),
        listener,
    )
}

/// The key under which the replies of a backend at `address` and `port` are looked up.
pub(super) fn v4_key(
    service: &Service,
    address: IpAddr,
    port: u16,
    listener: &Listener,
) -> Result<VipKeyV4, PlanError> {
    match address {
        IpAddr::V4(v4) => Ok(VipKeyV4::new(
            v4.into(),
            Be16::new(port),
            listener.protocol.number(),
        )),
        IpAddr::V6(_) => Err(PlanError::NotIpv4 {
            service: service.name.clone(),
            address,
        }),
    }
}

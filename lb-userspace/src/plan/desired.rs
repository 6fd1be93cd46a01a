//! What is wanted: the model, and what is known of its backends.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::{abi::backend::NextHop, abi::vip::VipKeyV4, endian::Be16};

use super::{errors::PlanError, seed::Seed};
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

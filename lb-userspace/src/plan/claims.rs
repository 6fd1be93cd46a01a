//! Which id each service has: the one that a listener of it already has, or a free one.

use std::collections::BTreeSet;

use lb_common::abi::service::ServiceId;

use super::{
    alloc::Space,
    desired::{Desired, vip_key},
    errors::{Limit, PlanError},
    image::Image,
};
use crate::model::Service;

/// A service and its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) service: &'a Service,
    pub(super) id: ServiceId,
}

/// Claims an id for every service that is looked at, in the model's order. Where services were split or
/// merged, the first that claims an id has it.
pub(super) fn claim<'a>(
    desired: &Desired<'a>,
    image: &Image,
    space: &mut Space<'_>,
) -> Result<Vec<Claim<'a>>, PlanError> {
    let model = desired.model;
    let services: Vec<&Service> = model
        .services
        .iter()
        .filter(|service| desired.scope.includes(service))
        .collect();
    let mut claimed = BTreeSet::new();
    let mut found = Vec::with_capacity(services.len());
    for service in &services {
        let id = published(service, image, &claimed);
        claimed.extend(id);
        found.push(id);
    }
    services
        .into_iter()
        .zip(found)
        .map(|(service, found)| {
            let id = found
                .or_else(|| space.service())
                .ok_or_else(|| PlanError::Full {
                    service: service.name.clone(),
                    what: "service id",
                    needed: 1,
                    limit: Limit::Services,
                    have: model.limits.services,
                })?;
            Ok(Claim { service, id })
        })
        .collect()
}

fn published(service: &Service, image: &Image, claimed: &BTreeSet<ServiceId>) -> Option<ServiceId> {
    for listener in &service.listeners {
        let id = image.vips().get(&vip_key(listener));
        if let Some(id) = id.filter(|id| !claimed.contains(id) && image.service(**id).is_some()) {
            return Some(*id);
        }
    }
    None
}

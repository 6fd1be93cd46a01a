//! VIPs: which keys are wanted, which go, which get another service.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::service::ServiceId;

use super::{
    capacity::Capacity,
    claims::Claim,
    desired::vip_key,
    errors::{Limit, PlanError},
    image::Image,
    keys::VipKey,
    stages::Stages,
    writes::Write,
};

/// Plans the difference. VIPs of the services in `waiting` are inserted late, and so are keys that
/// another service has now.
pub(super) fn compare(
    claims: &[Claim<'_>],
    waiting: &BTreeSet<ServiceId>,
    image: &Image,
    capacity: Capacity,
    stages: &mut Stages,
) -> Result<(), PlanError> {
    let mut wanted = BTreeMap::new();
    let mut entries = image.vips().len();
    for claim in claims {
        for listener in &claim.service.listeners {
            let key = vip_key(listener);
            let held = image.vips().get(&key);
            if wanted.insert(key, claim.id).is_some() || held == Some(&claim.id) {
                continue;
            }
            entries += usize::from(held.is_none());
            if entries > capacity.vips as usize {
                return Err(full(claim, capacity));
            }
            let late = held.is_some() || waiting.contains(&claim.id);
            stages.reach_when(late).vips.push(Write::InsertVip {
                key,
                service: claim.id,
            });
        }
    }
    stages.vip_deletes.extend(deletes(image, &wanted));
    Ok(())
}

fn deletes(image: &Image, wanted: &BTreeMap<VipKey, ServiceId>) -> Vec<Write> {
    image
        .vips()
        .iter()
        .filter(|(key, id)| wanted.get(key) != Some(id))
        .map(|(key, _)| Write::DeleteVip { key: *key })
        .collect()
}

fn full(claim: &Claim<'_>, capacity: Capacity) -> PlanError {
    PlanError::Full {
        service: claim.service.name.clone(),
        what: "listeners (eight for each service on average)",
        needed: u32::try_from(claim.service.listeners.len()).unwrap_or(u32::MAX),
        limit: Limit::Services,
        have: capacity.services,
    }
}

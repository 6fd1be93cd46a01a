//! Whom a change of some services concerns beside them.

use std::{collections::BTreeSet, sync::Arc};

use lb_common::abi::service::ServiceId;

use super::{draft::hashing, image::Image, replies::reply_keys, seed::Seed};
use crate::model::{Model, Service};

/// Adds to `names` the services that a plan for those has to look at as well:
///
/// - who has a reply key that one of them wants: its backend is finishing connections, and has to go;
/// - where one of them waits for another table, all who do: each has its room kept, in the model's
///   order.
pub fn widen(names: &mut BTreeSet<Arc<str>>, model: &Model, seed: &Seed, image: &Image) {
    let named: Vec<&Service> = (model.services.iter())
        .filter(|service| names.contains(&service.name))
        .collect();
    let others: BTreeSet<ServiceId> = named.iter().flat_map(|s| holders(s, image)).collect();
    let is_waiting = |service: &Service| awaits_table(service, seed, image);
    let one_waits = named.iter().any(|service| is_waiting(service));
    if others.is_empty() && !one_waits {
        return;
    }
    let is_other = |service| {
        let id = image.service_id(service);
        id.is_some_and(|id| others.contains(&id))
    };
    let concerned = (model.services.iter())
        .filter(|service| is_other(service) || (one_waits && is_waiting(service)))
        .map(|service| Arc::clone(&service.name));
    let concerned: Vec<_> = concerned.collect();
    names.extend(concerned);
}

/// The other services that have reply keys of this one's backends.
fn holders(service: &Service, image: &Image) -> impl Iterator<Item = ServiceId> {
    let id = image.service_id(service);
    let keys = (service.backends.iter()).flat_map(|b| reply_keys(service, b.into()));
    keys.filter_map(|key| Some(image.replies().get(&key)?.service()))
        .filter(move |holder| Some(*holder) != id)
}

/// Whether the table in force is not the one that is wanted.
fn awaits_table(service: &Service, seed: &Seed, image: &Image) -> bool {
    let held = image.service_id(service).and_then(|id| image.service(id));
    held.is_some_and(|held| {
        held.record.slots_count != service.table_size
            || held.record.hashing() != hashing(service, seed.flow)
    })
}

//! What services may not do to each other, and what all of them together need.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::service::Draft;
use crate::{
    config::report::{Placed, Report, Spot},
    model::{Backend, Limits, Listener},
};

/// Listeners that fit for each service of the limits.
const LISTENERS_FOR_EACH: u64 = 8;

/// All rules that look at more than one part. `None`: the limits themselves are wrong.
pub(super) fn check(services: &[Draft], limits: Option<Limits>, report: &mut Report<'_>) {
    service_names(services, report);
    listeners(services, report);
    for service in services {
        backends_differ(service, report);
        ports_differ(service, report);
    }
    no_vip_is_a_backend(services, report);
    replies_are_unambiguous(services, report);
    if let Some(limits) = limits {
        limits_hold(services, limits, report);
    }
}

fn service_names(services: &[Draft], report: &mut Report<'_>) {
    let mut seen: HashMap<&str, &Spot> = HashMap::new();
    for Draft { name, .. } in services {
        if name.value.is_empty() {
            continue;
        }
        match seen.entry(&name.value) {
            Entry::Vacant(new) => {
                new.insert(&name.spot);
            }
            Entry::Occupied(first) => {
                let message = format!(
                    "`{}` is already a service at {}, use another name",
                    name.value,
                    report.locate(first.get())
                );
                report.error(name.spot.clone(), message);
            }
        }
    }
}

fn listeners(services: &[Draft], report: &mut Report<'_>) {
    let mut seen: HashMap<Listener, (&Draft, &Spot)> = HashMap::new();
    for service in services {
        for Placed { value, spot } in &service.listeners {
            match seen.entry(*value) {
                Entry::Vacant(new) => {
                    new.insert((service, spot));
                }
                Entry::Occupied(first) => {
                    let (other, at) = *first.get();
                    let message = format!(
                        "{value} is already a listener of service `{}` at {}, \
                         use another address or port",
                        other.name.value,
                        report.locate(at)
                    );
                    report.error(spot.clone(), message);
                }
            }
        }
    }
}

/// Where packets for `backend` go that came in by `listener`.
fn target(backend: &Backend, listener: &Listener) -> SocketAddr {
    let port = backend.port.unwrap_or(listener.address.port());
    SocketAddr::new(backend.address, port)
}

fn backends_differ(service: &Draft, report: &mut Report<'_>) {
    let mut addresses: HashMap<(IpAddr, Option<u16>), &Spot> = HashMap::new();
    let mut names: HashMap<&str, &Spot> = HashMap::new();
    // With one listener, `10.0.1.11` and `10.0.1.11:80` may be the same place.
    let only = match service.listeners.as_slice() {
        [listener] => Some(listener.value.address.port()),
        _ => None,
    };
    for Placed { value, spot } in &service.backends {
        match addresses.entry((value.address, value.port.or(only))) {
            Entry::Vacant(new) => {
                new.insert(spot);
            }
            Entry::Occupied(first) => {
                let message = format!(
                    "{value} is already a backend of this service at {}, \
                     use its weight to give it more",
                    report.locate(first.get())
                );
                report.error(spot.clone(), message);
                continue;
            }
        }
        match names.entry(&value.name) {
            Entry::Vacant(new) => {
                new.insert(spot);
            }
            Entry::Occupied(first) => {
                let message = format!(
                    "`{}` is already the name of the backend at {}, use another name",
                    value.name,
                    report.locate(first.get())
                );
                report.error(spot.clone(), message);
            }
        }
    }
}

/// Two VIPs of one service with the same port: both are kept by its backends, whose replies then
/// look the same.
fn ports_differ(service: &Draft, report: &mut Report<'_>) {
    if service.backends.is_empty() {
        return;
    }
    let mut ports: HashMap<u16, &Placed<Listener>> = HashMap::new();
    for listener in &service.listeners {
        let Placed { value, spot } = listener;
        match ports.entry(value.address.port()) {
            Entry::Vacant(new) => {
                new.insert(listener);
            }
            Entry::Occupied(first) if first.get().value != *value => {
                let message = format!(
                    "{value} has the port of {}: replies of the backends could not be told apart, \
                     use another port, or a service of its own with other backend ports",
                    first.get().value
                );
                report.error(spot.clone(), message);
            }
            Entry::Occupied(_) => {}
        }
    }
}

/// Rewritten packets would come straight back.
fn no_vip_is_a_backend(services: &[Draft], report: &mut Report<'_>) {
    let mut vips: HashMap<IpAddr, &Draft> = HashMap::new();
    for service in services {
        for listener in &service.listeners {
            vips.entry(listener.value.address.ip()).or_insert(service);
        }
    }
    for Placed { value, spot } in services.iter().flat_map(|service| &service.backends) {
        if let Some(service) = vips.get(&value.address) {
            let message = format!(
                "{} is a VIP of service `{}`, use the backend's own address",
                value.address, service.name.value
            );
            report.error(spot.clone(), message);
        }
    }
}

/// A reply is turned back by where it comes from alone, so (address, port, protocol) of a backend
/// must name one VIP over all services. Within one, [`ports_differ`] says so.
fn replies_are_unambiguous(services: &[Draft], report: &mut Report<'_>) {
    let mut seen: HashMap<SocketAddr, (&Draft, &Spot)> = HashMap::new();
    for service in services {
        for listener in &service.listeners {
            for Placed { value, spot } in &service.backends {
                let target = target(value, &listener.value);
                match seen.entry(target) {
                    Entry::Vacant(new) => {
                        new.insert((service, spot));
                    }
                    Entry::Occupied(first) => {
                        let (other, at) = *first.get();
                        if Arc::ptr_eq(&other.name.value, &service.name.value) {
                            continue;
                        }
                        let message = format!(
                            "{target} is already a backend of dnat service `{}` at {}, \
                             its replies could not be told from those of `{}`: use another port",
                            other.name.value,
                            report.locate(at),
                            service.name.value
                        );
                        report.error(spot.clone(), message);
                    }
                }
            }
        }
    }
}

fn limits_hold(services: &[Draft], limits: Limits, report: &mut Report<'_>) {
    let Limits {
        services: max_services,
        backends: max_backends,
        slots: max_slots,
    } = limits;
    let max_listeners = u64::from(max_services) * LISTENERS_FOR_EACH;
    let parts = |count: fn(&Draft) -> usize| {
        services.iter().map(move |service| Part {
            count: u64::try_from(count(service)).unwrap_or(u64::MAX),
            spot: &service.name.spot,
        })
    };
    let slots = services.iter().map(|service| Part {
        count: service.table_size.value.into(),
        spot: &service.table_size.spot,
    });
    let listeners = parts(|service| service.listeners.len());
    let backends = parts(|service| service.backends.len());
    sum_holds(
        "services",
        parts(|_| 1),
        max_services.into(),
        "services",
        report,
    );
    sum_holds("listeners", listeners, max_listeners, "services", report);
    sum_holds(
        "backends",
        backends,
        max_backends.into(),
        "backends",
        report,
    );
    sum_holds("slots", slots, max_slots.into(), "slots", report);
}

/// What one service adds to a sum.
struct Part<'s> {
    count: u64,
    spot: &'s Spot,
}

/// Reports once, at the service that goes beyond.
fn sum_holds<'s>(
    what: &str,
    parts: impl Iterator<Item = Part<'s>>,
    most: u64,
    key: &str,
    report: &mut Report<'_>,
) {
    let mut sum = 0_u64;
    let mut beyond = None;
    for Part { count, spot } in parts {
        sum = sum.saturating_add(count);
        if sum > most {
            beyond.get_or_insert(spot);
        }
    }
    if let Some(spot) = beyond {
        let message = format!(
            "all services together have {sum} {what}, the limits allow {most}: raise limits.{key}"
        );
        report.error(spot.clone(), message);
    }
}

//! What services may not do to each other, and what all of them together need.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    backends::DraftBackend,
    limits::{Bound, Bounds},
    service::Draft,
};
use crate::{
    config::report::{Placed, Report, Spot},
    model::{Backend, Forward, Listener, Protocol},
};

/// Listeners that fit for each service of the limits.
const LISTENERS_FOR_EACH: u64 = 8;

/// All rules that look at more than one part. `None`: the limits themselves are wrong.
pub(super) fn check(services: &[Draft], bounds: Option<&Bounds>, report: &mut Report<'_>) {
    service_names(services, report);
    listeners(services, report);
    for service in services {
        backends_differ(service, report);
        ports_differ(service, report);
    }
    no_vip_is_a_backend(services, report);
    replies_are_unambiguous(services, report);
    if let Some(bounds) = bounds {
        limits_hold(services, bounds, report);
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
fn target(backend: &Backend, listener: &Listener) -> Listener {
    let port = backend.port.unwrap_or(listener.address.port());
    let address = SocketAddr::new(backend.address, port);
    Listener {
        protocol: listener.protocol,
        address,
    }
}

fn backends_differ(service: &Draft, report: &mut Report<'_>) {
    let mut addresses: HashMap<(IpAddr, Option<u16>), &Spot> = HashMap::new();
    let mut names: HashMap<&str, &Spot> = HashMap::new();
    // With one listener, `10.0.1.11` and `10.0.1.11:80` may be the same place.
    let only = match service.listeners.as_slice() {
        [listener] => Some(listener.value.address.port()),
        _ => None,
    };
    for DraftBackend { backend, at_name } in &service.backends {
        let Placed { value, spot } = backend;
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
                new.insert(at_name);
            }
            Entry::Occupied(first) => {
                let message = format!(
                    "`{}` is already the name of the backend at {}, use another name",
                    value.name,
                    report.locate(first.get())
                );
                report.error(at_name.clone(), message);
            }
        }
    }
}

/// Two VIPs of one service with the same port: both are kept by its backends, whose replies then
/// look the same.
fn ports_differ(service: &Draft, report: &mut Report<'_>) {
    if service.backends.is_empty() || !service.forward.is_some_and(Forward::has_replies) {
        return;
    }
    let mut ports: HashMap<(Protocol, u16), &Placed<Listener>> = HashMap::new();
    for listener in &service.listeners {
        let Placed { value, spot } = listener;
        match ports.entry((value.protocol, value.address.port())) {
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
    for DraftBackend { backend, .. } in services.iter().flat_map(|service| &service.backends) {
        let Placed { value, spot } = backend;
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
    let mut seen: HashMap<Listener, (&Draft, &Spot)> = HashMap::new();
    for service in services
        .iter()
        .filter(|service| service.forward.is_some_and(Forward::has_replies))
    {
        for listener in &service.listeners {
            for DraftBackend { backend, .. } in &service.backends {
                let Placed { value, spot } = backend;
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
                            "{} is already a backend of dnat service `{}` at {}, \
                             its replies could not be told from those of `{}`: use another port",
                            target.address,
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

fn limits_hold(services: &[Draft], bounds: &Bounds, report: &mut Report<'_>) {
    let sum = |count: fn(&Draft) -> usize| services.iter().map(count).sum::<usize>();
    let slots = services.iter().map(|s| u64::from(s.table_size)).sum();
    let Bounds {
        services: max_services,
        backends: max_backends,
        slots: max_slots,
        flows_ipv4: _,
        flows_ipv6: _,
    } = bounds;
    let mut hold = |what: &str, sum: u64, most: u64, bound: &Bound, field: &str| {
        if sum > most {
            let message =
                format!("all services together have {sum} {what}, it allows {most}: raise it");
            report.error_or_absence(bound.spot.as_ref(), field, &message);
        }
    };
    let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let most = u64::from(max_services.most);
    let field = "limits.services";
    hold("services", wide(services.len()), most, max_services, field);
    let listeners = wide(sum(|s| s.listeners.len()));
    let most = most * LISTENERS_FOR_EACH;
    hold("listeners", listeners, most, max_services, field);
    let backends = wide(sum(|s| s.backends.len()));
    let most = max_backends.most.into();
    hold("backends", backends, most, max_backends, "limits.backends");
    let most = max_slots.most.into();
    hold("slots", slots, most, max_slots, "limits.slots");
}

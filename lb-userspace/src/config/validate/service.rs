//! `[[service]]`: all that can be said of one without looking at the others.

use std::sync::Arc;

use super::{
    address, connections, health,
    limits::MAX_SLOTS,
    prime,
    words::{self, Words, number},
};
use crate::{
    config::{
        raw::{RawBackend, RawService},
        report::{Placed, Report, Spot},
    },
    model::{Backend, Connections, FlowHash, Forward, HealthCheck, Listener, Protocol, Service},
};

const DEFAULT_TABLE_SIZE: u32 = 16_381;
const DEFAULT_WEIGHT: u16 = 1;
const MAX_WEIGHT: u32 = 256;
/// A slot names a backend by 16 bits; 0 and 0xFFFF mean something else.
const MAX_BACKENDS: usize = 65_534;
/// Fewer, and backends of equal weight get visibly unequal shares.
const SLOTS_FOR_EACH: usize = 32;

const FORWARD: Words<Forward> = Words {
    known: &[("dnat", Forward::Dnat), ("dsr", Forward::Dsr)],
    later: &["nat", "ipip", "gue"],
};

#[derive(Clone, Copy)]
enum Scheduler {
    Maglev,
}

const SCHEDULER: Words<Scheduler> = Words {
    known: &[("maglev", Scheduler::Maglev)],
    later: &["round-robin", "random", "least-connections"],
};

/// A service whose parts still know where they stand.
pub(super) struct Draft {
    /// Its name; empty where the file gives none.
    pub(super) name: Placed<Arc<str>>,
    /// Those that are right.
    pub(super) listeners: Vec<Placed<Listener>>,
    /// Those that are right.
    pub(super) backends: Vec<DraftBackend>,
    /// The default where it is wrong.
    pub(super) table_size: u32,
    /// The default where it is wrong.
    pub(super) forward: Forward,
    connections: Connections,
    health: Option<HealthCheck>,
}

/// A backend that still knows where it stands.
pub(super) struct DraftBackend {
    /// Itself, at its address.
    pub(super) backend: Placed<Backend>,
    /// Where its name comes from: that, or its address.
    pub(super) at_name: Spot,
}

impl Draft {
    /// The service itself.
    pub(super) fn finish(self) -> Service {
        let Self {
            name,
            listeners,
            backends,
            table_size,
            forward,
            connections,
            health,
        } = self;
        Service {
            name: name.value,
            listeners: listeners.into_iter().map(|l| l.value).collect(),
            forward,
            table_size,
            hash: FlowHash::FiveTuple,
            connections,
            health,
            backends: backends.into_iter().map(|b| b.backend.value).collect(),
        }
    }
}

/// One `[[service]]`.
pub(super) fn service(raw: Placed<RawService>, report: &mut Report<'_>) -> Draft {
    let Placed { value: raw, spot } = raw;
    let RawService {
        name,
        listen,
        forward,
        scheduler,
        table_size,
        tracking,
        transition_window,
        flow_idle,
        on_death,
        drain_timeout,
        slow_start,
        health,
        backend,
    } = raw;
    let file = spot.file;

    let name = match name.map(|raw| file.place(raw)) {
        Some(name) => words::name(name, report),
        None => {
            report.missing(&spot, "name", "missing, give the service a name");
            Placed {
                value: String::new(),
                spot: spot.clone(),
            }
        }
    };
    let listeners = match listen.map(|raw| file.place(raw)) {
        Some(raw) => {
            let Placed { value, spot } = raw;
            let listen = value.into_iter().map(|raw| file.place(raw)).collect();
            listeners(listen, spot, report)
        }
        None => {
            const MESSAGE: &str = "missing, write it as in listen = [\"tcp://203.0.113.80:80\"]";
            report.missing(&spot, "listen", MESSAGE);
            Vec::new()
        }
    };
    let forward = forward
        .and_then(|raw| FORWARD.read(&file.place(raw), report))
        .unwrap_or(Forward::Dnat);
    if let Some(raw) = scheduler {
        // There is one, so the model has no field for it.
        let _: Option<Scheduler> = SCHEDULER.read(&file.place(raw), report);
    }
    every_port_is_allowed(forward, &listeners, report);
    let health: Vec<_> = health.into_iter().map(|raw| file.section(raw)).collect();
    let at_health = health.first().map(|raw| raw.spot.clone());
    let health = health::health(health, report);
    if let Some(spot) = at_health
        && forward == Forward::Dsr
        && !listeners.is_empty()
        && listeners
            .iter()
            .all(|listener| listener.value.address.port() == 0)
    {
        let message = "has no port to ask: a service of every port needs a listener with one, too";
        report.error(spot, message);
    }
    let keys = connections::Keys {
        tracking: tracking.map(|raw| file.place(raw)),
        transition_window: transition_window.map(|raw| file.place(raw)),
        flow_idle: flow_idle.map(|raw| file.place(raw)),
        on_death: on_death.map(|raw| file.place(raw)),
        drain_timeout: drain_timeout.map(|raw| file.place(raw)),
        slow_start: slow_start.map(|raw| file.place(raw)),
    };
    let kind = connections::Kind {
        udp_only: !listeners.is_empty()
            && listeners
                .iter()
                .all(|listener| listener.value.protocol == Protocol::Udp),
        checked: health.is_some(),
    };
    let connections = connections::connections(keys, kind, report);
    let backend = backend.into_iter().map(|raw| file.section(raw)).collect();
    let backends = backends(backend, forward, &listeners, report);
    let table_size = match table_size.map(|raw| file.place(raw)) {
        Some(raw) => {
            let size = table_size_of(&raw, report);
            fits(size, &raw.spot, "", backends.len(), report);
            size
        }
        None => {
            fits(
                DEFAULT_TABLE_SIZE,
                &spot,
                "table_size",
                backends.len(),
                report,
            );
            DEFAULT_TABLE_SIZE
        }
    };
    if backends.iter().all(|b| b.backend.value.weight == 0) {
        let why = if backends.is_empty() {
            "has no backend"
        } else {
            "has only backends of weight 0"
        };
        report.warn(&spot, "", format!("{why}, new connections are dropped"));
    }

    let name = Placed {
        value: Arc::from(name.value),
        spot: name.spot,
    };
    Draft {
        name,
        listeners,
        backends,
        table_size,
        forward,
        connections,
        health,
    }
}

fn listeners(
    listen: Vec<Placed<String>>,
    spot: Spot,
    report: &mut Report<'_>,
) -> Vec<Placed<Listener>> {
    if listen.is_empty() {
        report.error(spot, "is empty, write at least one address");
    }
    let mut listeners = Vec::new();
    for text in listen {
        match address::listener(&text.value) {
            Ok(listener) => listeners.push(text.with(listener)),
            Err(message) => report.error(text.spot, message),
        }
    }
    listeners
}

/// The backends of such a service get every port as it is.
fn every_port_is_allowed(
    forward: Forward,
    listeners: &[Placed<Listener>],
    report: &mut Report<'_>,
) {
    for Placed { value, spot } in listeners {
        match forward {
            Forward::Dnat if value.address.port() == 0 => {
                let message = "port 0, every port, does not go with dnat: name one, or use dsr";
                report.error(spot.clone(), message);
            }
            Forward::Dnat | Forward::Dsr | Forward::Ipip | Forward::Gue { .. } => {}
        }
    }
}

fn table_size_of(raw: &Placed<i64>, report: &mut Report<'_>) -> u32 {
    let Some(size) = number(raw, 2..=MAX_SLOTS, report) else {
        return DEFAULT_TABLE_SIZE;
    };
    if !prime::is_prime(size) {
        let near: Vec<_> = prime::neighbours(size, MAX_SLOTS)
            .iter()
            .map(u32::to_string)
            .collect();
        report.error(
            raw.spot.clone(),
            format!("{size} is not a prime, use {}", near.join(" or ")),
        );
    }
    size
}

/// `spot` is the size's, or the service's that lacks the `key`.
fn fits(slots: u32, spot: &Spot, key: &str, backends: usize, report: &mut Report<'_>) {
    let enough = backends.saturating_mul(SLOTS_FOR_EACH);
    let slots_given = usize::try_from(slots).unwrap_or(usize::MAX);
    if backends > MAX_BACKENDS {
        let message =
            format!("{backends} backends, a service has at most {MAX_BACKENDS}: split it");
        report.missing(spot, key, message);
    } else if backends > slots_given {
        let message = format!(
            "{slots} slots do not go round for {backends} backends, use a prime of at least {enough}"
        );
        report.missing(spot, key, message);
    } else if enough > slots_given {
        let message = format!(
            "{slots} slots for {backends} backends make uneven shares, \
             use a prime of at least {enough}"
        );
        report.warn(spot, key, message);
    }
}

fn backends(
    raws: Vec<Placed<RawBackend>>,
    forward: Forward,
    listeners: &[Placed<Listener>],
    report: &mut Report<'_>,
) -> Vec<DraftBackend> {
    raws.into_iter()
        .filter_map(|raw| backend(raw, forward, listeners, report))
        .collect()
}

fn backend(
    raw: Placed<RawBackend>,
    forward: Forward,
    listeners: &[Placed<Listener>],
    report: &mut Report<'_>,
) -> Option<DraftBackend> {
    let Placed { value: raw, spot } = raw;
    let RawBackend {
        name,
        address,
        weight,
    } = raw;
    let file = spot.file;

    let name = name.map(|raw| words::name(file.place(raw), report));
    let weight = weight
        .and_then(|raw| number(&file.place(raw), 0..=MAX_WEIGHT, report))
        .and_then(|weight| u16::try_from(weight).ok())
        .unwrap_or(DEFAULT_WEIGHT);
    let Some(text) = address.map(|raw| file.place(raw)) else {
        report.missing(&spot, "address", "missing, write it as in 10.0.1.11:8080");
        return None;
    };
    let endpoint = match address::backend(&text.value) {
        Ok(endpoint) => endpoint,
        Err(message) => {
            report.error(text.spot, message);
            return None;
        }
    };
    if endpoint.port.is_some() && forward == Forward::Dsr {
        report.error(
            text.spot.clone(),
            format!(
                "with dsr the listener's port is kept: write {} without a port",
                endpoint.address
            ),
        );
    } else if endpoint.port.is_some() && listeners.len() > 1 {
        report.error(
            text.spot.clone(),
            format!(
                "with several listeners each one's port is kept: write {} without a port, \
                 or a service for each listener",
                endpoint.address
            ),
        );
    }
    let mut backend = Backend {
        name: Arc::from(""),
        address: endpoint.address.into(),
        port: endpoint.port,
        weight,
    };
    let name = name.unwrap_or_else(|| text.with(backend.to_string()));
    backend.name = Arc::from(name.value);
    Some(DraftBackend {
        backend: text.with(backend),
        at_name: name.spot,
    })
}

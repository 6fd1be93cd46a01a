//! `[[service]]`: all that can be said of one without looking at the others.

use std::sync::Arc;

use super::{
    address,
    backends::{DraftBackend, backends},
    connections, families, forward, hash, health, table,
    words::{self, Words},
};
use crate::{
    config::{
        raw::RawService,
        report::{Placed, Report, Spot},
    },
    model::{Connections, FlowHash, Forward, HealthCheck, Listener, Protocol, Service},
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
    /// `None` where it is wrong.
    pub(super) forward: Option<Forward>,
    hash: FlowHash,
    connections: Connections,
    health: Option<HealthCheck>,
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
            hash,
            connections,
            health,
        } = self;
        Service {
            name: name.value,
            listeners: listeners.into_iter().map(|l| l.value).collect(),
            forward: forward.unwrap_or(Forward::Dnat),
            table_size,
            hash,
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
        gue_port,
        scheduler,
        table_size,
        hash,
        source_prefix_ipv4,
        source_prefix_ipv6,
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
    let keys = forward::Keys {
        forward: forward.map(|raw| file.place(raw)),
        gue_port: gue_port.map(|raw| file.place(raw)),
    };
    let forward = forward::forward(keys, report);
    if let Some(raw) = scheduler {
        // There is one, so the model has no field for it.
        let _: Option<Scheduler> = SCHEDULER.read(&file.place(raw), report);
    }
    let keys = hash::Keys {
        hash: hash.map(|raw| file.place(raw)),
        source_prefix_ipv4: source_prefix_ipv4.map(|raw| file.place(raw)),
        source_prefix_ipv6: source_prefix_ipv6.map(|raw| file.place(raw)),
    };
    let hash = hash::hash(keys, report);
    let health: Vec<_> = health.into_iter().map(|raw| file.section(raw)).collect();
    let at_health = health.first().map(|raw| raw.spot.clone());
    let health = health::health(health, report);
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
    let backends = backends(backend, report);
    if let Some(forward) = forward {
        forward::every_port_is_allowed(forward, &listeners, report);
        forward::ports_are_kept(forward, &listeners, &backends, report);
        families::are_not_mixed(forward, &listeners, &backends, report);
        if let Some(spot) = at_health {
            forward::some_port_is_named(spot, forward, &listeners, report);
        }
    }
    let table_size = table_size.map(|raw| file.place(raw));
    let table_size = table::size(table_size, &spot, backends.len(), report);
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
        hash,
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

//! The status: what the admin API tells.

use std::time::Duration;

use lb_common::abi::{
    ABI_VERSION,
    counters::{BackendCounters, Counter, DropReason},
    settings::feature,
};

use super::state::{Controller, LastReload};
use crate::{
    admin::status::{
        Admin, Backend, Check, Config, DropCount, Drops, Health, Interface,
        LastReload as ReloadStatus, Neighbor, SCHEMA, Service, Slots, Status, Verdicts, rfc3339,
    },
    health::LastCheck,
    model::{self, Override},
    neighbor::{AttachMode, State},
    plan::{BackendIndex, BackendStatus, Endpoint, SlotCounts},
};

impl Controller {
    /// Everything that is known, at this moment.
    pub(super) fn status(&self) -> Status {
        let services: Vec<_> = self
            .model
            .services
            .iter()
            .map(|s| self.service(s))
            .collect();
        Status {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: ABI_VERSION,
            instance: self.model.daemon.instance.clone(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            config: self.config(),
            interfaces: self
                .model
                .interfaces
                .iter()
                .map(|i| self.interface(i))
                .collect(),
            services,
            verdicts: self.verdicts(),
            drops: self.drops(),
            warnings: self
                .warnings
                .iter()
                .map(ToString::to_string)
                .chain(self.absent_overrides())
                .collect(),
            alarms: self.alarms(),
            features: self.features(),
            plans: self.written.so_far(),
        }
    }

    fn config(&self) -> Config {
        let path = self.source.path.as_ref();
        Config {
            path: path.map(|path| path.display().to_string()),
            generation: self.generation,
            loaded_at: Some(rfc3339(self.loaded_at)),
            last_reload: self
                .last_reload
                .as_ref()
                .map(|LastReload { at, error }| ReloadStatus {
                    ok: error.is_none(),
                    at: rfc3339(*at),
                    error: error.clone(),
                }),
        }
    }

    fn interface(&self, interface: &model::Interface) -> Interface {
        let link = self.links.values().find(|link| link.name == interface.name);
        Interface {
            name: interface.name.clone(),
            ifindex: link.map_or(0, |link| link.ifindex),
            xdp: link
                .and_then(|link| link.xdp)
                .map_or("none", |xdp| match xdp.mode {
                    AttachMode::Generic => "generic",
                    AttachMode::Native | AttachMode::Offloaded | AttachMode::Multiple => "native",
                })
                .to_owned(),
            up: link.is_some_and(|link| link.up),
            frags: self.dataplane.takes_frags(&interface.name),
        }
    }

    fn service(&self, service: &model::Service) -> Service {
        let held = self.image.status(service);
        let named = held.as_ref().map(|held| self.image.named(&held.record));
        let mut backends: Vec<_> = service
            .backends
            .iter()
            .map(|backend| {
                let held = held
                    .as_ref()
                    .and_then(|held| held.backends.get(&backend.into()));
                let named = named.as_ref();
                let named = held
                    .zip(named)
                    .is_some_and(|(held, named)| named.contains(&held.local));
                self.backend(service, backend, held, named)
            })
            .collect();
        if let (Some(held), Some(named)) = (&held, &named) {
            let leaving = held.backends.iter().filter(|(endpoint, _)| {
                let mut configured = service.backends.iter();
                !configured.any(|backend| Endpoint::from(backend) == **endpoint)
            });
            backends.extend(leaving.map(|(endpoint, leaving)| {
                self.leaving(service, *endpoint, leaving, named.contains(&leaving.local))
            }));
        }
        let retired = held
            .as_ref()
            .map(|held| self.retired.of(held.id))
            .unwrap_or_default();
        let sum = |retired: u64, field: fn(&Backend) -> u64| {
            retired + backends.iter().map(field).sum::<u64>()
        };
        let SlotCounts {
            stable,
            transition,
            tracked,
            unset: _,
        } = held.as_ref().map(|held| held.slots).unwrap_or_default();
        Service {
            name: service.name.to_string(),
            listen: service.listeners.iter().map(ToString::to_string).collect(),
            forward: service.forward.to_string(),
            scheduler: "maglev".to_owned(),
            table_size: service.table_size,
            slots: Slots {
                stable,
                transition,
                tracked,
            },
            packets: sum(retired.packets, |b| b.packets),
            bytes: sum(retired.bytes, |b| b.bytes),
            new_flows: sum(retired.new_flows, |b| b.new_flows),
            backends,
            tracking: service.connections.tracking.to_string(),
            flows: self.flow_figures(service, held.as_ref()),
        }
    }

    fn backend(
        &self,
        service: &model::Service,
        backend: &model::Backend,
        held: Option<&BackendStatus>,
        named: bool,
    ) -> Backend {
        let key = service.key(backend);
        let view = self.views.get(&key).copied().unwrap_or_default();
        let counted = held
            .map(|held| self.counted(held.index))
            .unwrap_or_default();
        let remembered = self.flows_of(service, held);
        let Override { admin, weight: set } = self.said_of(service, backend);
        let weight = set.unwrap_or(backend.weight);
        Backend {
            name: backend.name.to_string(),
            address: backend.to_string(),
            weight,
            effective_weight: if self.takes_new(service, backend) {
                weight
            } else {
                0
            },
            // A weight of 0 is the same by another name.
            admin: match admin {
                model::Admin::Enabled if weight == 0 => Admin::Draining,
                admin => admin.into(),
            },
            health: view.health.into(),
            neighbor: self.neighbor(backend, view.next_hop.is_some()),
            slots: held.map_or(0, |held| held.slots),
            packets: counted.packets,
            bytes: counted.bytes,
            new_flows: counted.new_flows,
            last_check: self.checks.get(&key).map(check),
            configured_weight: set.map(|_| backend.weight),
            flows: remembered,
            drained: self.drained(service, held, named),
        }
    }

    /// A backend that is no longer configured and finishes its connections. Its name is gone.
    fn leaving(
        &self,
        service: &model::Service,
        endpoint: Endpoint,
        held: &BackendStatus,
        named: bool,
    ) -> Backend {
        let address = endpoint.to_string();
        let counted = self.counted(held.index);
        let remembered = self.flows_of(service, Some(held));
        Backend {
            name: address.clone(),
            address,
            weight: 0,
            effective_weight: 0,
            admin: Admin::Draining,
            health: Health::None,
            neighbor: if held.next_hop.is_resolved() {
                Neighbor::Resolved
            } else {
                Neighbor::Unresolved
            },
            slots: held.slots,
            packets: counted.packets,
            bytes: counted.bytes,
            new_flows: counted.new_flows,
            last_check: None,
            configured_weight: None,
            flows: remembered,
            drained: self.drained(service, Some(held), named),
        }
    }

    pub(super) fn neighbor(&self, backend: &model::Backend, has_mac: bool) -> Neighbor {
        match self.next_hops.get(&backend.address) {
            Some(State::Resolved { ifindex, .. }) if self.egress_port(*ifindex).is_some() => {
                Neighbor::Resolved
            }
            // The route leads out of an interface that the program is not attached to.
            Some(State::Resolved { .. }) => Neighbor::Unreachable,
            // The last MAC is still in use.
            Some(State::Unresolved { .. }) if has_mac => Neighbor::Failed,
            Some(State::Unresolved { ifindex: None, .. }) => Neighbor::Unreachable,
            // Adopted, and not yet asked for.
            None if has_mac => Neighbor::Resolved,
            Some(State::Unresolved { .. }) | None => Neighbor::Unresolved,
        }
    }

    fn counted(&self, index: BackendIndex) -> BackendCounters {
        self.dataplane
            .backend_counters(index)
            .unwrap_or_else(|error| {
                log::error!("{error}");
                BackendCounters::default()
            })
    }

    fn counter(&self, counter: Counter) -> u64 {
        self.dataplane.counter(counter).unwrap_or_else(|error| {
            log::error!("{error}");
            0
        })
    }

    fn verdicts(&self) -> Verdicts {
        Verdicts {
            tx: self.counter(Counter::TX),
            redirect: self.counter(Counter::REDIRECT),
            pass: self.counter(Counter::PASS),
            drop: DropReason::ALL
                .into_iter()
                .map(|r| self.counter(Counter::dropped(r)))
                .sum(),
            punt: self.counter(Counter::PUNT),
        }
    }

    fn drops(&self) -> Drops {
        Drops(
            DropReason::ALL
                .into_iter()
                .map(|reason| DropCount {
                    reason: reason.name().to_owned(),
                    packets: self.counter(Counter::dropped(reason)),
                })
                .collect(),
        )
    }

    fn features(&self) -> Vec<String> {
        let loaded = self.dataplane.settings().features;
        feature::ALL
            .into_iter()
            .filter(|(bit, _)| loaded & bit != 0)
            .map(|(_, name)| name.to_owned())
            .collect()
    }
}

fn check(last: &LastCheck) -> Check {
    let LastCheck {
        ok,
        at,
        duration,
        reason,
    } = last;
    Check {
        ok: *ok,
        at: rfc3339(*at),
        duration_ms: milliseconds(*duration),
        reason: reason.clone(),
    }
}

/// To the microsecond: more digits are noise.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

//! Alarms: what goes wrong while the daemon runs, for as long as it does. In the status, and in the
//! log when one begins and when it is over.

use std::{collections::BTreeSet, net::IpAddr};

use super::state::Controller;
use crate::{
    admin::status::Neighbor,
    model::{self, Admin, Override},
    neighbor::State,
};

impl Controller {
    /// What somebody should look at.
    pub(super) fn alarms(&self) -> Vec<String> {
        let mut alarms: Vec<_> = self.trouble.iter().cloned().collect();
        for model::Interface { name, .. } in &self.model.interfaces {
            alarms.extend(self.watched.alarms(name));
            if self.links.values().any(|l| l.name == *name && !l.up) {
                alarms.push(format!("interface {name} is down"));
            }
        }
        alarms.extend(self.interfaces_without_forwarding().into_iter().map(|name| {
            format!(
                "replies of dnat backends are not forwarded: net.ipv4.conf.{name}.forwarding is 0; \
                 sysctl -w net.ipv4.ip_forward=1"
            )
        }));
        alarms.extend(self.next_hop_alarms());
        alarms
    }

    /// Logs what began and what is over since the last call.
    pub(super) fn log_alarms(&mut self) {
        let alarms: BTreeSet<String> = self.alarms().into_iter().collect();
        for text in alarms.difference(&self.told) {
            log::warn!("alarm: {text}");
        }
        for text in self.told.difference(&alarms) {
            log::info!("alarm over: {text}");
        }
        self.told = alarms;
    }

    /// Backends whose next hop is missing, in the model's order.
    fn next_hop_alarms(&self) -> Vec<String> {
        let is_missing = |state: &State| match state {
            State::Resolved { ifindex, .. } => self.dataplane.port(*ifindex).is_none(),
            State::Unresolved { .. } => true,
        };
        let next_hops = self.next_hops.iter();
        let missing: BTreeSet<IpAddr> = next_hops
            .filter(|(_, state)| is_missing(state))
            .map(|(address, _)| *address)
            .collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let backends = |service: &model::Service| -> Vec<String> {
            let backends = service.backends.iter();
            backends
                .filter(|backend| missing.contains(&backend.address))
                .filter_map(|backend| self.next_hop_alarm(service, backend))
                .collect()
        };
        self.model.services.iter().flat_map(backends).collect()
    }

    /// Whether a backend's next hop is missing. One whose health check says so, too, gets no packets
    /// and is no alarm.
    fn next_hop_alarm(&self, service: &model::Service, backend: &model::Backend) -> Option<String> {
        let view = self.views.get(&service.key(backend))?;
        let Override { admin, weight } = self.said_of(service, backend);
        let unwanted = admin == Admin::Disabled || weight.unwrap_or(backend.weight) == 0;
        if unwanted || !view.health.is_usable() {
            return None;
        }
        let consequence = match (
            self.neighbor(backend, view.next_hop.is_some()),
            view.next_hop,
        ) {
            (Neighbor::Resolved, _) => return None,
            (_, Some(_)) => "its packets still go where they went last",
            (_, None) => "it gets no packets",
        };
        let why = match self.next_hops.get(&backend.address)? {
            State::Unresolved { asking: true, .. } if !self.silent.contains(&backend.address) => {
                return None;
            }
            State::Unresolved { ifindex: None, .. } => {
                format!("there is no route to {}", backend.address)
            }
            // Not the reason as it is told: that changes with every attempt.
            State::Unresolved { .. } => {
                format!(
                    "the next hop on the way to {} does not answer",
                    backend.address
                )
            }
            State::Resolved { ifindex, .. } => {
                let name = self.links.get(ifindex).map_or("?", |link| &link.name);
                format!(
                    "the route to {} leads out of interface {name}, which the program is not \
                     attached to",
                    backend.address
                )
            }
        };
        Some(format!(
            "backend {}/{}: {why}; {consequence}",
            service.name, backend.name
        ))
    }
}

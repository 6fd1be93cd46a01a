//! Alarms: what goes wrong while the daemon runs, for as long as it does. In the status, and in the
//! log when one begins and when it is over.

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
        for service in &self.model.services {
            let backends = service.backends.iter();
            alarms.extend(backends.filter_map(|backend| self.next_hop_alarm(service, backend)));
        }
        alarms
    }

    /// Logs what began and what is over since the last call.
    pub(super) fn log_alarms(&mut self) {
        let alarms = self.alarms();
        for text in alarms.iter().filter(|text| !self.told.contains(text)) {
            log::warn!("alarm: {text}");
        }
        for text in self.told.iter().filter(|text| !alarms.contains(text)) {
            log::info!("alarm over: {text}");
        }
        self.told = alarms;
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

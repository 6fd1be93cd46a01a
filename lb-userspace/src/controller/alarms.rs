//! Alarms: what goes wrong while the daemon runs, for as long as it does. In the status, and in the
//! log when one begins and when it is over.
//!
//! `ways` has those of the ways that packets take.

mod ways;

use std::{collections::BTreeSet, net::IpAddr};

use super::{interfaces::lowest, state::Controller};
use crate::{
    admin::status::Neighbor,
    model::{self, Admin, Override},
    neighbor::{Link, State},
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
        alarms.extend(self.unforwarded_replies());
        alarms.extend(self.narrow_tunnels());
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
            State::Resolved {
                ifindex, source, ..
            } => source.is_none() || self.egress_port(*ifindex).is_none(),
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
        if let Some(alarm) = self.source_alarm(service, backend) {
            return Some(alarm);
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
            State::Resolved { ifindex, .. } => self.not_attached(backend.address, *ifindex),
        };
        Some(format!(
            "backend {}/{}: {why}; {consequence}",
            service.name, backend.name
        ))
    }

    fn not_attached(&self, address: IpAddr, ifindex: u32) -> String {
        let name = |link: Option<&Link>| link.map_or("?", |link| &link.name).to_owned();
        let out_of = name(self.links.get(&ifindex));
        let lowest = lowest(&self.links, ifindex);
        match lowest.filter(|lowest| self.dataplane.port(lowest.ifindex).is_some()) {
            Some(lowest) => format!(
                "the route to {address} leads out of VLAN device {out_of}: set vlan = true for interface {}",
                lowest.name
            ),
            None => format!(
                "the route to {address} leads out of interface {out_of}, which the program is not attached to"
            ),
        }
    }

    /// Whether a tunnel to a backend has no source address.
    fn source_alarm(&self, service: &model::Service, backend: &model::Backend) -> Option<String> {
        let (chosen, key) = match backend.address {
            IpAddr::V4(_) => (
                self.model.daemon.tunnel_source_ipv4.is_some(),
                "tunnel_source_ipv4",
            ),
            IpAddr::V6(_) => (
                self.model.daemon.tunnel_source_ipv6.is_some(),
                "tunnel_source_ipv6",
            ),
        };
        let Some(State::Resolved { source: None, .. }) = self.next_hops.get(&backend.address)
        else {
            return None;
        };
        (service.forward.is_tunnel() && !chosen).then(|| {
            format!(
                "backend {}/{}: this host has no address of its own on the way to {}; set daemon.{key}",
                service.name, backend.name, backend.address
            )
        })
    }
}

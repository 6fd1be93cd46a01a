//! What is known of the backends: heard from health checks and resolver, and carried from one
//! configuration into the next.

use std::{collections::BTreeMap, mem, net::IpAddr};

use lb_common::abi::backend::NextHop;

use super::{interfaces, state::Controller, touched::Touched};
use crate::{
    by_service,
    health::{self, LastCheck},
    model::{Backend, BackendKey, Health, Service},
    neighbor,
    plan::{Scope, View},
};

/// How an address is reached, as the views have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    next_hop: NextHop,
    source: Option<IpAddr>,
    mtu: u32,
}

/// What was known before another configuration came.
pub(super) struct Former {
    views: BTreeMap<BackendKey, View>,
    checks: BTreeMap<BackendKey, LastCheck>,
}

impl Controller {
    /// A backend was probed.
    pub(super) fn on_health(&mut self, event: health::Event) {
        let health::Event { key, health, last } = event;
        // A probe may end after its backend was removed.
        let Some(view) = self.views.get_mut(&key) else {
            return;
        };
        if view.health != health {
            self.touched.add(&key.service);
        }
        view.health = health;
        self.checks.insert(key, last);
    }

    /// A route, a neighbour or an interface changed.
    pub(super) fn on_neighbor(&mut self, event: neighbor::Event) {
        match event {
            neighbor::Event::NextHop { address, state } => {
                match &state {
                    neighbor::State::Resolved { .. } => self.silent.remove(&address),
                    // Told once, it stays so while the kernel asks again and again.
                    neighbor::State::Unresolved { asking: true, .. } => false,
                    neighbor::State::Unresolved { .. } => self.silent.insert(address),
                };
                self.next_hops.insert(address, state);
                self.refresh_next_hop(address);
            }
            neighbor::Event::Link { link, removed } => {
                self.watched.due |= self.model.interfaces.iter().any(|i| i.name == link.name);
                let is_vlan = interfaces::is_vlan(&link);
                if removed {
                    self.links.remove(&link.ifindex);
                } else {
                    // Notifications do not tell of programs attached by links.
                    let xdp = self.links.get(&link.ifindex).and_then(|known| known.xdp);
                    self.links
                        .insert(link.ifindex, neighbor::Link { xdp, ..link });
                }
                if is_vlan {
                    self.alias_vlans();
                    self.refresh_next_hops();
                }
            }
        }
    }

    /// Carries what is known of next hops into the views, where ports may have changed.
    pub(super) fn refresh_next_hops(&mut self) {
        let addresses: Vec<IpAddr> = self.next_hops.keys().copied().collect();
        for address in addresses {
            self.refresh_next_hop(address);
        }
    }

    /// Carries what is known of an address into the views of its backends. A next hop that got lost
    /// keeps its last MAC, and one behind an interface that the program is not attached to its last
    /// way: health decides.
    fn refresh_next_hop(&mut self, address: IpAddr) {
        let Some(way) = self.way_to(address) else {
            return;
        };
        if self.ways.insert(address, way) == Some(way) {
            return;
        }
        for key in self.addresses.at(address) {
            if let Some(view) = self.views.get_mut(&key) {
                let reached = way.of(*view);
                if *view != reached {
                    self.touched.add(&key.service);
                }
                *view = reached;
            }
        }
    }

    /// The way to an address, if frames can be sent on it.
    fn way_to(&self, address: IpAddr) -> Option<Way> {
        match self.next_hops.get(&address)? {
            neighbor::State::Resolved {
                ifindex,
                mac,
                source,
                mtu,
            } => Some(Way {
                next_hop: NextHop::new(*mac, self.egress_port(*ifindex)?),
                source: *source,
                mtu: *mtu,
            }),
            neighbor::State::Unresolved { .. } => None,
        }
    }

    /// Tells health checks and resolver what the model asks for, of the services in which it differs
    /// from the model before. Returns what was known of their backends.
    pub(super) fn watch(&mut self, changed: &Touched) -> Former {
        self.touched.join(changed.clone());
        self.overrides = self.said.resolve(&self.model);
        self.alias_vlans();
        let scope = changed.scope();
        let former = Former {
            views: take(&mut self.views, scope),
            checks: take(&mut self.checks, scope),
        };
        // Of a renamed service's backends, and of one that is back before its connections were finished,
        // the maps know more than the views: taken for unknown, they would lose their connections.
        let held = self.image.last_known(&self.model, scope);
        let mut targets = BTreeMap::new();
        let mut views = BTreeMap::new();
        for service in self.model.services.iter().filter(|s| scope.includes(s)) {
            for backend in &service.backends {
                let key = service.key(backend);
                let held = held.get(&key).copied();
                let known = former.views.get(&key).copied().or(held);
                let mut view = known.unwrap_or_default();
                if let Some(way) = self.way_to(key.address) {
                    view = way.of(view);
                }
                match target(service, backend) {
                    Some(target) => {
                        if view.health == Health::Unchecked {
                            // It served without a check, and goes on until the check says otherwise.
                            view.health = held.map(|view| view.health).unwrap_or_default();
                        }
                        let initial = view.health;
                        targets.insert(key.clone(), health::Target { initial, ..target });
                    }
                    None => view.health = Health::Unchecked,
                }
                views.insert(key, view);
            }
        }
        self.follow(&former, &views);
        for (key, check) in &former.checks {
            if views.contains_key(key) {
                self.checks.insert(key.clone(), check.clone());
            }
        }
        self.views.extend(views);
        match scope {
            Scope::All => self.checker.update(targets),
            Scope::Services(names) => self.checker.update_services(names, targets),
        }
        former
    }

    /// Follows the addresses of these backends instead of the former ones.
    fn follow(&mut self, former: &Former, views: &BTreeMap<BackendKey, View>) {
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for key in views.keys() {
            if !self.addresses.contains(key.address) {
                come.push(key.address);
            }
            self.addresses.insert(key);
        }
        for key in former.views.keys().filter(|key| !views.contains_key(*key)) {
            self.addresses.remove(key);
            if !self.addresses.contains(key.address) {
                gone.push(key.address);
            }
        }
        for address in &gone {
            self.next_hops.remove(address);
            self.ways.remove(address);
            self.silent.remove(address);
        }
        if let Some(resolver) = &self.resolver {
            resolver.change(&come, &gone);
        }
    }

    /// Takes a change of the model back, which is the old one again.
    pub(super) fn unwatch(&mut self, former: Former) {
        // Who is new stays until it is found not to be in the model.
        self.views.extend(former.views);
        self.checks.extend(former.checks);
        self.watch(&Touched::All);
    }
}

impl Way {
    /// What is known of a backend, reached this way.
    fn of(self, view: View) -> View {
        let Self {
            next_hop,
            source,
            mtu,
        } = self;
        View {
            next_hop: Some(next_hop),
            source: source.or(view.source),
            mtu: Some(mtu),
            ..view
        }
    }
}

/// What a map says of the services in a scope, which it forgets.
fn take<T>(map: &mut BTreeMap<BackendKey, T>, scope: Scope<'_>) -> BTreeMap<BackendKey, T> {
    match scope {
        Scope::All => mem::take(map),
        Scope::Services(names) => by_service::take(map, names),
    }
}

/// How a backend is checked, if it is; nothing is known of it yet.
fn target(service: &Service, backend: &Backend) -> Option<health::Target> {
    Some(health::Target {
        address: service.probe_address(backend)?,
        check: service.health.clone()?,
        initial: Health::Unknown,
    })
}

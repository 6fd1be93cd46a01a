//! What is known of routes, neighbours and links, and what follows from it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Event, Link, State};

/// Bytes of the longest IP packet, jumbograms (RFC 2675) aside; the loopback's MTU is one more.
const LONGEST: u32 = 65_535;

/// A station on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hop {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
}

/// A way out of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The gateway, or the address itself.
    pub(super) hop: Hop,
    /// The address that this host uses on it.
    pub(super) source: Option<IpAddr>,
    /// What the route says of it, where it does: the link may allow less.
    pub(super) mtu: Option<u32>,
}

/// The kernel's answer to a route look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Out to somebody else.
    Via(Way),
    /// Nowhere that Sluice could send a packet to.
    Nowhere {
        ifindex: Option<u32>,
        reason: String,
    },
}

/// A neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) reachability: Reachability,
    pub(super) mac: Option<[u8; 6]>,
    /// `NTF_EXT_MANAGED`: the kernel keeps it resolved.
    pub(super) managed: bool,
    pub(super) owner: Owner,
}

/// The kernel's NUD states, as far as they make a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachability {
    /// PERMANENT, NOARP: set by hand, nothing to resolve.
    Fixed,
    /// REACHABLE, DELAY, PROBE.
    Confirmed,
    /// STALE: usable, but nobody checks.
    Stale,
    /// INCOMPLETE, or just made.
    Resolving,
    /// FAILED.
    Failed,
}

/// Who installed a neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The kernel, or an administrator.
    Nobody,
    /// Sluice: it carries our protocol number.
    Sluice,
    /// Another daemon: it carries another number, or was learned by a control plane.
    Other,
}

/// What the kernel should be asked to do about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Keep it resolved.
    Manage(Hop),
    /// Resolve it once.
    Use(Hop),
    /// Stop keeping it resolved.
    Release(Hop),
}

impl Neighbour {
    /// Where packets may go; the other states have no address worth using.
    fn usable_mac(&self) -> Option<[u8; 6]> {
        match self.reachability {
            Reachability::Fixed | Reachability::Confirmed | Reachability::Stale => self.mac,
            Reachability::Resolving | Reachability::Failed => None,
        }
    }
}

/// Everything the resolver knows.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Watched addresses; `None` until the kernel was asked.
    routes: BTreeMap<IpAddr, Option<Route>>,
    neighbours: BTreeMap<Hop, Neighbour>,
    links: BTreeMap<u32, Link>,
    /// The hops that `routes` names, as of the last call of `changes`.
    hops: BTreeSet<Hop>,
    /// Hops named once and no more, not yet released.
    dropped: BTreeSet<Hop>,
    reported: BTreeMap<IpAddr, State>,
    reported_links: BTreeMap<u32, Link>,
    routes_changed: bool,
    changed: bool,
}

impl Table {
    /// Makes `addresses` the watched ones; returns those without a route yet.
    pub(super) fn watch(&mut self, addresses: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        self.routes.retain(|address, _| addresses.contains(address));
        self.reported
            .retain(|address, _| addresses.contains(address));
        for address in addresses {
            self.routes.entry(*address).or_insert(None);
        }
        self.routes_changed = true;
        self.routes
            .iter()
            .filter(|(_, route)| route.is_none())
            .map(|(address, _)| *address)
            .collect()
    }

    /// The watched addresses.
    pub(super) fn watched(&self) -> Vec<IpAddr> {
        self.routes.keys().copied().collect()
    }

    /// Whether a route for `destination/length` could concern a watched address.
    pub(super) fn concerns(&self, destination: IpAddr, length: u8) -> bool {
        let range = match destination {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                let first = v4.to_bits() & !mask;
                IpAddr::from(Ipv4Addr::from_bits(first))
                    ..=IpAddr::from(Ipv4Addr::from_bits(first | mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                let first = v6.to_bits() & !mask;
                IpAddr::from(Ipv6Addr::from_bits(first))
                    ..=IpAddr::from(Ipv6Addr::from_bits(first | mask))
            }
        };
        self.routes.range(range).next().is_some()
    }

    /// Takes the answer to a look-up; ignored if the address is no longer watched.
    pub(super) fn set_route(&mut self, address: IpAddr, route: Route) {
        if let Some(slot) = self.routes.get_mut(&address)
            && slot.as_ref() != Some(&route)
        {
            *slot = Some(route);
            self.routes_changed = true;
        }
    }

    /// A neighbour entry is so now, or gone.
    pub(super) fn set_neighbour(&mut self, hop: Hop, neighbour: Option<Neighbour>) {
        let before = match neighbour {
            Some(neighbour) => self.neighbours.insert(hop, neighbour),
            None => self.neighbours.remove(&hop),
        };
        self.changed |= before != neighbour && self.hops.contains(&hop);
    }

    /// An entry was installed; the kernel tells nothing until it is resolved.
    pub(super) fn installed(&mut self, hop: Hop) {
        self.neighbours.entry(hop).or_insert(Neighbour {
            reachability: Reachability::Resolving,
            mac: None,
            managed: true,
            owner: Owner::Sluice,
        });
    }

    /// Takes the place of all neighbours known.
    pub(super) fn replace_neighbours(&mut self, neighbours: BTreeMap<Hop, Neighbour>) {
        self.neighbours = neighbours;
        self.changed = true;
    }

    /// A link is so now; returns whether that is news.
    pub(super) fn set_link(&mut self, link: Link) -> bool {
        let news = self.links.get(&link.ifindex) != Some(&link);
        self.links.insert(link.ifindex, link);
        self.changed |= news;
        news
    }

    /// A link is gone, and its neighbours with it; returns whether that is news.
    pub(super) fn remove_link(&mut self, ifindex: u32) -> bool {
        self.neighbours.retain(|hop, _| hop.ifindex != ifindex);
        let news = self.links.remove(&ifindex).is_some();
        self.changed |= news;
        news
    }

    /// Takes the place of all links known.
    pub(super) fn replace_links(&mut self, links: Vec<Link>) {
        self.links = links.into_iter().map(|link| (link.ifindex, link)).collect();
        self.changed = true;
    }

    /// Whether [`Self::changes`] may have something to tell.
    pub(super) const fn is_changed(&self) -> bool {
        self.changed || self.routes_changed
    }

    /// What became different since the last call: links first, then addresses.
    pub(super) fn changes(&mut self) -> Vec<Event> {
        self.changed = false;
        if mem::take(&mut self.routes_changed) {
            let hops = self.routes.values().filter_map(|route| match route {
                Some(Route::Via(way)) => Some(way.hop),
                Some(Route::Nowhere { .. }) | None => None,
            });
            let before = mem::replace(&mut self.hops, hops.collect());
            self.dropped.extend(before);
            self.dropped.retain(|hop| !self.hops.contains(hop));
        }
        let mut events = self.link_changes();
        for (address, route) in &self.routes {
            let Some(route) = route else { continue };
            let state = self.state(route);
            if self.reported.get(address) != Some(&state) {
                self.reported.insert(*address, state.clone());
                events.push(Event::NextHop {
                    address: *address,
                    state,
                });
            }
        }
        events
    }

    /// What to ask of the kernel. `kept` is false where it cannot keep neighbours resolved.
    pub(super) fn actions(&mut self, kept: bool) -> Vec<Action> {
        let dropped = mem::take(&mut self.dropped);
        let released = dropped.into_iter().filter_map(|hop| {
            let Neighbour { managed, owner, .. } = self.neighbours.get(&hop)?;
            (*managed && *owner == Owner::Sluice).then_some(Action::Release(hop))
        });
        let wanted = self.hops.iter().filter_map(|hop| {
            let link = self.links.get(&hop.ifindex);
            if link.is_some_and(|link| link.up) {
                self.action(*hop, kept)
            } else {
                None
            }
        });
        released.chain(wanted).collect()
    }

    fn action(&self, hop: Hop, kept: bool) -> Option<Action> {
        let keep = if kept {
            Action::Manage(hop)
        } else {
            Action::Use(hop)
        };
        let Some(neighbour) = self.neighbours.get(&hop) else {
            return Some(keep);
        };
        if neighbour.managed {
            return None;
        }
        match (neighbour.reachability, neighbour.owner) {
            // The kernel drops "permanent" and "learned" from an entry that is made managed.
            (Reachability::Fixed, _) | (_, Owner::Other) => None,
            // Without management, a usable entry needs a push only when nobody checks it.
            (Reachability::Confirmed, _) if !kept => None,
            _ => Some(keep),
        }
    }

    fn link_changes(&mut self) -> Vec<Event> {
        let gone = self
            .reported_links
            .values()
            .filter(|link| !self.links.contains_key(&link.ifindex));
        let gone = gone.map(|link| Event::Link {
            link: link.clone(),
            removed: true,
        });
        let news = self
            .links
            .values()
            .filter(|link| self.reported_links.get(&link.ifindex) != Some(link));
        let news = news.map(|link| Event::Link {
            link: link.clone(),
            removed: false,
        });
        let events: Vec<_> = gone.chain(news).collect();
        if !events.is_empty() {
            self.reported_links.clone_from(&self.links);
        }
        events
    }

    fn state(&self, route: &Route) -> State {
        let Way { hop, source, mtu } = match route {
            Route::Via(way) => way,
            Route::Nowhere { ifindex, reason } => {
                return State::Unresolved {
                    ifindex: *ifindex,
                    reason: reason.clone(),
                    asking: false,
                };
            }
        };
        let unresolved = |reason| State::Unresolved {
            ifindex: Some(hop.ifindex),
            reason,
            asking: false,
        };
        let asking = |reason| State::Unresolved {
            ifindex: Some(hop.ifindex),
            reason,
            asking: true,
        };
        let Hop { ifindex, address } = *hop;
        let Some(link) = self.links.get(&ifindex) else {
            return unresolved(format!("interface {ifindex} is unknown"));
        };
        let name = &link.name;
        if !link.up {
            return unresolved(format!("interface {name} is down"));
        }
        let Some(neighbour) = self.neighbours.get(hop) else {
            return asking(format!("{address} on {name} is being resolved"));
        };
        if let Some(mac) = neighbour.usable_mac() {
            return State::Resolved {
                ifindex,
                mac,
                source: *source,
                mtu: mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)).min(LONGEST),
            };
        }
        match neighbour.reachability {
            Reachability::Resolving => asking(format!("{address} on {name} is being resolved")),
            Reachability::Failed => unresolved(format!("{address} on {name} does not answer")),
            Reachability::Fixed | Reachability::Confirmed | Reachability::Stale => {
                unresolved(format!("{address} on {name} has no mac address"))
            }
        }
    }
}

#[cfg(test)]
mod tests;

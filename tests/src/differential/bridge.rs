//! From a setup to the model's world. What the setup says is taken from the setup; from the maps come only
//! where the plan put backends, and the slots that it filled.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use lb_common::{abi::flow::TICKS, abi::punt::PUNT_MAX, hash::HashKey};
use lb_userspace::plan::BackendIndex;

use super::{
    keys,
    rig::Rig,
    seats::{self, Seats},
    setup::{
        BackendSetup, ForwardSetup, HashSetup, Listen, ServiceSetup, Setup, TrackingSetup, WaySetup,
    },
    site::{Side, Site},
};
use crate::model::{
    World,
    flows::{Budget, Entry, Flows, Half, Store},
    transport::protocol,
    world::{
        Backend, Endpoint, Features, FlowTuple, Forward, HashOver, Hashed, Interface, NextHop,
        Service, Slot, Table, Tunnel, Vip,
    },
};

/// Packets that the ring buffer has room for, as ARCHITECTURE.md says.
const PUNTS: usize = 31;

/// Bytes before a frame in a test run: `XDP_PACKET_HEADROOM`.
const HEADROOM: usize = 256;

/// The world as a setup has it.
pub(super) fn world(site: &Site, setup: &Setup, rig: &Rig<'_>) -> Result<World> {
    let now = rig.filled_in();
    let seats = rig.seats();
    let mut listeners = BTreeMap::new();
    let mut replies = BTreeMap::new();
    let mut services = Vec::new();
    for (number, service) in setup.services.iter().enumerate() {
        for listen in &service.listen {
            listeners.insert(
                endpoint(listen.at.ip(), listen.at.port(), listen.udp),
                number,
            );
            if service.forward == ForwardSetup::Dnat {
                for backend in &service.backends {
                    let port = backend.port.unwrap_or(listen.at.port());
                    let vip = Vip {
                        address: listen.at.ip(),
                        port: listen.at.port(),
                    };
                    replies.insert(endpoint(backend.address, port, listen.udp), vip);
                }
            }
        }
        services.push(self::service(site, setup, rig, number, service)?);
    }
    Ok(World {
        features: features(setup),
        interfaces: Side::ATTACHED
            .into_iter()
            .map(|side| {
                let device = site.device(side);
                let faces_backends =
                    side == Side::Back || (side == Side::Front && setup.front_faces_backends);
                let interface = Interface {
                    mac: device.mac,
                    faces_backends,
                };
                (device.ifindex, interface)
            })
            .collect(),
        listeners,
        services,
        replies,
        routes: site.routes(),
        flows: flows(setup, seats, now),
        tick: now,
        headroom: HEADROOM,
        punt_max: PUNT_MAX,
        punt_room: if setup.punts_are_read {
            usize::MAX
        } else {
            PUNTS
        },
    })
}

fn endpoint(address: IpAddr, port: u16, udp: bool) -> Endpoint {
    Endpoint {
        address,
        port,
        protocol: number(udp),
    }
}

const fn number(udp: bool) -> u8 {
    if udp { protocol::UDP } else { protocol::TCP }
}

fn features(setup: &Setup) -> Features {
    let services = &setup.services;
    let listens = |wanted: &dyn Fn(&Listen) -> bool| {
        services
            .iter()
            .any(|service| service.listen.iter().any(wanted))
    };
    let tracks = |mode| services.iter().any(|service| service.tracking == mode);
    Features {
        ipv6: listens(&|listen| listen.at.is_ipv6()),
        udp: listens(&|listen| listen.udp),
        vlan: setup.vlan,
        dnat: services
            .iter()
            .any(|service| service.forward == ForwardSetup::Dnat),
        transition: tracks(TrackingSetup::Transition) || tracks(TrackingSetup::Always),
        always: tracks(TrackingSetup::Always),
    }
}

fn service(
    site: &Site,
    setup: &Setup,
    rig: &Rig<'_>,
    number: usize,
    service: &ServiceSetup,
) -> Result<Service> {
    let seats = rig.seats();
    let held = rig.image().service(seats.service(number));
    let held = held.context("not published")?;
    let slots = match &service.slots[..] {
        [] => held
            .slots
            .iter()
            .map(|slot| Slot {
                current: slot.current(),
                previous: slot.previous(),
            })
            .collect(),
        pattern => pattern_of(seats, number, pattern, service.table_size),
    };
    let key = held.record.hash_key;
    let old = service.old.as_ref().map(|old| {
        let key = keys::old_key(key, old);
        let slots = pattern_of(seats, number, &old.slots, old.size);
        table(slots, old.hash, key)
    });
    let mut backends = vec![nobody(); seats.range(number).count as usize];
    for (place, backend) in (1..).zip(&service.backends) {
        let local = seats.local(number, place);
        let index = seats.index(number, local).context("no index")?;
        backends[usize::from(local) - 1] = self::backend(site, setup, index, backend);
    }
    Ok(Service {
        forward: match service.forward {
            ForwardSetup::Dnat => Forward::Dnat,
            ForwardSetup::Dsr => Forward::Dsr,
            ForwardSetup::Ipip => Forward::Ipip,
            ForwardSetup::Gue(port) => Forward::Gue { port },
        },
        always_tracked: service.tracking == TrackingSetup::Always,
        table: table(slots, service.hash, key),
        old,
        backends,
    })
}

fn table(slots: Vec<Slot>, hash: HashSetup, key: HashKey) -> Table {
    Table {
        slots,
        over: match hash {
            HashSetup::FiveTuple => HashOver::FiveTuple,
            HashSetup::Source(prefix_ipv4, prefix_ipv6) => HashOver::Source {
                prefix_ipv4,
                prefix_ipv6,
            },
        },
        hash: Arc::new(move |hashed: &Hashed| keys::hash(key, hashed)),
    }
}

fn pattern_of(seats: &Seats, service: usize, pattern: &[[u16; 2]], count: u32) -> Vec<Slot> {
    let local = |number| seats.local(service, number);
    let slot = |[current, previous]: &[u16; 2]| Slot {
        current: local(*current),
        previous: local(*previous),
    };
    let slots = pattern.iter().cycle().take(count as usize);
    slots.map(slot).collect()
}

fn backend(site: &Site, setup: &Setup, index: BackendIndex, backend: &BackendSetup) -> Backend {
    let towards = |interface| {
        Some(NextHop {
            mac: seats::mac(index),
            interface,
        })
    };
    if backend.freed {
        return Backend {
            generation: backend.generation,
            ..nobody()
        };
    }
    Backend {
        address: backend.address,
        port: backend.port,
        next_hop: match backend.way {
            WaySetup::Back => towards(Some(site.device(Side::Back).ifindex)),
            WaySetup::Front => towards(Some(site.device(Side::Front).ifindex)),
            WaySetup::Nowhere => towards(None),
            WaySetup::Unresolved => None,
        },
        in_use: true,
        dead: backend.dead,
        drained: backend.drained,
        admit: backend.admit,
        generation: backend.generation,
        tunnel: tunnel(setup, backend),
    }
}

/// The outer source is the configured one of the backend's IP version, or the host's own address.
fn tunnel(setup: &Setup, backend: &BackendSetup) -> Tunnel {
    let is_ipv4 = backend.address.is_ipv4();
    let configured = setup.tunnel_sources.iter().find_map(|source| {
        let (address, prefix) = source.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        (address.is_ipv4() == is_ipv4).then_some((address, prefix.parse().ok()?))
    });
    let (source, prefix) = configured.unwrap_or_else(|| {
        let own = Side::Back.address(1, is_ipv4);
        (own, if is_ipv4 { 32 } else { 128 })
    });
    Tunnel {
        source,
        prefix,
        mtu: backend.mtu as usize,
    }
}

/// An entry that was never used.
fn nobody() -> Backend {
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Backend {
        address,
        port: None,
        next_hop: None,
        in_use: false,
        dead: false,
        drained: false,
        admit: 0,
        generation: 0,
        tunnel: Tunnel {
            source: address,
            prefix: 32,
            mtu: 0,
        },
    }
}

fn flows(setup: &Setup, seats: &Seats, now: u64) -> Flows {
    let [syn, other] = setup.inserts;
    let mut flows = Flows {
        budget: Budget {
            syn,
            other,
            ..Budget::default()
        },
        ..Flows::default()
    };
    let room = Some(setup.room as usize);
    let bounded = || Half {
        room,
        ..Half::default()
    };
    flows.transition = Store {
        ipv4: bounded(),
        ipv6: bounded(),
    };
    for flow in setup.remembered() {
        let service = setup.services.get(flow.service);
        let generation = service
            .and_then(|service| service.backend(flow.backend))
            .map_or(0, |backend| backend.generation);
        let tuple = FlowTuple {
            source: flow.from.ip(),
            destination: flow.to.ip(),
            source_port: flow.from.port(),
            destination_port: flow.to.port(),
            protocol: number(flow.udp),
        };
        let entry = Entry {
            backend: seats.local(flow.service, flow.backend),
            generation: generation.wrapping_sub(flow.generations_ago),
            established: flow.established,
            closing: flow.closing,
            last_seen: now.wrapping_sub(u64::from(flow.idle)) % u64::from(TICKS),
        };
        let store = if flow.always {
            &mut flows.always
        } else {
            &mut flows.transition
        };
        store.half(&tuple).entries.insert(tuple, entry);
    }
    flows
}

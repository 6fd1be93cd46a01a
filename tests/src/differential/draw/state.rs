//! The state of a configuration's tables at random: slots in motion, backends that are not well, flows
//! that are remembered.

use std::net::SocketAddr;

use fastrand::Rng;

use super::{
    super::{
        keys,
        setup::{
            BackendSetup, FlowSetup, HashSetup, Listen, OldSetup, ServiceSetup, Setup,
            TrackingSetup, WaySetup,
        },
    },
    chance, one,
    packet::{CLIENT_PORTS, client},
    setup, weighted,
};
use crate::model::{
    transport::protocol,
    world::{FlowTuple, Hashed, cut},
};

/// `previous` of a tracked slot.
const NONE: u16 = 0xffff;

/// Puts the tables into a state.
pub(super) fn fill(rng: &mut Rng, setup: &mut Setup) {
    // Some configurations are at rest and well.
    let moves = chance(rng, 750);
    let ails = chance(rng, 700);
    for service in &mut setup.services {
        if ails {
            service.backends.iter_mut().for_each(|b| ail(rng, b));
            start_slowly(rng, service);
        }
        // No plan moves a slot of a service that is never tracked.
        if moves && (service.tracking != TrackingSetup::Never || chance(rng, 200)) {
            set_in_motion(rng, service);
        }
    }
    if moves {
        // Less than there is room for, so that entries are made too.
        let most = (setup.room / 2).min(60);
        for _ in 0..rng.u32(0..=most) {
            remember(rng, setup);
        }
    }
}

fn ail(rng: &mut Rng, backend: &mut BackendSetup) {
    backend.dead = chance(rng, 150);
    backend.drained = chance(rng, 150);
    backend.freed = chance(rng, 30);
    backend.generation = one(rng, &[0, 1, 7, 0xffff]);
    backend.way = weighted(
        rng,
        &[
            (16, WaySetup::Back),
            (4, WaySetup::Front),
            (1, WaySetup::Unresolved),
            (1, WaySetup::Nowhere),
        ],
    );
}

/// Some backends take a part of new flows, whose end is often at a flow that will come.
fn start_slowly(rng: &mut Rng, service: &mut ServiceSetup) {
    let key = keys::key_in_force();
    for backend in &mut service.backends {
        if chance(rng, 600) {
            continue;
        }
        let flow = flow(rng, &service.listen);
        let hashed = match service.hash {
            HashSetup::FiveTuple => Hashed::Flow(flow),
            HashSetup::Source(ipv4, ipv6) => {
                let prefix = if flow.source.is_ipv4() { ipv4 } else { ipv6 };
                Hashed::Source(cut(flow.source, prefix))
            }
        };
        let its = (keys::hash(key, &hashed) as u32 >> 16) as u16;
        backend.admit = match rng.u32(0..4) {
            0 => rng.u16(..),
            1 => its.wrapping_sub(1),
            _ => its,
        };
    }
}

fn set_in_motion(rng: &mut Rng, service: &mut ServiceSetup) {
    let count = service.backends.len() as u16;
    if chance(rng, 850) {
        let length = rng.usize(1..=7);
        service.slots = (0..length).map(|_| slot(rng, count)).collect();
    }
    if chance(rng, 250) {
        let length = rng.usize(1..=7);
        service.old = Some(OldSetup {
            size: one(rng, &[2, 5, 31, 127]),
            seed: chance(rng, 500).then(|| "another".to_owned()),
            hash: if chance(rng, 700) {
                service.hash
            } else {
                setup::hash(rng)
            },
            slots: (0..length).map(|_| slot(rng, count)).collect(),
        });
        // A table that takes another's place has tracked slots, nearly always here.
        if service.slots.is_empty() || chance(rng, 800) {
            let length = rng.usize(1..=7);
            let tracked = |rng: &mut Rng| [rng.u16(0..=count), NONE];
            service.slots = (0..length).map(|_| tracked(rng)).collect();
        }
    }
}

/// A slot of a service with so many backends. 0 is nobody; some numbers name nobody, either.
fn slot(rng: &mut Rng, backends: u16) -> [u16; 2] {
    let number = |rng: &mut Rng| match rng.u32(0..100) {
        0..3 => 0,
        3 => backends + 1,
        4 => one(rng, &[0xfffe, 0x8000, 200]),
        _ => rng.u16(0..=backends),
    };
    let current = number(rng);
    let previous = match rng.u32(0..10) {
        0..2 => current,
        2..5 => NONE,
        _ => number(rng),
    };
    [current, previous]
}

fn remember(rng: &mut Rng, setup: &mut Setup) {
    if setup.services.is_empty() {
        return;
    }
    let service = rng.usize(0..setup.services.len());
    let of = &setup.services[service];
    let FlowTuple {
        source,
        destination,
        source_port,
        destination_port,
        protocol,
    } = flow(rng, &of.listen);
    let udp = protocol == protocol::UDP;
    let always = (of.tracking == TrackingSetup::Always) != chance(rng, 100);
    let flow = FlowSetup {
        always,
        from: SocketAddr::new(source, source_port),
        to: SocketAddr::new(destination, destination_port),
        udp,
        service,
        backend: match rng.u32(0..20) {
            0 => one(rng, &[0, 7, 0xffff, 0x1234]),
            _ => rng.u16(1..=of.backends.len().max(1) as u16),
        },
        generations_ago: u16::from(chance(rng, 200)),
        // A datagram neither begins nor ends anything.
        established: udp || chance(rng, 700),
        closing: !udp && chance(rng, 200),
        idle: rng.u32(0..1000),
    };
    let is_same = |other: &FlowSetup| {
        (other.from, other.to, other.udp, other.always)
            == (flow.from, flow.to, flow.udp, flow.always)
    };
    if !setup.flows.iter().any(is_same) {
        setup.flows.push(flow);
    }
}

/// A flow of a client to one of these listeners, that may well come.
fn flow(rng: &mut Rng, listen: &[Listen]) -> FlowTuple {
    let Listen { udp, at } = one(rng, listen);
    FlowTuple {
        source: client(rng, at.is_ipv4()),
        destination: at.ip(),
        source_port: one(rng, &CLIENT_PORTS),
        destination_port: match at.port() {
            0 => one(rng, &[80, 7]),
            port => port,
        },
        protocol: if udp { protocol::UDP } else { protocol::TCP },
    }
}

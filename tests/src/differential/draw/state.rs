//! The state of a configuration's tables at random: slots in motion, backends that are not well, flows
//! that are remembered.

use std::net::SocketAddr;

use fastrand::Rng;

use super::{
    super::setup::{
        BackendSetup, FlowSetup, OldSetup, ServiceSetup, Setup, TrackingSetup, WaySetup,
    },
    chance, one,
    packet::{CLIENT_PORTS, client},
    setup, weighted,
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
        }
        if moves && service.tracking != TrackingSetup::Never {
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
    backend.admit = if chance(rng, 300) {
        rng.u16(..)
    } else {
        0xffff
    };
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
    let listen = one(rng, &of.listen);
    let from = SocketAddr::new(client(rng, listen.at.is_ipv4()), one(rng, &CLIENT_PORTS));
    let port = match listen.at.port() {
        0 => one(rng, &[80, 7]),
        port => port,
    };
    let always = (of.tracking == TrackingSetup::Always) != chance(rng, 100);
    let flow = FlowSetup {
        always,
        from,
        to: SocketAddr::new(listen.at.ip(), port),
        udp: listen.udp,
        service,
        backend: match rng.u32(0..20) {
            0 => one(rng, &[0, 7, 0xffff, 0x1234]),
            _ => rng.u16(1..=of.backends.len().max(1) as u16),
        },
        generations_ago: u16::from(chance(rng, 200)),
        // A datagram neither begins nor ends anything.
        established: listen.udp || chance(rng, 700),
        closing: !listen.udp && chance(rng, 200),
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

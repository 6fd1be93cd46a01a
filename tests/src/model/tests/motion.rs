//! Slots in motion: who gets a packet, and what is remembered.

use super::{
    super::{
        FlowCount, Outcome, Reason, Verdict, World,
        flows::{Entry, Which},
        parse::Packet,
        world::{FlowTuple, Forward, NONE, Slot},
    },
    example::{CLIENT, CLIENT6, VIP, VIP6, flag, from_client, service, table, tcp, udp, world},
};

/// Numbers of the backends.
const A: u16 = 1;
const B: u16 = 2;
const C: u16 = 3;

/// Looked and found.
const FOUND: Option<FlowCount> = count(false, false, false);
const MISSED: Option<FlowCount> = count(true, false, false);
const INSERTED: Option<FlowCount> = count(true, true, false);
const REFUSED: Option<FlowCount> = count(true, false, true);

const fn count(missed: bool, inserted: bool, refused: bool) -> Option<FlowCount> {
    Some(FlowCount {
        service: 0,
        missed,
        inserted,
        refused,
    })
}

/// A slot that moved from A to B.
fn moved() -> World {
    in_slot(B, A)
}

fn tracked() -> World {
    in_slot(B, NONE)
}

fn in_slot(current: u16, previous: u16) -> World {
    let mut service = service(Forward::Dsr, true);
    service.table.slots = vec![Slot { current, previous }];
    world(service)
}

fn always(mut world: World) -> World {
    world.services[0].always_tracked = true;
    world
}

fn frame(kind: &str) -> Vec<u8> {
    match kind {
        "syn" => tcp(CLIENT, VIP, flag::SYN),
        "ack" => tcp(CLIENT, VIP, flag::ACK),
        "fin" => tcp(CLIENT, VIP, flag::FIN | flag::ACK),
        "rst" => tcp(CLIENT, VIP, flag::RST),
        _ => udp(CLIENT, VIP),
    }
    .frame()
}

fn tuple(kind: &str) -> FlowTuple {
    let features = &moved().features;
    Packet::parse(&frame(kind), features).unwrap().tuple()
}

/// `flags`: e for established, c for closing.
fn entry(backend: u16, flags: &str, last_seen: u64) -> Entry {
    Entry {
        backend,
        generation: 7,
        established: flags.contains('e'),
        closing: flags.contains('c'),
        last_seen,
    }
}

fn put(world: &mut World, kind: &str, which: Which, entry: Entry) {
    let flow = tuple(kind);
    let half = world.flows.store(which).half(&flow);
    half.entries.insert(flow, entry);
}

/// The entry of the flow in the service's own table afterwards.
fn after(world: &World, kind: &str, which: Which) -> Option<Entry> {
    world.clone().flows.store(which).get(&tuple(kind)).copied()
}

fn run(world: &mut World, kind: &str) -> (u16, Outcome) {
    let outcome = from_client(world, &frame(kind));
    let to = match outcome.verdict {
        Verdict::Drop(Reason::NoBackend) => 0,
        _ => outcome.backend.expect("sent").backend,
    };
    (to, outcome)
}

/// Runs one packet; who gets it, what is counted, the entry then in the table of slots in motion.
fn check(mut world: World, kind: &str, to: u16, counted: Option<FlowCount>, entry: Option<Entry>) {
    let (backend, outcome) = run(&mut world, kind);
    assert_eq!((backend, outcome.flow), (to, counted), "{kind}");
    assert_eq!(after(&world, kind, Which::Transition), entry, "{kind}");
}

#[test]
fn a_slot_at_rest_asks_nobody() {
    for kind in ["syn", "ack", "fin", "udp"] {
        let mut world = in_slot(A, A);
        put(&mut world, kind, Which::Transition, entry(C, "e", 1));
        check(world, kind, A, None, Some(entry(C, "e", 1)));
        let mut blind = moved();
        blind.features.transition = false;
        blind.features.always = false;
        check(blind, kind, B, None, None);
    }
}

#[test]
fn what_is_not_remembered_belongs_to_the_owner() {
    check(moved(), "ack", A, INSERTED, Some(entry(A, "e", 1000)));
    check(moved(), "fin", A, INSERTED, Some(entry(A, "ec", 1000)));
    check(moved(), "rst", A, INSERTED, Some(entry(A, "ec", 1000)));
    check(moved(), "udp", A, INSERTED, Some(entry(A, "e", 1000)));
    check(moved(), "syn", B, INSERTED, Some(entry(B, "", 1000)));
    for kind in ["syn", "ack", "udp"] {
        check(tracked(), kind, B, MISSED, None);
    }
}

#[test]
fn what_is_remembered_stays() {
    let held = |kind: &str, flags: &str| {
        let mut world = moved();
        put(&mut world, kind, Which::Transition, entry(C, flags, 1));
        world
    };
    check(held("ack", ""), "ack", C, FOUND, Some(entry(C, "e", 1000)));
    check(
        held("fin", "e"),
        "fin",
        C,
        FOUND,
        Some(entry(C, "ec", 1000)),
    );
    check(
        held("ack", "ec"),
        "ack",
        C,
        FOUND,
        Some(entry(C, "ec", 1000)),
    );
    check(held("udp", "e"), "udp", C, FOUND, Some(entry(C, "e", 1000)));
    // A SYN does not move it; it begins anew only where the old connection was closing.
    check(held("syn", "e"), "syn", C, FOUND, Some(entry(C, "e", 1000)));
    check(held("syn", "ec"), "syn", C, FOUND, Some(entry(C, "", 1000)));
    let mut drained = held("ack", "e");
    drained.services[0].backends[2].drained = true;
    check(drained.clone(), "ack", C, FOUND, Some(entry(C, "e", 1000)));
    check(drained, "syn", B, FOUND, Some(entry(B, "", 1000)));
}

#[test]
fn the_dead_keep_their_entries_and_lose_new_flows() {
    let mut world = moved();
    world.services[0].backends[2].dead = true;
    for kind in ["ack", "udp"] {
        put(&mut world, kind, Which::Transition, entry(C, "e", 1));
        check(world.clone(), kind, B, FOUND, Some(entry(C, "e", 1)));
    }
    check(world.clone(), "syn", B, FOUND, Some(entry(B, "", 1000)));
    world.services[0].backends[1].dead = true;
    for kind in ["ack", "udp", "syn"] {
        check(world.clone(), kind, 0, FOUND, Some(entry(C, "e", 1)));
    }
}

#[test]
fn the_owner_may_be_dead() {
    let mut world = moved();
    world.services[0].backends[0].dead = true;
    check(world.clone(), "ack", B, MISSED, None);
    check(world.clone(), "udp", B, INSERTED, Some(entry(B, "e", 1000)));
    check(world.clone(), "syn", B, INSERTED, Some(entry(B, "", 1000)));
    world.services[0].backends[1].dead = true;
    for kind in ["ack", "udp", "syn"] {
        check(world.clone(), kind, 0, MISSED, None);
    }
    // Nobody takes new flows: the others go on.
    let nobody = in_slot(0, A);
    check(
        nobody.clone(),
        "ack",
        A,
        INSERTED,
        Some(entry(A, "e", 1000)),
    );
    check(nobody, "syn", 0, MISSED, None);
}

#[test]
fn an_entry_of_another_generation_is_none() {
    let old = Entry {
        generation: 6,
        ..entry(C, "ec", 1)
    };
    let mut world = moved();
    for kind in ["ack", "udp"] {
        put(&mut world, kind, Which::Transition, old);
    }
    world.flows.budget.syn = 0;
    world.flows.budget.other = 0;
    check(world.clone(), "ack", A, MISSED, Some(entry(A, "e", 1000)));
    check(world.clone(), "syn", B, MISSED, Some(entry(B, "", 1000)));
    let (_, outcome) = run(&mut world, "udp");
    assert!(outcome.backend.unwrap().new_flow);
    let mut tracked = tracked();
    put(&mut tracked, "ack", Which::Transition, old);
    check(tracked, "ack", B, MISSED, Some(old));
}

#[test]
fn what_cannot_be_remembered_goes_to_the_owner() {
    let mut world = moved();
    world.flows.budget.syn = 0;
    check(world.clone(), "syn", A, REFUSED, None);
    check(world.clone(), "ack", A, INSERTED, Some(entry(A, "e", 1000)));
    world.flows.budget.other = 0;
    for kind in ["syn", "ack", "udp"] {
        check(world.clone(), kind, A, REFUSED, None);
    }
    world.services[0].backends[0].dead = true;
    check(world.clone(), "syn", B, REFUSED, None);
    check(world, "udp", B, REFUSED, None);

    let mut full = moved();
    full.flows.transition.ipv4.room = Some(1);
    put(&mut full, "udp", Which::Transition, entry(C, "e", 1));
    check(full.clone(), "syn", A, REFUSED, None);
    // Each IP version has a table of its own, but the budget is of both; a table without room spends it.
    let mut spent = full.clone();
    spent.flows.budget.syn = 1;
    let fourth = tcp(CLIENT, VIP, flag::SYN).frame();
    assert_eq!(from_client(&mut spent, &fourth).flow, REFUSED);
    let sixth = tcp(CLIENT6, VIP6, flag::SYN).frame();
    assert_eq!(from_client(&mut spent, &sixth).flow, REFUSED);
    let other = tcp(CLIENT6, VIP6, flag::SYN).frame();
    let outcome = from_client(&mut full, &other);
    assert_eq!(outcome.flow, INSERTED);
}

#[test]
fn a_budget_is_spent_by_entries_made() {
    let mut world = moved();
    world.flows.budget.syn = 1;
    world.flows.budget.other = 1;
    let (_, first) = run(&mut world, "syn");
    assert_eq!(first.flow, INSERTED);
    let (_, again) = run(&mut world, "ack");
    assert_eq!(again.flow, FOUND);
    let (_, datagram) = run(&mut world, "udp");
    assert_eq!(datagram.flow, INSERTED);
    let more = |world: &mut World, port: u16, flags| {
        let frame = tcp(&format!("10.77.1.10:{port}"), VIP, flags).frame();
        from_client(world, &frame).flow
    };
    assert_eq!(more(&mut world, 1, flag::SYN), REFUSED);
    assert_eq!(more(&mut world, 1, flag::ACK), REFUSED);
    world.tick += 1;
    assert_eq!(more(&mut world, 1, flag::SYN), INSERTED);
    assert_eq!(more(&mut world, 2, flag::ACK), INSERTED);
    assert_eq!(more(&mut world, 3, flag::ACK), REFUSED);
}

#[test]
fn a_slow_start_leaves_new_flows_to_an_owner_who_takes_them() {
    // The upper half of the secondary hash is 0x4321.
    let starting = |admit| {
        let mut world = moved();
        world.services[0].backends[1].admit = admit;
        world
    };
    check(starting(0x4320), "syn", A, MISSED, None);
    check(
        starting(0x4321),
        "syn",
        B,
        INSERTED,
        Some(entry(B, "", 1000)),
    );
    let mut drained = starting(0);
    drained.services[0].backends[0].drained = true;
    check(drained, "syn", B, INSERTED, Some(entry(B, "", 1000)));
    let mut dead = starting(0);
    dead.services[0].backends[0].dead = true;
    check(dead, "syn", B, INSERTED, Some(entry(B, "", 1000)));
    let mut gone = starting(0);
    gone.services[0].backends[1].dead = true;
    check(gone, "syn", 0, MISSED, None);
    let mut held = starting(0);
    held.services[0].backends[2].dead = true;
    put(&mut held, "syn", Which::Transition, entry(C, "e", 1));
    check(held, "syn", B, FOUND, Some(entry(B, "", 1000)));
    // The owner may be that of the old table.
    let mut resizing = tracked();
    resizing.services[0].backends[1].admit = 0;
    check(resizing.clone(), "syn", B, MISSED, None);
    resizing.services[0].old = Some(table(A, C));
    check(resizing.clone(), "syn", C, MISSED, None);
    resizing.services[0].old = Some(table(B, B));
    let made = Some(entry(B, "", 1000));
    check(resizing, "syn", B, INSERTED, made);
}

#[test]
fn a_table_that_changes_asks_the_old_one() {
    let resizing = |old: (u16, u16)| {
        let mut world = tracked();
        world.services[0].old = Some(table(old.0, old.1));
        world
    };
    for old in [(C, C), (C, NONE), (A, C)] {
        let world = resizing(old);
        check(world.clone(), "ack", C, INSERTED, Some(entry(C, "e", 1000)));
        check(world.clone(), "syn", B, INSERTED, Some(entry(B, "", 1000)));
        let mut refused = world;
        refused.flows.budget.syn = 0;
        check(refused, "syn", C, REFUSED, None);
    }
    check(resizing((0, 0)), "ack", B, MISSED, None);
    check(
        resizing((0, 0)),
        "udp",
        B,
        INSERTED,
        Some(entry(B, "e", 1000)),
    );
}

#[test]
fn always_is_a_table_of_its_own() {
    let kinds = [("ack", "e"), ("syn", ""), ("udp", "e")];
    for (kind, flags) in kinds {
        let mut world = always(tracked());
        let (to, outcome) = run(&mut world, kind);
        assert_eq!((to, outcome.flow), (B, INSERTED));
        let made = after(&world, kind, Which::Always);
        assert_eq!(made, Some(entry(B, flags, 1000)));
        assert_eq!(after(&world, kind, Which::Transition), None);
    }
    // What is in the other table counts, and stays there.
    let mut world = always(tracked());
    put(&mut world, "ack", Which::Transition, entry(C, "e", 1));
    let (to, outcome) = run(&mut world, "ack");
    assert_eq!((to, outcome.flow), (C, FOUND));
    assert_eq!(
        after(&world, "ack", Which::Transition),
        Some(entry(C, "e", 1000))
    );
    assert_eq!(after(&world, "ack", Which::Always), None);
    // The own table comes first.
    put(&mut world, "ack", Which::Always, entry(A, "e", 1));
    assert_eq!(run(&mut world, "ack").0, A);
    world.services[0].always_tracked = false;
    assert_eq!(run(&mut world, "ack").0, C);
    world.features.always = false;
    assert_eq!(run(&mut world, "ack").0, C);
}

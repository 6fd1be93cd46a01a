//! Slots in motion: who gets a packet whose slot moved, and what is remembered of its flow. The rules are
//! those of CONFIGURATION.md ("Changing backends") and of the decisions in ARCHITECTURE.md.
//!
//! Behind them is one invariant: a flow without an entry belongs to its slot's *owner*, which is the
//! backend before the move while the slot is in transition, and the slot's own otherwise. While a table
//! takes another's place, it is the owner of the flow's slot in the old one.

use super::{
    flows::{Entry, Which},
    parse::Packet,
    steer::{self, FlowHash},
    transport::protocol,
    verdict::{Counts, FlowCount},
    world::{FlowTuple, Service, World},
};

/// What a packet is to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// TCP's first.
    Syn,
    /// A FIN or RST.
    Closing,
    /// Any other of TCP.
    Segment,
    /// Of UDP.
    Datagram,
}

/// What is remembered of the flow.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// Nothing.
    Nothing,
    /// An entry of an earlier holder of a backend's place: nothing, but its place is taken.
    Stale(Which),
    /// An entry.
    Entry(Which, Entry),
}

/// All that the decision depends on.
struct Situation {
    tuple: FlowTuple,
    kind: Kind,
    held: Held,
    /// Who gets new flows, if alive.
    current: Option<u16>,
    /// Whose the flow is without an entry, if alive.
    owner: Option<u16>,
    /// Whether a flow that is not remembered shall be.
    remembers: bool,
    /// Where that would be.
    own_table: Which,
    /// A new flow waits for its slot's own backend to have started: it goes to this one.
    waits_at: Option<u16>,
}

/// Chooses a living backend, and says whether the flow was newly remembered.
pub(super) fn choose(
    world: &mut World,
    service: usize,
    packet: &Packet,
    counts: &mut Counts,
) -> (Option<u16>, bool) {
    let situation = Situation::of(world, service, packet);
    let mut count = FlowCount {
        service,
        missed: !matches!(situation.held, Held::Entry(..)),
        inserted: false,
        refused: false,
    };
    let decision = match situation.held {
        Held::Entry(which, entry) => (known(world, service, &situation, which, entry), false),
        Held::Nothing | Held::Stale(_) => unknown(world, service, &situation, &mut count),
    };
    counts.flow = Some(count);
    decision
}

/// A flow that is remembered.
fn known(
    world: &mut World,
    service: usize,
    situation: &Situation,
    which: Which,
    entry: Entry,
) -> Option<u16> {
    let Situation {
        tuple,
        kind,
        current,
        ..
    } = *situation;
    let of = &world.services[service];
    let held_by = of.backend(entry.backend);
    let goes_on = match kind {
        // A stray or forged SYN does not move a living flow; one to a drained backend is a new flow.
        Kind::Syn => held_by.is_some_and(|backend| backend.takes_new_flows()),
        _ => held_by.is_some_and(|backend| backend.is_alive()),
    };
    if goes_on {
        // A client that uses a port again begins anew: the old connection was closing.
        let begins = kind == Kind::Syn && entry.closing;
        let before = if begins {
            Entry {
                established: false,
                closing: false,
                ..entry
            }
        } else {
            entry
        };
        let entry = seen(before, kind, world.tick);
        world.flows.replace(which, tuple, entry);
        return Some(entry.backend);
    }
    if kind != Kind::Syn {
        // The entry stays as it is: the backend may come back.
        return current;
    }
    let entry = new_entry(of, current?, kind, world.tick);
    world.flows.replace(which, tuple, entry);
    current
}

/// A flow that is not remembered.
fn unknown(
    world: &mut World,
    service: usize,
    situation: &Situation,
    count: &mut FlowCount,
) -> (Option<u16>, bool) {
    let Situation {
        kind,
        current,
        owner,
        waits_at,
        ..
    } = *situation;
    let chosen = match (kind, owner) {
        (Kind::Syn, _) if current.is_some() && waits_at.is_some() => return (waits_at, false),
        (Kind::Syn, _) => current,
        (_, Some(owner)) => Some(owner),
        // Nobody answers for it any more. A TCP connection is broken anyhow, and its next SYN begins
        // anew; a UDP flow begins here.
        (Kind::Datagram, None) => current,
        (_, None) => return (current, false),
    };
    match chosen {
        Some(chosen) => remember(world, service, situation, chosen, count),
        None => (None, false),
    }
}

/// Remembers a flow at the backend chosen for it. Where that cannot be, the flow goes to the owner,
/// who needs no memory.
fn remember(
    world: &mut World,
    service: usize,
    situation: &Situation,
    chosen: u16,
    count: &mut FlowCount,
) -> (Option<u16>, bool) {
    let Situation {
        tuple,
        kind,
        held,
        owner,
        remembers,
        own_table,
        ..
    } = *situation;
    if !remembers {
        return (Some(chosen), false);
    }
    let entry = new_entry(&world.services[service], chosen, kind, world.tick);
    if let Held::Stale(which) = held {
        // A place that is taken is used again: no budget is spent, and no entry counted as made.
        world.flows.replace(which, tuple, entry);
        return (Some(chosen), true);
    }
    let syn = kind == Kind::Syn;
    count.inserted = world.flows.insert(own_table, tuple, entry, syn);
    count.refused = !count.inserted;
    if count.inserted {
        (Some(chosen), true)
    } else {
        (owner.or(Some(chosen)), false)
    }
}

impl Situation {
    fn of(world: &World, service: usize, packet: &Packet) -> Self {
        let tuple = packet.tuple();
        let kind = Kind::of(packet);
        let of = &world.services[service];
        let hash = steer::flow_hash(&of.table, &tuple);
        let slot = steer::slot(&of.table, hash);
        let owner = match &of.old {
            None => slot.owner(),
            Some(old) => steer::slot(old, steer::flow_hash(old, &tuple)).owner(),
        };
        let always = of.always_tracked && world.features.always;
        let own_table = if always {
            Which::Always
        } else {
            Which::Transition
        };
        Self {
            tuple,
            kind,
            held: held(world, of, own_table, &tuple),
            current: of.living(slot.current),
            owner: of.living(owner),
            // In a tracked slot a flow without an entry goes where it belongs.
            remembers: always || of.old.is_some() || !slot.is_tracked(),
            own_table,
            waits_at: slow_start(of, slot.current, owner, hash),
        }
    }
}

/// The owner takes the new flows that the slot's own backend does not admit yet; unless it takes none
/// either.
fn slow_start(service: &Service, current: u16, owner: u16, hash: FlowHash) -> Option<u16> {
    let starting = service.backend(current)?;
    let takes = service.backend(owner)?.takes_new_flows();
    let admitted = hash.secondary >> 16 <= u32::from(starting.admit);
    (takes && owner != current && !admitted).then_some(owner)
}

/// The flow's entry: first where the service's own flows are, then where those of its earlier mode may
/// be.
fn held(world: &World, service: &Service, own: Which, tuple: &FlowTuple) -> Held {
    let flows = &world.flows;
    let transition = (
        Which::Transition,
        world.features.transition,
        &flows.transition,
    );
    let always = (Which::Always, world.features.always, &flows.always);
    let order = match own {
        Which::Transition => [transition, always],
        Which::Always => [always, transition],
    };
    for (which, in_use, store) in order {
        let Some(entry) = store.get(tuple).filter(|_| in_use) else {
            continue;
        };
        let holds = service
            .backend(entry.backend)
            .filter(|backend| backend.in_use)
            .is_none_or(|backend| backend.generation == entry.generation);
        return if holds {
            Held::Entry(which, *entry)
        } else {
            Held::Stale(which)
        };
    }
    Held::Nothing
}

fn new_entry(service: &Service, backend: u16, kind: Kind, tick: u64) -> Entry {
    let blank = Entry {
        backend,
        generation: service.backend(backend).map_or(0, |b| b.generation),
        established: false,
        closing: false,
        last_seen: tick,
    };
    seen(blank, kind, tick)
}

fn seen(entry: Entry, kind: Kind, tick: u64) -> Entry {
    Entry {
        established: entry.established || kind != Kind::Syn,
        closing: entry.closing || kind == Kind::Closing,
        last_seen: tick,
        ..entry
    }
}

impl Kind {
    fn of(packet: &Packet) -> Self {
        let transport = &packet.transport;
        if transport.protocol == protocol::UDP {
            Self::Datagram
        } else if transport.opens() {
            Self::Syn
        } else if transport.closes() {
            Self::Closing
        } else {
            Self::Segment
        }
    }
}

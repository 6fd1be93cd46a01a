//! `explain`: the facts of one connection, what the rules make of them, and what a copy of the
//! program does.

use lb_common::{
    abi::{
        backend::{Backend as Entry, BackendState},
        counters::{Counter, DropReason},
        flow::FlowEntry,
        service::{ServiceRecord, tracking},
        settings::{Settings, feature},
        slot::{LocalBackend, Slot},
    },
    hash::FlowHash,
};

use super::{
    flows::{holder, idle},
    names::Names,
    state::Controller,
};
use crate::{
    admin::{
        ExplainQuery, Explanation, Refusal,
        explain::{EntryExplained, PacketExplained, PacketKind, SlotExplained, Transport},
        flows::FlowTable,
    },
    dataplane::{self, Dataplane, DryRun},
    explain::{Candidate, Choice, Facts, Frame, Held, Packet},
    model::{Protocol, Service},
    plan::{
        FlowKey, Range, SlotIndex,
        motion::{self, State},
    },
};

/// A packet may change what is remembered between the look and the copy's run: then it is done again.
const ATTEMPTS: usize = 3;

/// What was found about a connection of a service.
struct Found<'a> {
    service: &'a Service,
    record: ServiceRecord,
    facts: Facts,
    slot: SlotExplained,
    entry: Option<(FlowTable, FlowEntry)>,
}

impl Controller {
    /// Where a connection's packets go, and why.
    ///
    /// # Errors
    /// The data path's.
    pub(super) fn explain(&mut self, query: &ExplainQuery) -> Result<Explanation, Refusal> {
        let unavailable = |error: dataplane::Error| Refusal::unavailable(error.to_string());
        if query.source.is_ipv4() != query.destination.is_ipv4() {
            return Err(Refusal::bad_request(
                "both addresses must be IPv4, or both IPv6".to_owned(),
            ));
        }
        let mut explanation = self.explain_once(query).map_err(unavailable)?;
        for _ in 1..ATTEMPTS {
            if explanation.agrees {
                break;
            }
            explanation = self.explain_once(query).map_err(unavailable)?;
        }
        Ok(explanation)
    }

    fn explain_once(&mut self, query: &ExplainQuery) -> Result<Explanation, dataplane::Error> {
        let kinds: &[Packet] = match query.protocol {
            Transport::Tcp => &[Packet::Syn, Packet::Segment],
            Transport::Udp => &[Packet::Datagram],
        };
        let frames = kinds
            .iter()
            .filter_map(|kind| Frame::of(*kind, query.source, query.destination));
        let frames: Vec<Frame> = frames.collect();
        let ifindex = self.ingress();
        let mut runs = Vec::with_capacity(frames.len());
        for Frame(bytes) in &frames {
            runs.push(self.dataplane.dry_run(bytes, ifindex)?);
        }

        let names = Names::new(&self.image, &self.model);
        let found = self.find(&names, query)?;
        let runs = kinds.iter().zip(runs);
        let packets: Vec<PacketExplained> = match &found {
            None => runs.map(|(kind, run)| not_served(*kind, &run)).collect(),
            Some(found) => runs
                .map(|(kind, run)| served(&names, found, query, *kind, run))
                .collect(),
        };
        let agrees = packets.iter().all(|packet| packet.agrees != Some(false));
        let mut explanation = Explanation {
            connection: *query,
            service: None,
            tracking: None,
            slot: None,
            entry: None,
            packets,
            agrees,
        };
        if let Some(found) = found {
            explanation.service = Some(found.service.name.to_string());
            explanation.tracking = Some(found.service.connections.tracking.to_string());
            explanation.entry = found.entry.map(|(table, entry)| {
                let named = names.backend(&found.record, entry.backend());
                let (backend, state) = holder(named, entry);
                EntryExplained {
                    table,
                    backend,
                    state,
                    idle_s: idle(entry, Dataplane::now_ticks()),
                }
            });
            explanation.slot = Some(found.slot);
        }
        Ok(explanation)
    }

    /// The first interface that the program is attached to.
    fn ingress(&self) -> u32 {
        let names = self.dataplane.interfaces();
        names
            .iter()
            .find_map(|name| self.dataplane.device(name))
            .map_or(0, |device| device.ifindex)
    }

    fn find<'a>(
        &self,
        names: &Names<'a>,
        query: &ExplainQuery,
    ) -> Result<Option<Found<'a>>, dataplane::Error> {
        let ExplainQuery {
            protocol,
            source,
            destination,
        } = *query;
        let protocol = match protocol {
            Transport::Tcp => Protocol::Tcp.number(),
            Transport::Udp => Protocol::Udp.number(),
        };
        let Some((service, record)) = names.service(protocol, destination) else {
            return Ok(None);
        };
        let Some(flow) = FlowKey::new(source, destination, protocol) else {
            return Ok(None);
        };
        let settings = *self.dataplane.settings();
        let hash = flow.hash(record.hashing());
        let number = hash.slot(record.slots_count);
        let slot = self.slot(record.slots_first, number);
        let resizing = record.old_slots_count != 0;
        let old = resizing.then(|| {
            let number = flow.hash(record.old_hashing()).slot(record.old_slots_count);
            (number, self.slot(record.old_slots_first, number))
        });
        let entry = self.remembered_entry(&settings, &record, &flow)?;
        let candidate_at = |local| Some(candidate(names.entry(&record, local)?, local, hash));
        let held = entry.and_then(|(_, entry)| {
            match names.entry(&record, entry.backend()) {
                // The place was given away: the entry counts for nothing.
                Some(found) if found.generation != entry.generation() => None,
                Some(found) => match candidate(found, entry.backend(), hash) {
                    backend if backend.alive => Some(Held::Living(backend)),
                    _ => Some(Held::Dead),
                },
                None => Some(Held::Dead),
            }
        });
        let owner = motion::owner(old.map_or(slot, |(_, slot)| slot));
        let name = |local| names.backend(&record, local).map(|occupant| occupant.name);
        let explained = |(number, slot): (u32, Slot), of, before| SlotExplained {
            number,
            of,
            state: state(slot).to_owned(),
            current: name(slot.current()),
            previous: (!slot.is_stable()).then(|| name(slot.previous())).flatten(),
            before,
        };
        let before = old.map(|old| Box::new(explained(old, record.old_slots_count, None)));
        Ok(Some(Found {
            service,
            record,
            facts: Facts {
                slot,
                looks: settings.features & (feature::TRANSITION | feature::ALWAYS) != 0,
                current: candidate_at(slot.current()),
                owner: candidate_at(owner),
                held,
                always: is_always(&settings, &record),
                resizing,
            },
            slot: explained((number, slot), record.slots_count, before),
            entry,
        }))
    }

    fn slot(&self, first: u32, number: u32) -> Slot {
        let slot = self.image.slot(SlotIndex(first.saturating_add(number)));
        slot.unwrap_or(Slot::UNSET)
    }

    /// What is remembered: first where the service's own flows are, then where those of its earlier
    /// mode may be.
    fn remembered_entry(
        &self,
        settings: &Settings,
        record: &ServiceRecord,
        key: &FlowKey,
    ) -> Result<Option<(FlowTable, FlowEntry)>, dataplane::Error> {
        let mut tables = vec![
            (FlowTable::Transition, feature::TRANSITION),
            (FlowTable::Always, feature::ALWAYS),
        ];
        if is_always(settings, record) {
            tables.reverse();
        }
        for (table, needed) in tables {
            if settings.features & needed != 0
                && let Some(entry) = self.dataplane.flow(table.into(), key)?
            {
                return Ok(Some((table, entry)));
            }
        }
        Ok(None)
    }
}

fn is_always(settings: &Settings, record: &ServiceRecord) -> bool {
    record.tracking == tracking::ALWAYS && settings.features & feature::ALWAYS != 0
}

fn candidate(entry: &Entry, local: LocalBackend, hash: FlowHash) -> Candidate {
    let state = BackendState(entry.state);
    let alive = state.is_in_use() && !state.is_dead();
    Candidate {
        local,
        alive,
        takes_new: alive && state.0 & BackendState::NO_NEW_FLOWS == 0,
        admits: hash.secondary() >> 16 <= u32::from(state.admit()),
    }
}

fn state(slot: Slot) -> &'static str {
    match motion::state(slot) {
        State::Stable(motion::NOBODY) => "unset",
        State::Stable(_) => "stable",
        State::Transition { .. } => "transition",
        State::Tracked(_) => "tracked",
    }
}

fn kind(packet: Packet) -> PacketKind {
    match packet {
        Packet::Syn => PacketKind::Syn,
        Packet::Segment => PacketKind::Segment,
        Packet::Datagram => PacketKind::Datagram,
    }
}

/// Nobody listens there.
fn not_served(packet: Packet, run: &DryRun) -> PacketExplained {
    PacketExplained {
        kind: kind(packet),
        backend: None,
        why: "no service listens there, so the kernel gets it".to_owned(),
        remembered: false,
        verdict: verdict(run.counter),
        program: None,
        // What is sent on is a reply of a backend, which is no connection to a service.
        agrees: (run.counter == Counter::PASS).then_some(true),
    }
}

fn served(
    names: &Names<'_>,
    found: &Found<'_>,
    query: &ExplainQuery,
    packet: Packet,
    run: DryRun,
) -> PacketExplained {
    let Found {
        service,
        record,
        facts,
        ..
    } = found;
    let Choice {
        backend,
        rule,
        remembered,
    } = facts.choose(packet);
    let DryRun {
        action: _,
        counter,
        frame,
    } = run;
    let frame = Frame(frame);
    let sent = matches!(counter, Counter::TX | Counter::REDIRECT);
    let is_for = |local: LocalBackend| {
        names
            .entry(record, local)
            .is_some_and(|entry| frame.is_for(entry, service.forward, query.destination))
    };
    let recipient = sent.then(|| {
        // The one that is expected, if it may be: others may have the same address.
        let locals = Range::backends(record).locals();
        backend
            .into_iter()
            .chain(locals)
            .find(|local| is_for(*local))
    });
    let agrees = match (backend, recipient) {
        (Some(expected), Some(recipient)) => Some(recipient == Some(expected)),
        (None, Some(_)) => Some(false),
        (expected, None) if counter == Counter::dropped(DropReason::NoBackend) => {
            Some(expected.is_none())
        }
        (_, None) if counter == Counter::PASS => Some(false),
        (_, None) => None,
    };
    let name = |local| names.backend(record, local).map(|occupant| occupant.name);
    PacketExplained {
        kind: kind(packet),
        backend: backend.and_then(name),
        why: match backend {
            Some(_) => rule.to_string(),
            None => format!("{rule}; but there is none that is alive"),
        },
        remembered,
        verdict: verdict(counter),
        program: recipient.flatten().and_then(name),
        agrees,
    }
}

/// A verdict as in the status.
fn verdict(counter: Counter) -> String {
    let reason = DropReason::ALL
        .into_iter()
        .find(|reason| Counter::dropped(*reason) == counter);
    match (counter, reason) {
        (_, Some(reason)) => format!("drop: {}", reason.name()),
        (Counter::TX, None) => "tx".to_owned(),
        (Counter::REDIRECT, None) => "redirect".to_owned(),
        (Counter::PASS, None) => "pass".to_owned(),
        (Counter::PUNT, None) => "punt".to_owned(),
        (other, None) => format!("verdict {}", other.index()),
    }
}

#[cfg(test)]
mod tests {
    use lb_common::{abi::flow::FlowKeyV4, hash::HashKey};

    use super::*;

    #[test]
    fn slots_are_told_by_their_state() {
        for (slot, word) in [
            (Slot::UNSET, "unset"),
            (Slot::stable(1), "stable"),
            (Slot::transition(1, 2), "transition"),
            (Slot::transition(0, 2), "transition"),
            (Slot::tracked(1), "tracked"),
        ] {
            assert_eq!(state(slot), word);
        }
    }

    #[test]
    fn verdicts_have_the_names_of_the_status() {
        let all: Vec<_> = Counter::all().map(verdict).collect();
        assert_eq!(
            all[..5],
            ["tx", "redirect", "pass", "punt", "drop: no_backend"]
        );
        assert!(all.iter().all(|name| !name.starts_with("verdict")));
    }

    #[test]
    fn a_backend_is_as_its_state_says() {
        let record = ServiceRecord {
            hash_key: HashKey { k0: 1, k1: 2 },
            ..ServiceRecord::default()
        };
        let hash = FlowKey::V4(FlowKeyV4::default()).hash(record.hashing());
        let of = |state| {
            let entry = Entry {
                state,
                ..Entry::default()
            };
            candidate(&entry, 1, hash)
        };
        let up = of(BackendState::new(BackendState::IN_USE).0);
        assert!(up.alive && up.takes_new && up.admits);
        let drained = of(BackendState::new(BackendState::IN_USE | BackendState::NO_NEW_FLOWS).0);
        assert!(drained.alive && !drained.takes_new);
        let dead = of(BackendState::new(BackendState::IN_USE | BackendState::DEAD).0);
        assert!(!dead.alive && !dead.takes_new);
        let freed = of(BackendState::new(0).0);
        assert!(!freed.alive);
        assert!(!of(BackendState::IN_USE).admits, "begins slowly");
    }
}

//! The packet rules of slots in motion, row by row: which backend gets a packet, and what is remembered.
//!
//! In every row backend 1 is the one that the slot had before, 2 is its current one, and 3 is a third
//! that only the flow's entry names.

use anyhow::Result;
use lb_common::abi::{backend::BackendState, flow::FlowEntry, slot::Slot};
use testbed::packets::{
    ALIVE, Counts, DEAD, DRAINING, Entry, FREE,
    Kind::{self, Ack, Datagram, Fin, Rst, Syn},
    Motion, ROW, Row,
};

const ESTABLISHED: u8 = FlowEntry::ESTABLISHED;
const CLOSING: u8 = FlowEntry::ESTABLISHED | FlowEntry::CLOSING;

const MOVED: Slot = Slot::transition(2, 1);
const TRACKED: Slot = Slot::tracked(2);
/// Every backend is drained: new flows go nowhere.
const NOBODY: Slot = Slot::transition(0, 1);

/// The entry that a flow of backend 3 has, last seen some ticks ago.
const OF_3: Entry = Entry::new(3, ESTABLISHED).ago(5);

const OWNER_DEAD: [BackendState; 3] = [DEAD, ALIVE, ALIVE];
const CURRENT_DEAD: [BackendState; 3] = [ALIVE, DEAD, ALIVE];
const BOTH_DEAD: [BackendState; 3] = [DEAD, DEAD, ALIVE];
const THIRD_DEAD: [BackendState; 3] = [ALIVE, ALIVE, DEAD];
const THIRD_DRAINING: [BackendState; 3] = [ALIVE, ALIVE, DRAINING];
const THIRD_FREE: [BackendState; 3] = [ALIVE, ALIVE, FREE];

fn check(rows: &[Row]) -> Result<()> {
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    rows.iter().try_for_each(|row| bed.check(row))
}

/// A flow without an entry.
fn new(
    name: &'static str,
    slot: Slot,
    backends: [BackendState; 3],
    packet: Kind,
    to: Option<u16>,
    after: Option<Entry>,
) -> Row {
    let counts = if after.is_some() {
        Counts::INSERTED
    } else {
        Counts::MISSED
    };
    Row {
        name,
        slot,
        backends,
        packet,
        to,
        after,
        counts,
        ..ROW
    }
}

/// A flow that has the entry [`OF_3`].
fn known(
    name: &'static str,
    slot: Slot,
    backends: [BackendState; 3],
    packet: Kind,
    to: Option<u16>,
    after: Entry,
) -> Row {
    Row {
        name,
        slot,
        backends,
        entry: Some(OF_3),
        packet,
        to,
        after: Some(after),
        ..ROW
    }
}

/// A flow whose entry is of a backend that is no more, and another has its index.
fn outdated(name: &'static str, slot: Slot, packet: Kind, to: Option<u16>, after: Entry) -> Row {
    Row {
        entry: Some(OF_3.of_old_generation()),
        counts: Counts::MISSED,
        ..known(name, slot, [ALIVE; 3], packet, to, after)
    }
}

#[test]
fn a_syn_without_an_entry_goes_to_the_current_backend() -> Result<()> {
    let remembered = Some(Entry::new(2, 0));
    check(&[
        new("in transition", MOVED, [ALIVE; 3], Syn, Some(2), remembered),
        new("owner dead", MOVED, OWNER_DEAD, Syn, Some(2), remembered),
        new("current dead", MOVED, CURRENT_DEAD, Syn, None, None),
        new("nobody current", NOBODY, [ALIVE; 3], Syn, None, None),
        new("tracked", TRACKED, [ALIVE; 3], Syn, Some(2), None),
        new("tracked, dead", TRACKED, CURRENT_DEAD, Syn, None, None),
    ])
}

#[test]
fn a_syn_keeps_an_entry_whose_backend_takes_new_flows() -> Result<()> {
    let kept = Entry::new(3, ESTABLISHED);
    let mut rows = Vec::new();
    for slot in [MOVED, TRACKED, NOBODY] {
        rows.push(known("kept", slot, [ALIVE; 3], Syn, Some(3), kept));
        rows.push(known("current dead", slot, BOTH_DEAD, Syn, Some(3), kept));
        // A port that is used again: the entry of the old connection would expire too soon.
        rows.push(Row {
            entry: Some(Entry::new(3, CLOSING).ago(5)),
            ..known(
                "of a connection that ended",
                slot,
                [ALIVE; 3],
                Syn,
                Some(3),
                Entry::new(3, 0),
            )
        });
    }
    check(&rows)
}

#[test]
fn a_syn_leaves_an_entry_whose_backend_takes_none() -> Result<()> {
    let moved = Entry::new(2, 0);
    let mut rows = Vec::new();
    for slot in [MOVED, TRACKED] {
        for backends in [THIRD_DRAINING, THIRD_DEAD, THIRD_FREE] {
            rows.push(known("moved", slot, backends, Syn, Some(2), moved));
        }
        for third in [DRAINING, DEAD, FREE] {
            let backends = [ALIVE, DEAD, third];
            rows.push(known("nowhere to go", slot, backends, Syn, None, OF_3));
        }
    }
    rows.push(known("nobody", NOBODY, THIRD_DRAINING, Syn, None, OF_3));
    check(&rows)
}

#[test]
fn a_segment_without_an_entry_goes_to_the_owner() -> Result<()> {
    let remembered = Some(Entry::new(1, ESTABLISHED));
    let draining = [DRAINING, ALIVE, ALIVE];
    check(&[
        new("in transition", MOVED, [ALIVE; 3], Ack, Some(1), remembered),
        new("owner drained", MOVED, draining, Ack, Some(1), remembered),
        new(
            "current dead",
            MOVED,
            CURRENT_DEAD,
            Ack,
            Some(1),
            remembered,
        ),
        new("nobody current", NOBODY, draining, Ack, Some(1), remembered),
        new("owner dead", MOVED, OWNER_DEAD, Ack, Some(2), None),
        new("both dead", MOVED, BOTH_DEAD, Ack, None, None),
        new("nobody at all", NOBODY, OWNER_DEAD, Ack, None, None),
        new("tracked", TRACKED, [ALIVE; 3], Ack, Some(2), None),
        new("tracked, dead", TRACKED, CURRENT_DEAD, Ack, None, None),
    ])
}

#[test]
fn a_segment_follows_its_entry_while_the_backend_lives() -> Result<()> {
    let seen = Entry::new(3, ESTABLISHED);
    let mut rows = Vec::new();
    for slot in [MOVED, TRACKED, NOBODY] {
        for packet in [Ack, Datagram] {
            rows.push(known("alive", slot, [ALIVE; 3], packet, Some(3), seen));
            rows.push(known(
                "draining",
                slot,
                THIRD_DRAINING,
                packet,
                Some(3),
                seen,
            ));
            rows.push(known("others dead", slot, BOTH_DEAD, packet, Some(3), seen));
            rows.push(Row {
                entry: Some(Entry::new(3, 0).ago(5)),
                ..known("after the SYN", slot, [ALIVE; 3], packet, Some(3), seen)
            });
            rows.push(Row {
                entry: Some(Entry::new(1, ESTABLISHED).ago(5)),
                ..known(
                    "of backend 1",
                    slot,
                    [ALIVE; 3],
                    packet,
                    Some(1),
                    Entry::new(1, ESTABLISHED),
                )
            });
        }
    }
    check(&rows)
}

#[test]
fn an_entry_of_a_dead_backend_is_left_alone_and_the_flow_goes_to_current() -> Result<()> {
    let mut rows = Vec::new();
    for packet in [Ack, Fin, Datagram] {
        for slot in [MOVED, TRACKED] {
            for third in [DEAD, FREE] {
                let alive = [ALIVE, ALIVE, third];
                rows.push(known("dead", slot, alive, packet, Some(2), OF_3));
                let dead = [ALIVE, DEAD, third];
                rows.push(known("current dead too", slot, dead, packet, None, OF_3));
            }
        }
        rows.push(known("no current", NOBODY, THIRD_DEAD, packet, None, OF_3));
    }
    check(&rows)
}

#[test]
fn an_entry_of_another_generation_is_none() -> Result<()> {
    let left = OF_3.of_old_generation();
    check(&[
        outdated("SYN", MOVED, Syn, Some(2), Entry::new(2, 0)),
        outdated("ACK", MOVED, Ack, Some(1), Entry::new(1, ESTABLISHED)),
        outdated("UDP", MOVED, Datagram, Some(1), Entry::new(1, ESTABLISHED)),
        outdated("tracked SYN", TRACKED, Syn, Some(2), left),
        outdated("tracked ACK", TRACKED, Ack, Some(2), left),
        outdated("tracked UDP", TRACKED, Datagram, Some(2), left),
    ])
}

#[test]
fn the_end_of_a_connection_is_noted() -> Result<()> {
    let closing = Entry::new(3, CLOSING);
    let mut rows = Vec::new();
    for slot in [MOVED, TRACKED] {
        rows.push(known("FIN", slot, [ALIVE; 3], Fin, Some(3), closing));
        rows.push(known("RST", slot, [ALIVE; 3], Rst, Some(3), closing));
        rows.push(Row {
            entry: Some(Entry::new(3, CLOSING).ago(5)),
            ..known("ACK after it", slot, [ALIVE; 3], Ack, Some(3), closing)
        });
    }
    let remembered = Some(Entry::new(1, CLOSING));
    rows.push(new("unknown", MOVED, [ALIVE; 3], Fin, Some(1), remembered));
    check(&rows)
}

#[test]
fn a_datagram_without_an_entry_goes_to_the_owner_or_is_remembered_with_current() -> Result<()> {
    let owned = Some(Entry::new(1, ESTABLISHED));
    let moved = Some(Entry::new(2, ESTABLISHED));
    check(&[
        new("in transition", MOVED, [ALIVE; 3], Datagram, Some(1), owned),
        new("owner dead", MOVED, OWNER_DEAD, Datagram, Some(2), moved),
        new("both dead", MOVED, BOTH_DEAD, Datagram, None, None),
        new("nobody", NOBODY, OWNER_DEAD, Datagram, None, None),
        new("tracked", TRACKED, [ALIVE; 3], Datagram, Some(2), None),
        new("tracked, dead", TRACKED, CURRENT_DEAD, Datagram, None, None),
    ])
}

#[test]
fn an_entry_is_written_only_when_it_changes() -> Result<()> {
    let mut rows = Vec::new();
    for packet in [Syn, Ack, Datagram] {
        rows.push(Row {
            entry: Some(Entry::new(3, ESTABLISHED)),
            ..known(
                "seen in this tick",
                MOVED,
                [ALIVE; 3],
                packet,
                Some(3),
                Entry::new(3, ESTABLISHED),
            )
        });
    }
    check(&rows)
}

#[test]
fn a_stable_slot_looks_at_no_entry() -> Result<()> {
    let mut rows = Vec::new();
    for packet in [Syn, Ack, Fin, Datagram] {
        for (slot, backends, to) in [
            (Slot::stable(2), [ALIVE; 3], Some(2)),
            (Slot::stable(2), [ALIVE, DRAINING, ALIVE], Some(2)),
            (Slot::stable(2), CURRENT_DEAD, None),
            (Slot::stable(2), [ALIVE, FREE, ALIVE], None),
            (Slot::UNSET, [ALIVE; 3], None),
        ] {
            let counts = Counts::NONE;
            let with = known("stable", slot, backends, packet, to, OF_3);
            rows.push(Row { counts, ..with });
            let without = new("stable", slot, backends, packet, to, None);
            rows.push(Row { counts, ..without });
        }
    }
    check(&rows)
}

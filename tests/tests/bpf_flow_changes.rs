//! The packet rules while more changes than a slot: the table is resized or re-seeded, a backend
//! starts slowly, a service begins or ends to be always tracked.

use anyhow::{Context as _, Result};
use lb_common::{
    abi::{
        backend::BackendState, flow::FlowEntry, service::ServiceRecord, settings::feature,
        slot::Slot,
    },
    hash::{FlowHash, HashKey},
};
use testbed::packets::{
    ALIVE, Counts, DEAD, DRAINING, Entry,
    Kind::{self, Ack, Datagram, Syn},
    Motion, OLD_COUNT, Old, ROW, Row,
};

const ESTABLISHED: u8 = FlowEntry::ESTABLISHED;
const MOVED: Slot = Slot::transition(2, 1);
const TRACKED: Slot = Slot::tracked(2);
const OF_3: Entry = Entry::new(3, ESTABLISHED).ago(5);

/// Half of the new flows.
const HALF: u16 = 0x8000;

/// A flow without an entry.
fn new(name: &'static str, slot: Slot, packet: Kind, to: u16, after: Option<Entry>) -> Row {
    let counts = if after.is_some() {
        Counts::INSERTED
    } else {
        Counts::MISSED
    };
    Row {
        name,
        slot,
        packet,
        to: Some(to),
        after,
        counts,
        ..ROW
    }
}

/// The same while the service leaves a range of such slots.
fn resized(name: &'static str, old: Slot, packet: Kind, to: u16, after: Option<Entry>) -> Row {
    let slots = vec![old; OLD_COUNT as usize];
    Row {
        old: Some(Old {
            hash_key: None,
            slots,
        }),
        ..new(name, TRACKED, packet, to, after)
    }
}

fn hash(key: HashKey, row: &Row) -> FlowHash {
    let record = ServiceRecord {
        hash_key: key,
        ..ServiceRecord::default()
    };
    row.key().hash(record.hashing())
}

#[test]
fn while_the_table_is_resized_flows_belong_to_their_owner_in_the_old_one() -> Result<()> {
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    let old_dead = [DEAD, ALIVE, ALIVE];
    let (stable, moved) = (Slot::stable(1), Slot::transition(3, 1));
    let at_1 = Some(Entry::new(1, ESTABLISHED));
    let at_2 = Some(Entry::new(2, ESTABLISHED));
    let at_3 = Some(Entry::new(3, ESTABLISHED));
    let rows = [
        resized("a SYN", stable, Syn, 2, Some(Entry::new(2, 0))),
        resized("stable", stable, Ack, 1, at_1),
        resized("in transition", moved, Ack, 1, at_1),
        resized("tracked", Slot::tracked(3), Ack, 3, at_3),
        resized("nobody's", Slot::UNSET, Ack, 2, None),
        resized("UDP", stable, Datagram, 1, at_1),
        resized("UDP, nobody's", Slot::UNSET, Datagram, 2, at_2),
        Row {
            backends: old_dead,
            ..resized("dead", stable, Ack, 2, None)
        },
        Row {
            backends: old_dead,
            ..resized("UDP, dead", stable, Datagram, 2, at_2)
        },
        Row {
            entry: Some(OF_3),
            counts: Counts::FOUND,
            ..resized("an entry", stable, Ack, 3, at_3)
        },
    ];
    rows.iter().try_for_each(|row| bed.check(row))
}

#[test]
fn the_old_table_is_looked_up_by_the_old_seed_that_the_record_names() -> Result<()> {
    let old_key = HashKey { k0: 11, k1: 22 };
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    let key = bed.hash_key();
    let row = resized("", Slot::UNSET, Ack, 0, None);
    let at = |key, port| {
        hash(
            key,
            &Row {
                port,
                ..row.clone()
            },
        )
        .slot(OLD_COUNT) as usize
    };
    let port = (40_000..50_000)
        .find(|port| at(key, *port) != at(old_key, *port))
        .context("every port has the same slot under both seeds")?;
    let mut slots = vec![Slot::UNSET; OLD_COUNT as usize];
    slots[at(key, port)] = Slot::stable(1);
    slots[at(old_key, port)] = Slot::stable(3);
    for (hash_key, backend) in [(None, 1), (Some(old_key), 3)] {
        let after = Some(Entry::new(backend, ESTABLISHED));
        bed.check(&Row {
            port,
            old: Some(Old {
                hash_key,
                slots: slots.clone(),
            }),
            ..new("by its seed", TRACKED, Ack, backend, after)
        })?;
    }
    Ok(())
}

#[test]
fn a_backend_that_starts_slowly_takes_its_part_of_new_flows() -> Result<()> {
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    let slow = BackendState(BackendState::IN_USE | u32::from(HALF) << 16);
    let key = bed.hash_key();
    let mut ports = (40_000..50_000).map(|port| {
        let within = slow.admits(hash(key, &Row { port, ..ROW }));
        (port, within)
    });
    let (beyond, _) = ports.clone().find(|(_, within)| !within).context("none")?;
    let (within, _) = ports.find(|(_, within)| *within).context("none")?;
    let at_2 = Some(Entry::new(2, 0));
    let backends = [ALIVE, slow, ALIVE];
    let row = |row: Row| Row {
        port: beyond,
        backends,
        ..row
    };
    let rows = [
        row(new("beyond", MOVED, Syn, 1, None)),
        Row {
            port: within,
            ..row(new("within", MOVED, Syn, 2, at_2))
        },
        Row {
            backends: [DEAD, slow, ALIVE],
            ..row(new("owner dead", MOVED, Syn, 2, at_2))
        },
        // A drained backend must come to its end: it is given no new flows in the other's stead.
        Row {
            backends: [DRAINING, slow, ALIVE],
            ..row(new("owner drained", MOVED, Syn, 2, at_2))
        },
        row(new(
            "no SYN",
            MOVED,
            Ack,
            1,
            Some(Entry::new(1, ESTABLISHED)),
        )),
        row(new("tracked", TRACKED, Syn, 2, None)),
        row(resized("resized", Slot::stable(1), Syn, 1, None)),
        Row {
            counts: Counts::NONE,
            ..row(new("stable", Slot::stable(2), Syn, 2, None))
        },
        Row {
            entry: Some(OF_3),
            counts: Counts::FOUND,
            ..row(new(
                "an entry",
                MOVED,
                Syn,
                3,
                Some(Entry::new(3, ESTABLISHED)),
            ))
        },
        // Its entry would send the flow's other segments to the drained backend.
        Row {
            entry: Some(OF_3),
            counts: Counts::FOUND,
            backends: [ALIVE, slow, DRAINING],
            ..row(new("an entry that moves", MOVED, Syn, 2, at_2))
        },
        Row {
            always: true,
            ..row(new("always tracked", TRACKED, Syn, 2, at_2))
        },
    ];
    rows.iter().try_for_each(|row| bed.check(row))
}

#[test]
fn every_flow_of_a_service_that_is_always_tracked_is_remembered() -> Result<()> {
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    let at_2 = Entry::new(2, ESTABLISHED);
    let at_3 = Entry::new(3, ESTABLISHED);
    let always = |row: Row| Row {
        always: true,
        ..row
    };
    let found = |row: Row| Row {
        entry: Some(OF_3),
        counts: Counts::FOUND,
        ..always(row)
    };
    let rows = [
        always(new("SYN", TRACKED, Syn, 2, Some(Entry::new(2, 0)))),
        always(new("ACK", TRACKED, Ack, 2, Some(at_2))),
        always(new("UDP", TRACKED, Datagram, 2, Some(at_2))),
        always(new(
            "moved",
            MOVED,
            Ack,
            1,
            Some(Entry::new(1, ESTABLISHED)),
        )),
        found(new("known", TRACKED, Ack, 3, Some(at_3))),
        found(new("known, SYN", TRACKED, Syn, 3, Some(at_3))),
        Row {
            backends: [ALIVE, ALIVE, DEAD],
            ..found(new("dead", TRACKED, Ack, 2, Some(OF_3)))
        },
        Row {
            backends: [ALIVE, ALIVE, DEAD],
            ..found(new("dead, SYN", TRACKED, Syn, 2, Some(Entry::new(2, 0))))
        },
    ];
    rows.iter().try_for_each(|row| bed.check(row))
}

#[test]
fn a_service_that_changes_its_tracking_finds_its_flows_in_the_other_table() -> Result<()> {
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    let seen = Some(Entry::new(3, ESTABLISHED));
    for always in [false, true] {
        for slot in [MOVED, TRACKED] {
            let elsewhere = |name, packet, to, elsewhere_after| Row {
                always,
                elsewhere: Some(OF_3),
                elsewhere_after,
                counts: Counts::FOUND,
                ..new(name, slot, packet, to, None)
            };
            bed.check(&elsewhere("a segment", Ack, 3, seen))?;
            bed.check(&elsewhere("a SYN", Syn, 3, seen))?;
            // Changed where it is: two entries of one flow would contradict each other.
            bed.check(&Row {
                backends: [ALIVE, ALIVE, DRAINING],
                ..elsewhere("a SYN that moves", Syn, 2, Some(Entry::new(2, 0)))
            })?;
            bed.check(&Row {
                entry: Some(Entry::new(2, ESTABLISHED)),
                after: Some(Entry::new(2, ESTABLISHED)),
                ..elsewhere("both", Ack, 2, Some(OF_3))
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_program_without_the_feature_looks_at_no_entry() -> Result<()> {
    let off = feature::TRANSITION | feature::ALWAYS;
    let Some(mut bed) = Motion::new(|settings| settings.features &= !off)? else {
        return Ok(());
    };
    for packet in [Syn, Ack, Datagram] {
        for slot in [MOVED, TRACKED] {
            bed.check(&Row {
                entry: Some(OF_3),
                counts: Counts::NONE,
                ..new("off", slot, packet, 2, Some(OF_3))
            })?;
        }
    }
    Ok(())
}

#[test]
fn the_table_of_always_tracked_services_is_looked_at_only_where_there_is_one() -> Result<()> {
    let Some(mut bed) = Motion::new(|settings| settings.features &= !feature::ALWAYS)? else {
        return Ok(());
    };
    let after = Some(Entry::new(1, ESTABLISHED));
    bed.check(&Row {
        elsewhere: Some(OF_3),
        elsewhere_after: Some(OF_3),
        ..new("elsewhere", MOVED, Ack, 1, after)
    })
}

//! What the flow tables bear: spent budgets, a full table, a dry run; and how the daemon reads and cleans
//! them while the program works on them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use lb_common::{
    abi::{
        counters::{Counter, DropReason},
        flow::{FlowEntry, FlowKeyV4},
        service::ServiceId,
        settings::Settings,
        slot::Slot,
    },
    endian::{Be16, Be32},
    wire::tcp::Flags,
};
use lb_userspace::{
    dataplane::{Dataplane, DryRun, IpVersion, Table, Walked},
    plan::FlowKey,
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use testbed::packets::{
    ALIVE, Bed, Counts, DEAD, DRAINING, Entry,
    Kind::{Ack, Datagram, Syn},
    Motion, Outcome, ROW, Row, Segment, Side, WEB, backend_mac,
};

const ESTABLISHED: u8 = FlowEntry::ESTABLISHED;
const MOVED: Slot = Slot::transition(2, 1);
const OF_3: Entry = Entry::new(3, ESTABLISHED).ago(5);

/// `XDP_REDIRECT` and `XDP_DROP` of linux/bpf.h.
const REDIRECT: u32 = 4;
const DROP: u32 = 1;

/// What the beds' tables hold.
const CAPACITY: u32 = 1 << 12;

/// A flow that nobody's packets belong to.
fn stranger(number: u32) -> FlowKey {
    FlowKey::V4(FlowKeyV4 {
        source: Be32::new(0x0a00_0000 + number),
        source_port: Be16::new(1),
        protocol: 6,
        ..FlowKeyV4::default()
    })
}

const fn ipv4(table: Table) -> Walked {
    Walked {
        table,
        version: IpVersion::V4,
    }
}

#[test]
fn what_the_budget_does_not_allow_goes_to_the_owner() -> Result<()> {
    let at_1 = Entry::new(1, ESTABLISHED);
    let spent = Row {
        slot: MOVED,
        to: Some(1),
        counts: Counts::REFUSED,
        ..ROW
    };
    let made = Row {
        slot: MOVED,
        counts: Counts::INSERTED,
        ..ROW
    };
    let owner_dead = [DEAD, ALIVE, ALIVE];
    let without_syns = [
        Row {
            name: "a SYN",
            packet: Syn,
            ..spent.clone()
        },
        Row {
            name: "a SYN whose owner is dead",
            packet: Syn,
            backends: owner_dead,
            to: Some(2),
            ..spent.clone()
        },
        Row {
            name: "a SYN that needs no new entry",
            packet: Syn,
            backends: [ALIVE, ALIVE, DRAINING],
            entry: Some(OF_3),
            to: Some(2),
            after: Some(Entry::new(2, 0)),
            counts: Counts::FOUND,
            ..spent.clone()
        },
        Row {
            name: "others have a budget of their own",
            packet: Ack,
            to: Some(1),
            after: Some(at_1),
            ..made.clone()
        },
    ];
    let without_others = [
        Row {
            name: "a segment",
            packet: Ack,
            ..spent.clone()
        },
        Row {
            name: "a datagram",
            packet: Datagram,
            ..spent.clone()
        },
        Row {
            name: "a datagram whose owner is dead",
            packet: Datagram,
            backends: owner_dead,
            to: Some(2),
            ..spent
        },
        Row {
            name: "SYNs have a budget of their own",
            packet: Syn,
            to: Some(2),
            after: Some(Entry::new(2, 0)),
            ..made
        },
    ];
    let Some(mut bed) = Motion::new(|settings| settings.syn_inserts = 0)? else {
        return Ok(());
    };
    without_syns.iter().try_for_each(|row| bed.check(row))?;
    let Some(mut bed) = Motion::new(|settings| settings.other_inserts = 0)? else {
        return Ok(());
    };
    without_others.iter().try_for_each(|row| bed.check(row))
}

#[test]
fn a_budget_is_for_one_tick() -> Result<()> {
    let small = |settings: &mut Settings| {
        settings.syn_inserts = 3;
        settings.other_inserts = 2;
    };
    let Some(mut bed) = Motion::new(small)? else {
        return Ok(());
    };
    // The budget is each CPU's own.
    let mut cpu = CpuSet::new();
    cpu.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &cpu)?;
    let row = Row { slot: MOVED, ..ROW };
    let made = |bed: &mut Motion| -> Result<usize> {
        bed.set(&row)?;
        for port in 40_000..40_010 {
            let packet = if port % 2 == 0 { Syn } else { Ack };
            let row = Row {
                port,
                packet,
                ..row.clone()
            };
            let frame = bed.segment(&row).bytes();
            bed.bed().run(Side::Front, &frame)?;
        }
        Ok(bed.bed().flows(Table::Transition)?.len())
    };
    // A tick may end between two packets; the next does not.
    for _ in 0..5 {
        let tick = Dataplane::now_ticks();
        while Dataplane::now_ticks() == tick {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // The program's clock may be some milliseconds behind.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let tick = Dataplane::now_ticks();
        let (first, again) = (made(&mut bed)?, made(&mut bed)?);
        if Dataplane::now_ticks() == tick {
            assert_eq!(
                (first, again),
                (5, 0),
                "of five of each kind, and of five more"
            );
            return Ok(());
        }
    }
    anyhow::bail!("twenty packets never fitted into a tick")
}

#[test]
fn what_finds_the_table_full_goes_to_the_owner() -> Result<()> {
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    for (packet, counts, new_to) in [
        (Syn, Counts::REFUSED, 1),
        (Ack, Counts::REFUSED, 1),
        (Datagram, Counts::REFUSED, 1),
    ] {
        let row = Row {
            name: "full",
            slot: MOVED,
            packet,
            to: Some(new_to),
            counts,
            ..ROW
        };
        bed.set(&row)?;
        let dataplane = bed.bed().dataplane();
        let mut number = 0;
        while dataplane
            .put_flow_back(Table::Transition, &stranger(number), FlowEntry::default())
            .is_ok()
        {
            number += 1;
            ensure!(number <= CAPACITY, "the table has no end");
        }
        assert_eq!(number, CAPACITY);
        let before = bed.bed().flows(Table::Transition)?;
        let fixture = bed.fixture(&row);
        fixture.check(bed.bed())?;
        assert_eq!(bed.bed().flows(Table::Transition)?, before);
        let service = bed.service();
        let counters = bed.bed().dataplane().flow_counters(service)?;
        assert_eq!((counters.refused, counters.inserts), (1, 0));
        assert!(counters.last_refused > 0);
    }
    Ok(())
}

/// All that a packet could have changed.
#[derive(Debug, PartialEq)]
struct Everything {
    flows: [BTreeMap<FlowKey, FlowEntry>; 2],
    counters: BTreeMap<Counter, u64>,
    backends: BTreeMap<String, lb_common::abi::counters::BackendCounters>,
    service: lb_common::abi::flow::FlowCounters,
}

fn everything(bed: &mut Bed, service: ServiceId) -> Result<Everything> {
    Ok(Everything {
        flows: [bed.flows(Table::Transition)?, bed.flows(Table::Always)?],
        counters: bed.counters()?,
        backends: bed.backends()?,
        service: bed.dataplane().flow_counters(service)?,
    })
}

#[test]
fn a_dry_run_says_what_would_become_of_a_packet_and_writes_nothing() -> Result<()> {
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    let moved = Row { slot: MOVED, ..ROW };
    let known = Row {
        entry: Some(OF_3),
        ..moved.clone()
    };
    let rows = [
        Row {
            packet: Syn,
            to: Some(2),
            ..moved.clone()
        },
        Row {
            to: Some(1),
            ..moved.clone()
        },
        Row {
            packet: Datagram,
            to: Some(1),
            ..moved
        },
        Row {
            to: Some(3),
            ..known.clone()
        },
        Row {
            packet: Syn,
            backends: [ALIVE, ALIVE, DRAINING],
            to: Some(2),
            ..known.clone()
        },
        Row {
            backends: [ALIVE, DEAD, DEAD],
            to: None,
            ..known
        },
        Row {
            slot: Slot::stable(2),
            to: Some(2),
            ..ROW
        },
    ];
    let service = bed.service();
    for row in &rows {
        for always in [false, true] {
            let row = Row {
                always,
                ..row.clone()
            };
            bed.set(&row)?;
            bed.put(row.own_table(), &row, row.entry)?;
            let fixture = bed.fixture(&row);
            let before = everything(bed.bed(), service)?;
            let (action, counter) = match row.to {
                Some(_) => (REDIRECT, Counter::REDIRECT),
                None => (DROP, Counter::dropped(DropReason::NoBackend)),
            };
            let frame = fixture.expect.frame.unwrap_or(fixture.packet.clone());
            let wanted = DryRun {
                action,
                counter,
                frame,
            };
            assert_eq!(bed.bed().dry_run(Side::Front, &fixture.packet)?, wanted);
            assert_eq!(everything(bed.bed(), service)?, before, "{row:?}");
        }
    }
    Ok(())
}

#[test]
fn a_dry_run_hands_nothing_to_the_daemon() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let mut punts = bed.dataplane().take_punts().context("given out once")?;
    let answer = Segment::new("10.77.2.11:8080", "10.77.1.77:40000", Flags::ACK)
        .link(backend_mac(11), bed.mac(Side::Back));
    let ran = bed.dry_run(Side::Back, &answer.bytes())?;
    assert_eq!((ran.action, ran.counter), (DROP, Counter::PUNT));
    assert!(punts.next().is_none());
    // It would have been: the same packet through the program itself.
    assert_eq!(
        bed.run(Side::Back, &answer.bytes())?.counters,
        BTreeMap::from([(Counter::PUNT, 1)]),
        "{:?}",
        Outcome::Punt
    );
    assert!(punts.next().is_some());
    Ok(())
}

#[test]
fn a_pass_sees_every_entry_once_and_in_pieces() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let dataplane = bed.dataplane();
    let keys: BTreeSet<_> = (0..1000).map(stranger).collect();
    for (number, key) in (0..).zip(&keys) {
        let entry = FlowEntry::new(1, 2, 3, number);
        assert!(dataplane.put_flow_back(Table::Transition, key, entry)?);
    }
    for most in [0, 1, 64, 5000] {
        let (mut seen, mut from, mut calls) = (Vec::new(), None, 0);
        loop {
            let batch = dataplane.flows(Walked::FIRST, from, most)?;
            calls += 1;
            assert!(batch.entries.len() <= most.max(16) as usize, "{most}");
            seen.extend(batch.entries.into_iter().map(|(key, _)| key));
            match batch.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        assert!(
            most >= 1000 || calls > 1000 / most.max(16),
            "{most}: {calls}"
        );
        assert_eq!(seen.len(), keys.len(), "{most}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), keys, "{most}");
    }
    Ok(())
}

#[test]
fn an_entry_is_taken_once_and_put_back_only_where_there_is_none() -> Result<()> {
    let Some(mut bed) = Motion::new(|_| {})? else {
        return Ok(());
    };
    let dataplane = bed.bed().dataplane();
    let (key, other) = (stranger(1), stranger(2));
    let (old, new) = (FlowEntry::new(1, 0, 0, 5), FlowEntry::new(2, 0, 0, 6));
    for table in [Table::Transition, Table::Always] {
        assert!(dataplane.put_flow_back(table, &key, old)?);
        assert!(!dataplane.put_flow_back(table, &key, new)?, "there is one");
        assert_eq!(dataplane.take_flow(table, &other)?, None);
        assert_eq!(dataplane.take_flow(table, &key)?, Some(old));
        assert_eq!(dataplane.take_flow(table, &key)?, None);
        assert_eq!(dataplane.flows(ipv4(table), None, 16)?.entries, []);
    }
    Ok(())
}

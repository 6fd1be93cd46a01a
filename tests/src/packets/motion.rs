//! Rows of the packet rules: a slot, its backends, perhaps a flow entry and a packet in; verdict, bytes,
//! flow tables and every counter out.
//!
//! Slots, backends and entries are written past every plan, so that each row stands for itself. The
//! service has the backends 1, 2 and 3, and all its slots are alike.

use std::{collections::BTreeMap, ops::RangeInclusive};

use anyhow::{Context as _, Result, ensure};
use lb_common::{
    abi::{
        backend::{Backend, BackendState},
        counters::{BackendCounters, DropReason},
        flow::{FlowCounters, FlowEntry, FlowKeyV4, TICKS},
        service::{ServiceId, ServiceRecord, tracking},
        settings::{Settings, feature},
        slot::Slot,
    },
    endian::Be16,
    hash::HashKey,
    wire::tcp::Flags,
};
use lb_userspace::{
    dataplane::{Dataplane, Table},
    plan::{BackendIndex, FlowKey, RecordIndex, SlotIndex, Write},
};

use super::{Bed, CLIENT_MAC, Expect, Fixture, Outcome, Segment, Side, backend_mac};

const SERVICE: &str = r#"
[[service]]
name = "web"
listen = ["tcp://10.77.0.80:80", "udp://10.77.0.80:80"]
forward = "dsr"
table_size = 61
[[service.backend]]
name = "b1"
address = "10.77.2.11"
[[service.backend]]
name = "b2"
address = "10.77.2.12"
[[service.backend]]
name = "b3"
address = "10.77.2.13"
"#;

const NAMES: [&str; 3] = ["b1", "b2", "b3"];

/// Where the range of slots stands that the service leaves.
const OLD_FIRST: u32 = 1 << 15;
/// How many slots that range has.
pub const OLD_COUNT: u32 = 67;

/// The generation of every backend.
const GENERATION: u16 = 7;

/// A living backend that takes every flow.
pub const ALIVE: BackendState = BackendState::new(BackendState::IN_USE);
/// One that keeps its flows and takes no others.
pub const DRAINING: BackendState =
    BackendState::new(BackendState::IN_USE | BackendState::NO_NEW_FLOWS);
/// One that takes nothing.
pub const DEAD: BackendState = BackendState::new(BackendState::IN_USE | BackendState::DEAD);
/// None: the index is free.
pub const FREE: BackendState = BackendState(0);

/// One row of the rules.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it shows.
    pub name: &'static str,
    /// Every slot of the service.
    pub slot: Slot,
    /// While the table is resized: the range being left.
    pub old: Option<Old>,
    /// Whether the service is always tracked.
    pub always: bool,
    /// The state of backends 1, 2 and 3.
    pub backends: [BackendState; 3],
    /// The entry that the flow has, in the service's own table.
    pub entry: Option<Entry>,
    /// The entry that the flow has in the other table.
    pub elsewhere: Option<Entry>,
    /// What comes in.
    pub packet: Kind,
    /// The client's port.
    pub port: u16,
    /// The backend that must get it; `None`: dropped, no backend.
    pub to: Option<u16>,
    /// The entry that the flow must have then.
    pub after: Option<Entry>,
    /// The one in the other table.
    pub elsewhere_after: Option<Entry>,
    /// What must be counted for the service, besides the look-up.
    pub counts: Counts,
}

/// What a row has unless it says otherwise.
pub const ROW: Row = Row {
    name: "",
    slot: Slot::UNSET,
    old: None,
    always: false,
    backends: [ALIVE; 3],
    entry: None,
    elsewhere: None,
    packet: Kind::Ack,
    port: 40_000,
    to: None,
    after: None,
    elsewhere_after: None,
    counts: Counts::FOUND,
};

/// A range of slots being left.
#[derive(Clone, Debug)]
pub struct Old {
    /// The key that its slots are found by; `None`: the same as for the range in force.
    pub hash_key: Option<HashKey>,
    /// Its slots.
    pub slots: Vec<Slot>,
}

/// A client's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first of a TCP connection.
    Syn,
    /// Any other TCP segment.
    Ack,
    /// One that ends a connection.
    Fin,
    /// One that breaks it.
    Rst,
    /// A UDP datagram.
    Datagram,
}

/// A flow entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The backend's local index.
    pub backend: u16,
    /// The generation.
    pub generation: u16,
    /// The flags.
    pub flags: u8,
    /// When the flow was last seen.
    pub stamp: Stamp,
}

/// When a flow was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// In this tick.
    Now,
    /// So many ticks ago.
    Ago(u32),
}

/// What is counted for a service, besides that it looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// It looked; false: the slot is stable.
    pub looked: bool,
    /// It found no entry that holds.
    pub missed: bool,
    /// It made one.
    pub inserted: bool,
    /// It could not.
    pub refused: bool,
}

/// A bed whose service is set row by row.
pub struct Motion {
    bed: Bed,
    service: ServiceId,
    index: RecordIndex,
    record: ServiceRecord,
}

impl Motion {
    /// Loads the program; `change` what it is loaded with. `None`: skipped, and said why.
    pub fn new(change: impl FnOnce(&mut Settings)) -> Result<Option<Self>> {
        let Some(mut bed) = Bed::new(SERVICE)? else {
            return Ok(None);
        };
        let service = bed.image().service_ids().next().context("no service")?;
        let held = bed.image().service(service).context("not published")?;
        let (index, record) = (held.record_index, held.record);
        for (local, name) in (1..).zip(NAMES) {
            let BackendIndex(index) = bed.index(name)?;
            ensure!(index + 1 - record.backends_first == local, "{name}");
        }
        let mut settings = *bed.dataplane().settings();
        settings.features |= feature::TRANSITION | feature::ALWAYS;
        change(&mut settings);
        bed.dataplane().reload(settings)?;
        Ok(Some(Self {
            bed,
            service,
            index,
            record,
        }))
    }

    /// The bed.
    pub const fn bed(&mut self) -> &mut Bed {
        &mut self.bed
    }

    /// The service's id.
    pub const fn service(&self) -> ServiceId {
        self.service
    }

    /// The key of the range in force.
    pub const fn hash_key(&self) -> HashKey {
        self.record.hash_key
    }

    /// Sets the row up, runs its packet and compares everything.
    ///
    /// # Panics
    /// Where anything differs.
    pub fn check(&mut self, row: &Row) -> Result<()> {
        self.set(row)?;
        let key = row.key();
        let own = row.own_table();
        let before = [self.put(own, row, row.entry)?, {
            self.put(other(own), row, row.elsewhere)?
        }];
        let first = Dataplane::now_ticks();
        self.fixture(row).check(&mut self.bed)?;
        // The program's clock may be some milliseconds behind.
        let now = first - 1..=Dataplane::now_ticks();

        for (table, wanted, before) in [
            (own, row.after, before[0]),
            (other(own), row.elsewhere_after, before[1]),
        ] {
            let flows = self.bed.flows(table)?;
            let name = row.name;
            match wanted {
                None => assert_eq!(flows, BTreeMap::new(), "{name}: {table:?}"),
                Some(wanted) => {
                    assert_eq!(flows.len(), 1, "{name}: {table:?}: {flows:?}");
                    let entry = *flows
                        .get(&key)
                        .with_context(|| format!("{name}: no entry"))?;
                    wanted.assert(name, entry, before, &now);
                }
            }
        }
        self.assert_counts(row, &now)
    }

    /// Writes slots, backends and record, and empties tables and counters.
    pub fn set(&mut self, row: &Row) -> Result<()> {
        let mut record = self.record;
        record.tracking = if row.always {
            tracking::ALWAYS
        } else {
            tracking::TRANSITION
        };
        let mut writes = Vec::new();
        if let Some(Old { hash_key, slots }) = &row.old {
            record.old_slots_first = OLD_FIRST;
            record.old_slots_count = OLD_COUNT;
            record.old_hash_key = hash_key.unwrap_or(record.hash_key);
            ensure!(slots.len() == OLD_COUNT as usize, "the old range's size");
            writes.push(Write::Slots {
                first: SlotIndex(OLD_FIRST),
                slots: slots.clone(),
            });
        }
        writes.push(Write::Record {
            index: self.index,
            record,
        });
        writes.push(Write::Slots {
            first: SlotIndex(record.slots_first),
            slots: vec![row.slot; record.slots_count as usize],
        });
        for (offset, state) in (0..).zip(row.backends) {
            let index = BackendIndex(record.backends_first + offset);
            let entry = if state == FREE {
                Backend::default()
            } else {
                Backend {
                    state: state.0,
                    generation: GENERATION,
                    ..*self.bed.image().backend(index).context("no backend")?
                }
            };
            let entry = Box::new(entry);
            writes.push(Write::Backend { index, entry });
        }
        self.bed.force(writes)?;
        for table in [Table::Transition, Table::Always] {
            for key in self.bed.flows(table)?.keys() {
                self.bed.dataplane().take_flow(table, key)?;
            }
        }
        let service = self.service;
        Ok(self.bed.dataplane().reset_flow_counters(service)?)
    }

    /// Puts an entry where the row's flow has it. Returns the word.
    pub fn put(&mut self, table: Table, row: &Row, entry: Option<Entry>) -> Result<FlowEntry> {
        let Some(entry) = entry else {
            return Ok(FlowEntry::default());
        };
        let word = entry.word(Dataplane::now_ticks());
        let fresh = self
            .bed
            .dataplane()
            .put_flow_back(table, &row.key(), word)?;
        ensure!(fresh, "there is an entry already");
        Ok(word)
    }

    /// The packet and what must become of it.
    pub fn fixture(&self, row: &Row) -> Fixture {
        let segment = self.segment(row);
        let expect = match row.to {
            None => Expect::untouched(Outcome::Drop(DropReason::NoBackend)),
            Some(backend) => {
                let octet = 10 + backend as u8;
                let out = segment
                    .clone()
                    .link(self.bed.mac(Side::Back), backend_mac(octet))
                    .ttl(63);
                let counted = BackendCounters {
                    packets: 1,
                    bytes: segment.ip_length(),
                    new_flows: u64::from(row.is_new_flow()),
                };
                Expect {
                    outcome: Outcome::Redirect,
                    frame: Some(out.bytes()),
                    counted: Some((NAMES[usize::from(backend) - 1], counted)),
                }
            }
        };
        Fixture {
            name: row.name,
            from: Side::Front,
            packet: segment.bytes(),
            expect,
        }
    }

    /// The row's packet.
    pub fn segment(&self, row: &Row) -> Segment {
        let (source, target) = (format!("10.77.1.10:{}", row.port), "10.77.0.80:80");
        let segment = match row.packet {
            Kind::Syn => Segment::new(&source, target, Flags::SYN),
            Kind::Ack => Segment::new(&source, target, Flags::ACK),
            Kind::Fin => Segment::new(&source, target, Flags::FIN | Flags::ACK),
            Kind::Rst => Segment::new(&source, target, Flags::RST),
            Kind::Datagram => Segment::datagram(&source, target, b"data"),
        };
        segment.link(CLIENT_MAC, self.bed.mac(Side::Front))
    }

    fn assert_counts(&mut self, row: &Row, now: &RangeInclusive<u64>) -> Result<()> {
        let service = self.service;
        let actual = self.bed.dataplane().flow_counters(service)?;
        let Counts {
            looked,
            missed,
            inserted,
            refused,
        } = row.counts;
        let wanted = FlowCounters {
            lookups: u64::from(looked),
            misses: u64::from(missed),
            inserts: u64::from(inserted),
            refused: u64::from(refused),
            last_refused: actual.last_refused,
        };
        assert_eq!(actual, wanted, "{}: flow counters", row.name);
        if refused {
            assert!(
                now.contains(&actual.last_refused),
                "{}: {actual:?}",
                row.name
            );
        } else {
            assert_eq!(actual.last_refused, 0, "{}", row.name);
        }
        Ok(())
    }
}

impl Row {
    /// The flow's key.
    pub fn key(&self) -> FlowKey {
        FlowKey::V4(FlowKeyV4 {
            source: Side::Front.network(10).into(),
            destination: std::net::Ipv4Addr::new(10, 77, 0, 80).into(),
            source_port: Be16::new(self.port),
            destination_port: Be16::new(80),
            protocol: if self.packet == Kind::Datagram { 17 } else { 6 },
            reserved: [0; 3],
        })
    }

    /// The table of its service.
    pub const fn own_table(&self) -> Table {
        if self.always {
            Table::Always
        } else {
            Table::Transition
        }
    }

    /// SYNs are new flows; of UDP those that are remembered and were not.
    fn is_new_flow(&self) -> bool {
        match self.packet {
            Kind::Syn => true,
            Kind::Datagram => self.after != self.entry && self.counts.missed,
            Kind::Ack | Kind::Fin | Kind::Rst => false,
        }
    }
}

impl Entry {
    /// One that was made just now, of the backend's generation.
    pub const fn new(backend: u16, flags: u8) -> Self {
        Self {
            backend,
            generation: GENERATION,
            flags,
            stamp: Stamp::Now,
        }
    }

    /// The same, last seen so many ticks ago.
    pub const fn ago(self, ticks: u32) -> Self {
        Self {
            stamp: Stamp::Ago(ticks),
            ..self
        }
    }

    /// The same, of the backend that had the index before.
    pub const fn of_old_generation(self) -> Self {
        Self {
            generation: GENERATION - 1,
            ..self
        }
    }

    fn word(self, now: u64) -> FlowEntry {
        let age = match self.stamp {
            Stamp::Now => 0,
            Stamp::Ago(ticks) => u64::from(ticks),
        };
        FlowEntry::new(
            self.backend,
            self.generation,
            self.flags,
            now + u64::from(TICKS) - age,
        )
    }

    /// `before`: the word that was there; it must be there still where the stamp is old.
    fn assert(self, name: &str, entry: FlowEntry, before: FlowEntry, now: &RangeInclusive<u64>) {
        let parts = |e: FlowEntry| (e.backend(), e.generation(), e.flags());
        assert_eq!(
            parts(entry),
            (self.backend, self.generation, self.flags),
            "{name}: backend, generation, flags"
        );
        match self.stamp {
            Stamp::Ago(_) => assert_eq!(entry, before, "{name}: the entry is not written"),
            Stamp::Now => assert!(
                now.clone()
                    .any(|tick| tick as u32 % TICKS == entry.last_seen()),
                "{name}: stamp {} at {now:?}",
                entry.last_seen()
            ),
        }
    }
}

impl Counts {
    /// An entry that holds, or that names a dead backend.
    pub const FOUND: Self = Self {
        looked: true,
        missed: false,
        inserted: false,
        refused: false,
    };
    /// None, and none made.
    pub const MISSED: Self = Self {
        missed: true,
        ..Self::FOUND
    };
    /// None, and one made.
    pub const INSERTED: Self = Self {
        inserted: true,
        ..Self::MISSED
    };
    /// None, and none could be made.
    pub const REFUSED: Self = Self {
        refused: true,
        ..Self::MISSED
    };
    /// Not looked.
    pub const NONE: Self = Self {
        looked: false,
        ..Self::FOUND
    };
}

const fn other(table: Table) -> Table {
    match table {
        Table::Transition => Table::Always,
        Table::Always => Table::Transition,
    }
}

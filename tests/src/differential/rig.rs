//! The program, loaded for one setup, with its tables in the setup's state.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use aya::{
    TestRun as _, TestRunOptions,
    maps::{MapData, RingBuf},
};
use lb_common::abi::{
    backend::{Backend, BackendState, NextHop},
    counters::{BackendCounters, Counter},
    flow::{FlowCounters, FlowEntry},
    names,
    port::MAX_PORTS,
    service::ServiceId,
    settings::feature,
    slot::Slot,
};
use lb_userspace::{
    config,
    dataplane::{Dataplane, DryRun, Options, Table},
    model::{Health, Limits, Model},
    plan::{self, BackendIndex, Desired, Image, Phase, Plan, Range, Seed, SlotIndex, View, Write},
};

use super::{
    clock,
    counters::{Changes, Counters},
    keys::{self, SEED},
    seats::Seats,
    setup::{BackendSetup, FlowSetup, HashSetup, ServiceSetup, Setup, WaySetup},
    site::{Side, Site},
};
use crate::sweep;

/// Where ranges of slots that are left begin, one a service.
const OLD_FIRST: u32 = 1 << 14;
/// Room for each.
const OLD_ROOM: u32 = 1 << 10;

/// Room for whatever a program puts before a frame.
const HEADROOM: usize = 256;

/// The program and its tables; all gone when dropped.
pub(super) struct Rig<'a> {
    site: &'a Site,
    instance: String,
    // Taken out only to be removed.
    dataplane: Option<Dataplane>,
    image: Image,
    seats: Seats,
    filled_in: u64,
    punts: RingBuf<MapData>,
    punts_are_read: bool,
    verdicts: Counters<1>,
    backends: Counters<3>,
    flows: Counters<5>,
    out: Vec<u8>,
}

/// What a run left behind, but for the flow tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    /// The program's return code.
    pub action: u32,
    /// The frame after it.
    pub frame: Vec<u8>,
    /// Changes of `COUNTERS`.
    pub verdicts: Changes<1>,
    /// Changes of `BACKEND_COUNTERS`.
    pub backends: Changes<3>,
    /// Changes of `FLOW_COUNTERS`; the last word of a change means nothing.
    pub flows: Changes<5>,
    /// What was given to the daemon.
    pub punts: Vec<Vec<u8>>,
}

impl<'a> Rig<'a> {
    /// Loads the program for a setup. To be called inside the site's host. `None`: the configuration is
    /// not valid.
    pub(super) fn new(site: &'a Site, setup: &Setup) -> Result<Option<Self>> {
        let instance = sweep::unique_name();
        let Some(model) = model(setup, &instance) else {
            return Ok(None);
        };
        let mut settings = plan::settings(&model);
        [settings.syn_inserts, settings.other_inserts] = setup.inserts;
        let mut left = setup
            .services
            .iter()
            .filter_map(|service| service.old.as_ref());
        if left.any(|old| old.hash != HashSetup::FiveTuple) {
            settings.features |= feature::HASH_SOURCE;
        }
        let options = Options {
            bpffs: &model.daemon.bpffs,
            instance: &instance,
            limits: model.limits,
            settings,
        };
        let (mut dataplane, mut image) = Dataplane::open(options)?;
        let result = Self::fill(site, setup, &model, &mut dataplane, &mut image);
        let (seats, filled_in) = match result {
            Ok(filled) => filled,
            Err(error) => {
                dataplane.remove()?;
                return Err(error);
            }
        };
        let maps = PathBuf::from(sweep::PINS).join(&instance).join("maps");
        let limits = model.limits;
        let counters = Counter::all().map(|counter| counter.index() + 1).max();
        let counters = counters.unwrap_or(Counter::COUNT);
        let punts = dataplane.take_punts().context("the ring buffer")?;
        Ok(Some(Self {
            site,
            dataplane: Some(dataplane),
            image,
            seats,
            filled_in,
            punts,
            punts_are_read: setup.punts_are_read,
            verdicts: Counters::open::<u64>(&maps.join(names::COUNTERS), counters)?,
            backends: Counters::open::<BackendCounters>(
                &maps.join(names::BACKEND_COUNTERS),
                limits.backends,
            )?,
            flows: Counters::open::<FlowCounters>(
                &maps.join(names::FLOW_COUNTERS),
                limits.services,
            )?,
            out: Vec::new(),
            instance,
        }))
    }

    fn fill(
        site: &Site,
        setup: &Setup,
        model: &Model,
        dataplane: &mut Dataplane,
        image: &mut Image,
    ) -> Result<(Seats, u64)> {
        let mut ports = BTreeMap::new();
        for side in Side::ATTACHED {
            ports.insert(side, dataplane.assign_port(site.device(side))?);
        }
        let mut views = BTreeMap::new();
        for (setup, service) in setup.services.iter().zip(&model.services) {
            for (setup, backend) in setup.backends.iter().zip(&service.backends) {
                let own = Side::Back.address(1, backend.address.is_ipv4());
                let view = View {
                    health: Health::Up,
                    next_hop: Some(NextHop::new([2, 0, 0, 0, 2, 99], ports[&Side::Back])),
                    source: Some(own),
                    mtu: (setup.mtu != 0).then_some(setup.mtu),
                };
                views.insert(service.key(backend), view);
            }
        }
        let desired = Desired {
            model,
            views: &views,
            overrides: &BTreeMap::new(),
            seed: &Seed::derive(model.daemon.seed.as_deref()),
            progress: plan::Progress::none(),
            scope: plan::Scope::All,
        };
        let plan = plan::reconcile(&desired, image)?;
        dataplane.apply(&plan, image)?;
        let seats = Seats::of(setup, model, image)?;
        let writes = writes(setup, &seats, &ports, image)?;
        dataplane.apply(&Plan::of(vec![Phase(writes)]), image)?;
        let mut facing = BTreeSet::from([ports[&Side::Back]]);
        if setup.front_faces_backends {
            facing.insert(ports[&Side::Front]);
        }
        dataplane.face_backends(&facing);
        let now = clock::tick();
        for flow in setup.remembered() {
            let entry = entry(setup, &seats, flow, now);
            let key = keys::flow_key(flow);
            if let Some(key) = key {
                dataplane.put_flow_back(table(flow.always), &key, entry)?;
            }
        }
        Ok((seats, now))
    }

    /// Where the plan put backends.
    pub(super) const fn seats(&self) -> &Seats {
        &self.seats
    }

    /// The tick that the setup's flows are counted back from.
    pub(super) const fn filled_in(&self) -> u64 {
        self.filled_in
    }

    /// What the maps hold.
    pub(super) const fn image(&self) -> &Image {
        &self.image
    }

    /// The data path, for its flow tables.
    ///
    /// # Panics
    /// Never: it is only taken when the rig goes.
    pub(super) fn dataplane(&self) -> &Dataplane {
        self.dataplane.as_ref().expect("taken only in drop")
    }

    /// What would become of a packet. To be called inside the site's host.
    pub(super) fn ask(&mut self, side: Side, frame: &[u8]) -> Result<DryRun> {
        let ifindex = self.site.device(side).ifindex;
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        Ok(dataplane.dry_run(frame, ifindex)?)
    }

    /// Runs one packet. To be called inside the site's host.
    pub(super) fn run(&mut self, side: Side, frame: &[u8]) -> Result<Ran> {
        let context = xdp_md(frame.len() as u32, self.site.device(side).ifindex);
        self.out.resize(frame.len() + HEADROOM, 0);
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        let result = dataplane
            .program()?
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut self.out),
                ctx_in: Some(&context),
                ..TestRunOptions::default()
            })
            .with_context(|| format!("BPF_PROG_TEST_RUN of {} bytes", frame.len()))?;
        let length = result.data_size_out as usize;
        let mut punts = Vec::new();
        if self.punts_are_read {
            while let Some(punt) = self.punts.next() {
                punts.push(punt.to_vec());
            }
        }
        Ok(Ran {
            action: result.return_value,
            frame: self.out.get(..length).unwrap_or_default().to_vec(),
            verdicts: self.verdicts.changes()?,
            backends: self.backends.changes()?,
            flows: self.flows.changes()?,
            punts,
        })
    }
}

impl Drop for Rig<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.dataplane.take().map(Dataplane::remove) {
            eprintln!("{}: not removed: {error}", self.instance);
        }
    }
}

/// A flow table.
pub(super) const fn table(always: bool) -> Table {
    if always {
        Table::Always
    } else {
        Table::Transition
    }
}

/// The valid configuration, if it is one.
fn model(setup: &Setup, instance: &str) -> Option<Model> {
    let (daemon, services) = setup.toml();
    let vlan = if setup.vlan { "vlan = true\n" } else { "" };
    let interfaces: String = Side::ATTACHED
        .iter()
        .map(|side| format!("[[interface]]\nname = \"{}\"\n{vlan}", side.name()))
        .collect();
    let text = format!(
        "[daemon]\ninstance = \"{instance}\"\nseed = \"{SEED}\"\n{daemon}{interfaces}{services}"
    );
    let mut model = match config::parse("setup", &text) {
        Ok(parsed) => parsed.model,
        Err(error) => {
            if std::env::var_os("SLUICE_MODEL_VERBOSE").is_some() {
                eprintln!("{error:?}\n{text}");
            }
            return None;
        }
    };
    model.limits = Limits {
        services: 8,
        // Four services of at most eight.
        backends: 32,
        slots: 1 << 15,
        flows_ipv4: setup.room,
        flows_ipv6: setup.room,
    };
    Some(model)
}

/// Everything that no plan leads to.
fn writes(
    setup: &Setup,
    seats: &Seats,
    ports: &BTreeMap<Side, u16>,
    image: &Image,
) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    for (number, service) in setup.services.iter().enumerate() {
        let id = seats.service(number);
        let held = image.service(id).context("not published")?;
        let mut record = held.record;
        if let Some(old) = &service.old {
            record.old_slots_first = OLD_FIRST + OLD_ROOM * number as u32;
            record.old_slots_count = old.size;
            keys::set_old_hash(&mut record, old);
            writes.push(Write::Slots {
                first: SlotIndex(record.old_slots_first),
                slots: slots(seats, number, &old.slots, old.size),
            });
            writes.push(Write::Record {
                index: held.record_index,
                record,
            });
        }
        if !service.slots.is_empty() {
            writes.push(Write::Slots {
                first: SlotIndex(record.slots_first),
                slots: slots(seats, number, &service.slots, record.slots_count),
            });
        }
        for (backend, setup) in (1..).zip(&service.backends) {
            let index = Range::backends(&record).backend(seats.local(number, backend));
            let index = index.context("a seat outside of the range")?;
            let entry = image.backend(index).context("no entry")?;
            writes.push(backend_write(index, entry, setup, ports));
        }
    }
    Ok(writes)
}

fn backend_write(
    index: BackendIndex,
    entry: &Backend,
    setup: &BackendSetup,
    ports: &BTreeMap<Side, u16>,
) -> Write {
    let mut flags = BackendState::IN_USE;
    for (set, flag) in [
        (setup.dead, BackendState::DEAD),
        (setup.drained, BackendState::NO_NEW_FLOWS),
    ] {
        flags |= if set { flag } else { 0 };
    }
    let mac = super::seats::mac(index);
    let next_hop = match setup.way {
        WaySetup::Back => NextHop::new(mac, ports[&Side::Back]),
        WaySetup::Front => NextHop::new(mac, ports[&Side::Front]),
        WaySetup::Unresolved => NextHop::UNRESOLVED,
        WaySetup::Nowhere => NextHop::new(mac, MAX_PORTS as u16 - 1),
    };
    let entry = if setup.freed {
        Backend {
            generation: setup.generation,
            ..Backend::default()
        }
    } else {
        Backend {
            state: flags | u32::from(setup.admit) << 16,
            generation: setup.generation,
            next_hop: next_hop.0,
            ..*entry
        }
    };
    Write::Backend {
        index,
        entry: Box::new(entry),
    }
}

/// A table of so many slots.
fn slots(seats: &Seats, service: usize, pattern: &[[u16; 2]], count: u32) -> Vec<Slot> {
    let slot = |[current, previous]: [u16; 2]| {
        let local = |number| seats.local(service, number);
        Slot::transition(local(current), local(previous))
    };
    let slots = pattern.iter().cycle().take(count as usize);
    slots.map(|pair| slot(*pair)).collect()
}

fn entry(setup: &Setup, seats: &Seats, flow: &FlowSetup, now: u64) -> FlowEntry {
    let service: Option<&ServiceSetup> = setup.services.get(flow.service);
    let generation = service
        .and_then(|service| service.backend(flow.backend))
        .map_or(0, |backend| backend.generation);
    let mut flags = 0;
    for (set, flag) in [
        (flow.established, FlowEntry::ESTABLISHED),
        (flow.closing, FlowEntry::CLOSING),
    ] {
        flags |= if set { flag } else { 0 };
    }
    FlowEntry::new(
        seats.local(flow.service, flow.backend),
        generation.wrapping_sub(flow.generations_ago),
        flags,
        now.wrapping_sub(u64::from(flow.idle)),
    )
}

/// The kernel's `struct xdp_md`: the frame from 0 to `length`, come in on `ifindex`.
fn xdp_md(length: u32, ifindex: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&length.to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

/// The id of a service in the maps, as the counters name it.
pub(super) const fn counter_of(ServiceId(id): ServiceId) -> u32 {
    id
}

//! The only module that touches aya: the program, its maps, its links, their pins.
//!
//! It carries out what `plan` decided and decides nothing itself. [`Dataplane`] is owned by the
//! controller; nobody else writes maps.

mod attach;
pub mod costs;
mod decap;
mod dry_run;
mod error;
mod flows;
mod host;
mod lookup;
mod mapped;
mod maps;
mod pins;
mod ports;
mod program;
pub mod punt;
mod refusal;
mod sys;
pub mod trace;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
    programs::Xdp,
};
use lb_common::abi::{
    counters::{BackendCounters, Counter},
    names,
    service::ServiceId,
    settings::{Settings, TRACE_ALL, feature},
};
use tokio::sync::mpsc;

pub use self::{
    decap::{
        Decap, DecapCounts, DecapOptions, DecapProgram, decap_counts, decap_owner, remove_decap,
    },
    dry_run::DryRun,
    error::Error,
    flows::{Batch, Cursor, IpVersion, Table, Walked},
    host::{check as check_host, check_for_decap as check_host_for_decap},
    ports::Device,
};
use self::{
    flows::Flows,
    maps::Maps,
    pins::{Kind, Pins},
    ports::Ports,
    program::{Found, ORDINARY, Programs, TRACED},
};
use crate::{
    model::{Limits, XdpMode},
    plan::{BackendIndex, Image, Plan, RawMaps},
};

/// Trace records a second on each CPU, so that a flood cannot drown the daemon.
const TRACE_RATE: u32 = 1000;

/// The running program and everything that belongs to it.
pub struct Dataplane {
    pins: Pins,
    limits: Limits,
    settings: Settings,
    maps: Maps,
    flows: Flows,
    ports: Ports,
    // Holds the program that is attached, and what of the object has no other owner.
    running: Ebpf,
    // While somebody traces: the program that is attached in the other's place.
    tracing: Option<Ebpf>,
    // A copy that writes no map, once somebody asked for it.
    dry: Option<Ebpf>,
    adopted: bool,
}

/// What [`Dataplane::open`] is given.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Where the BPF file system is mounted.
    pub bpffs: &'a Path,
    /// The instance's name.
    pub instance: &'a str,
    /// Map sizes.
    pub limits: Limits,
    /// What the program is loaded with.
    pub settings: Settings,
}

impl Dataplane {
    /// Loads the program on the instance's maps: those that an earlier daemon left, or new ones.
    /// Nothing is attached yet. Returns what the maps hold. Where flows may be left of services that
    /// were always tracked, the program goes on looking for them: see [`Self::settings`].
    ///
    /// # Errors
    /// Any [`Error`]. What was already there stays as it was; what was made is removed.
    pub fn open(options: Options<'_>) -> Result<(Self, Image), Error> {
        let Options {
            bpffs,
            instance,
            limits,
            mut settings,
        } = options;
        let pins = Pins::lock(Kind::Balancer, bpffs, instance)?;
        let adopted = match program::inspect(&pins, limits)? {
            Found::Adoptable => true,
            Found::Nothing => {
                pins.clear()?;
                false
            }
        };
        if adopted && program::has_always_table(&pins)? {
            settings.features |= feature::TRANSITION | feature::ALWAYS;
        }
        match Self::load(&pins, limits, &settings, adopted) {
            Ok((running, mut maps, flows)) => {
                if adopted {
                    // What the earlier daemon freed last may still be in use by a program.
                    maps.barrier()?;
                }
                let image = image(maps.read())?;
                let dataplane = Self {
                    pins,
                    limits,
                    settings,
                    maps,
                    flows,
                    ports: Ports::default(),
                    running,
                    tracing: None,
                    dry: None,
                    adopted,
                };
                Ok((dataplane, image))
            }
            Err(error) => {
                if !adopted {
                    pins.remove()?;
                }
                Err(error)
            }
        }
    }

    fn load(
        pins: &Pins,
        limits: Limits,
        settings: &Settings,
        adopted: bool,
    ) -> Result<(Ebpf, Maps, Flows), Error> {
        let mut ebpf = program::open(pins, limits, settings, false)?;
        program::loaded(&mut ebpf, names::PROGRAM)?;
        let maps = Maps::take(&mut ebpf)?;
        let flows = Flows::take(&mut ebpf)?;
        if !adopted {
            program::stamp(&mut ebpf, pins)?;
        }
        Ok((ebpf, maps, flows))
    }

    /// Whether an earlier daemon's maps were taken over.
    pub const fn adopted(&self) -> bool {
        self.adopted
    }

    /// Carries out a plan and mirrors it in the image.
    ///
    /// # Errors
    /// The first write that fails; the image then holds what was written before it.
    pub fn apply(&mut self, plan: &Plan, image: &mut Image) -> Result<(), Error> {
        for (number, phase) in plan.phases.iter().enumerate() {
            if number > 0 {
                self.maps.barrier()?;
            }
            for write in &phase.0 {
                self.maps.write(write)?;
                image.apply(write);
            }
        }
        Ok(())
    }

    /// Waits until no packet is being handled that began before: an RCU grace period.
    ///
    /// # Errors
    /// The map's.
    pub fn barrier(&mut self) -> Result<(), Error> {
        self.maps.barrier()
    }

    /// Gives an interface its port; packets can leave by it from now on.
    ///
    /// # Errors
    /// [`Error::TooManyPorts`], [`Error::IngressRowFull`], or the map's.
    pub fn assign_port(&mut self, device: &Device) -> Result<u16, Error> {
        self.ports.assign(&mut self.maps, device)
    }

    /// The port of an interface that has one.
    pub fn port(&self, ifindex: u32) -> Option<u16> {
        self.ports.port(ifindex)
    }

    /// The interface that has a port under this name; `None`: there is none, or it is gone.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.ports.device(name)
    }

    /// The names of the interfaces that have a port, those that are gone included.
    pub fn interfaces(&self) -> Vec<String> {
        self.ports.names()
    }

    /// Attaches the program to an interface that has a port, or puts it back where somebody took it
    /// away.
    ///
    /// # Errors
    /// [`Error::InterfaceBusy`], [`Error::NoNative`], [`Error::Attach`], or a pin's.
    pub fn attach(&mut self, device: &Device, mode: XdpMode) -> Result<(), Error> {
        let mut programs = in_place(&mut self.tracing, &mut self.running);
        self.ports.attach(&self.pins, &mut programs, device, mode)?;
        let pin = self.pins.program();
        let program = program::loaded(&mut self.running, names::PROGRAM)?;
        pins::replace(&pin, |path| Ok(program.pin(path)?))
    }

    /// Whether an interface has the program for frames that lie in several buffers: its driver takes no
    /// other at its MTU.
    pub fn takes_frags(&self, name: &str) -> bool {
        self.ports.takes_frags(name)
    }

    /// Notes that an interface is gone. It keeps its port: published next hops name it.
    ///
    /// # Errors
    /// The pin's.
    pub fn lose(&mut self, name: &str) -> Result<(), Error> {
        self.ports.lose(&self.maps, &self.pins, name)
    }

    /// Detaches the program from an interface, and frees its port.
    ///
    /// # Errors
    /// The pin's.
    pub fn detach(&mut self, name: &str) -> Result<(), Error> {
        self.ports.detach(&self.maps, &self.pins, name)
    }

    /// Removes links of interfaces other than the attached ones: left by an earlier daemon.
    ///
    /// # Errors
    /// The file system's.
    pub fn forget_other_links(&mut self, keep: &BTreeSet<String>) -> Result<(), Error> {
        for name in self.pins.linked() {
            if !keep.contains(&name) {
                log::info!("interface {name} is no longer configured: detached");
                pins::remove_file(&self.pins.link(&name))?;
            }
        }
        Ok(())
    }

    /// Makes routes that lead out of these interfaces, by index, lead out of ports: VLAN devices on top of
    /// interfaces that have one.
    ///
    /// # Errors
    /// [`Error::IngressRowFull`].
    pub fn alias(&mut self, aliases: &BTreeMap<u32, u16>) -> Result<(), Error> {
        self.ports.alias(&self.maps, aliases)
    }

    /// Says on which ports replies of `dnat` backends come in.
    pub fn face_backends(&mut self, facing: &BTreeSet<u16>) {
        self.ports.face_backends(&self.maps, facing);
    }

    /// What the running program was loaded with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Loads the program with other settings beside the running one, on the same maps, and puts it
    /// into every link. No packet is missed.
    ///
    /// # Errors
    /// Where the program does not load; the old one then stays.
    pub fn reload(&mut self, settings: Settings) -> Result<(), Error> {
        let mut next = program::open(&self.pins, self.limits, &settings, false)?;
        let mut programs = Programs::new(&mut next, &ORDINARY);
        programs.get(false)?;
        self.ports.load_for_all(&mut programs)?;
        // Tables that were not used before are other maps now.
        let flows = Flows::take(&mut next)?;
        self.maps.retake(&mut next)?;
        let mut programs = Programs::new(&mut next, &ORDINARY);
        if self.tracing.is_none() {
            self.ports.replace_program(&mut programs)?;
        }
        let pin = self.pins.program();
        let program = programs.get(false)?;
        pins::replace(&pin, |path| Ok(program.pin(path)?))?;
        self.running = next;
        self.flows = flows;
        self.dry = None;
        self.settings = settings;
        Ok(())
    }

    /// Puts the tracing program into every link. `service`: only its packets.
    ///
    /// # Errors
    /// [`Error::TraceBusy`], or where the program does not load.
    pub fn start_trace(
        &mut self,
        service: Option<ServiceId>,
        lines: mpsc::Sender<String>,
    ) -> Result<trace::Records, Error> {
        if self.tracing.is_some() {
            return Err(Error::TraceBusy);
        }
        let settings = Settings {
            trace_service: service.map_or(TRACE_ALL, |service| service.0),
            trace_rate: TRACE_RATE,
            ..self.settings
        };
        let mut ebpf = program::open(&self.pins, self.limits, &settings, true)?;
        let records = trace::Records::new(&mut ebpf, lines).map_err(|source| Error::Io {
            doing: "reading the trace".to_owned(),
            source,
        })?;
        let mut programs = Programs::new(&mut ebpf, &TRACED);
        self.ports.load_for_all(&mut programs)?;
        self.ports.replace_program(&mut programs)?;
        self.tracing = Some(ebpf);
        Ok(records)
    }

    /// Puts the ordinary program back; the tracing one and its buffer are gone.
    ///
    /// # Errors
    /// Where a link refuses.
    pub fn stop_trace(&mut self) -> Result<(), Error> {
        if self.tracing.is_some() {
            let mut programs = Programs::new(&mut self.running, &ORDINARY);
            self.ports.replace_program(&mut programs)?;
            self.tracing = None;
        }
        Ok(())
    }

    /// The packets that the program hands to the daemon. Given out once.
    pub fn take_punts(&mut self) -> Option<RingBuf<MapData>> {
        self.running.take_map(names::PUNTS)?.try_into().ok()
    }

    /// A counter, summed over the CPUs.
    ///
    /// # Errors
    /// The map's.
    pub fn counter(&self, counter: Counter) -> Result<u64, Error> {
        self.maps.counter(counter)
    }

    /// A backend's counters, summed over the CPUs.
    ///
    /// # Errors
    /// The map's.
    pub fn backend_counters(&self, index: BackendIndex) -> Result<BackendCounters, Error> {
        self.maps.backend_counters(index)
    }

    /// The program, for test runs.
    ///
    /// # Errors
    /// Where the object is of another build.
    pub fn program(&mut self) -> Result<&mut Xdp, Error> {
        program::loaded(&mut self.running, names::PROGRAM)
    }

    /// The same for frames that may lie in several buffers. It is loaded when it is first asked for.
    ///
    /// # Errors
    /// Where it does not load.
    pub fn frags_program(&mut self) -> Result<&mut Xdp, Error> {
        program::loaded(&mut self.running, names::FRAGS_PROGRAM)
    }

    /// The kernel's id of the program that an interface has, or would get.
    ///
    /// # Errors
    /// The program's.
    pub fn program_id(&mut self, interface: &str) -> Result<u32, Error> {
        let frags = self.ports.takes_frags(interface);
        let mut programs = in_place(&mut self.tracing, &mut self.running);
        Ok(programs.get(frags)?.info()?.id())
    }

    /// Detaches everything and removes every pin.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(self) -> Result<(), Error> {
        let Self { pins, ports, .. } = self;
        // The links' last references: detaches.
        drop(ports);
        pins.remove()
    }
}

/// Removes what an instance left without a daemon: links (so the program is detached), program,
/// maps. Returns what that was, a line each.
///
/// # Errors
/// [`Error::InstanceBusy`] while its daemon runs, or the file system's.
pub fn remove(bpffs: &Path, instance: &str) -> Result<Vec<String>, Error> {
    let pins = Pins::lock(Kind::Balancer, bpffs, instance)?;
    let linked = pins.linked();
    let mut removed: Vec<_> = linked
        .iter()
        .map(|name| format!("detached from interface {name}"))
        .collect();
    if pins.abi().exists() {
        removed.push(format!(
            "removed the program and maps of instance {instance}"
        ));
    }
    pins.remove()?;
    Ok(removed)
}

fn image(contents: maps::Contents) -> Result<Image, Error> {
    let maps::Contents {
        vips,
        replies,
        services,
        records,
        slots,
        backends,
    } = contents;
    Image::from_maps(RawMaps {
        vips,
        replies,
        services: &services,
        records: &records,
        slots: &slots,
        backends: &backends,
    })
    .map_err(|error| Error::Contradiction(error.to_string()))
}

/// The programs that are in the links now.
const fn in_place<'a>(tracing: &'a mut Option<Ebpf>, running: &'a mut Ebpf) -> Programs<'a> {
    match tracing {
        Some(tracing) => Programs::new(tracing, &TRACED),
        None => Programs::new(running, &ORDINARY),
    }
}

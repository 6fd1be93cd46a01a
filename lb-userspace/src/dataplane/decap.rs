//! The backend's side of tunnels: loads its program, lists the sources, attaches, counts.
//!
//! Apart from [`Dataplane`](super::Dataplane), beside which it may run. Nothing is adopted but the links of
//! an instance that died: the new program takes the old one's place in them, and no packet is missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{LpmTrie, Map, MapData, MapError, PerCpuArray, lpm_trie::Key},
    programs::{Xdp, xdp::XdpLink},
};
use lb_common::{
    abi::decap::{DecapCounter, DecapSettings, LISTED, names},
    endian::Be16,
};

use super::{
    Error, attach,
    maps::{in_map, typed},
    pins::{self, Kind, Pins},
    ports::Device,
    program::{self, Pair, Programs},
    sys::detach_link,
};
use crate::{model::XdpMode, prefix::Prefix};

/// The programs' object file, built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/decap.bpf.o"));

/// The programs.
static DECAP: Pair = Pair {
    plain: names::PROGRAM,
    frags: names::FRAGS_PROGRAM,
};

/// What [`Decap::open`] is given.
#[derive(Clone, Copy, Debug)]
pub struct DecapOptions<'a> {
    /// Where the BPF file system is mounted.
    pub bpffs: &'a Path,
    /// The instance's name.
    pub instance: &'a str,
    /// UDP destination port of GUE.
    pub gue_port: u16,
    /// Where tunnels may come from.
    pub sources: &'a BTreeSet<Prefix>,
}

/// Which of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecapProgram {
    /// For frames that lie in one buffer.
    Plain,
    /// For frames that may lie in several.
    Frags,
}

/// Numbers of frames, each counted once.
pub type DecapCounts = BTreeMap<DecapCounter, u64>;

/// The loaded programs and what belongs to them.
pub struct Decap {
    pins: Pins,
    ebpf: Ebpf,
    counters: PerCpuArray<MapData, u64>,
    held: BTreeMap<String, Held>,
}

/// An interface.
struct Held {
    device: Device,
    /// The kernel's id of the program on it.
    program_id: u32,
    _link: XdpLink,
}

impl Decap {
    /// Loads the programs with their list of sources, and pins the counters. Nothing is attached yet.
    ///
    /// # Errors
    /// Any [`Error`]; what was already there stays as it was, but for an older instance's counters.
    pub fn open(options: DecapOptions<'_>) -> Result<Self, Error> {
        let DecapOptions {
            bpffs,
            instance,
            gue_port,
            sources,
        } = options;
        let pins = lock(bpffs, instance)?;
        match load(gue_port, sources) {
            Ok(mut ebpf) => {
                let map = ebpf.map(names::COUNTERS);
                let map = map.ok_or(Error::Missing(names::COUNTERS))?;
                pins::replace(&pins.map(names::COUNTERS), |path| Ok(map.pin(path)?))?;
                let counters = typed(&mut ebpf, names::COUNTERS)?;
                Ok(Self {
                    pins,
                    ebpf,
                    counters,
                    held: BTreeMap::new(),
                })
            }
            Err(error) => {
                if pins.linked().is_empty() {
                    pins.remove()?;
                }
                Err(error)
            }
        }
    }

    /// Attaches to an interface, or takes over the link that a dead process of the instance has left.
    ///
    /// # Errors
    /// [`Error::InterfaceBusy`], [`Error::NoNative`], [`Error::Attach`], or a pin's.
    pub fn attach(&mut self, device: &Device, mode: XdpMode) -> Result<(), Error> {
        // The pin holds the link; without a pin it must go before a new one can come.
        self.held.remove(&device.name);
        let pin = self.pins.link(&device.name);
        let mut programs = Programs::new(&mut self.ebpf, &DECAP);
        let attached = attach::attach(&mut programs, device, mode, &pin)?;
        let program = programs.get(attached.frags)?;
        let held = Held {
            device: device.clone(),
            program_id: program.info()?.id(),
            _link: attached.link,
        };
        self.held.insert(device.name.clone(), held);
        Ok(())
    }

    /// The interface that was attached to under this name, and the kernel's id of the program on it.
    pub fn held(&self, name: &str) -> Option<(&Device, u32)> {
        let held = self.held.get(name)?;
        Some((&held.device, held.program_id))
    }

    /// Takes the program off an interface, whichever process of the instance has put it there.
    ///
    /// # Errors
    /// The pin's.
    pub fn detach(&mut self, name: &str) -> Result<(), Error> {
        self.held.remove(name);
        let pin = self.pins.link(name);
        detach_link(&pin);
        pins::remove_file(&pin)
    }

    /// Takes it off interfaces that are not attached to: left by a dead process of the instance.
    ///
    /// # Errors
    /// A pin's.
    pub fn detach_others(&mut self) -> Result<(), Error> {
        for name in self.pins.linked() {
            if !self.held.contains_key(&name) {
                log::info!("interface {name} is no longer named: detached");
                self.detach(&name)?;
            }
        }
        Ok(())
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// The map's.
    pub fn counts(&self) -> Result<DecapCounts, Error> {
        counts(&self.counters)
    }

    /// A program, for test runs.
    ///
    /// # Errors
    /// Where the object is of another build.
    pub fn program(&mut self, which: DecapProgram) -> Result<&mut Xdp, Error> {
        let name = match which {
            DecapProgram::Plain => names::PROGRAM,
            DecapProgram::Frags => names::FRAGS_PROGRAM,
        };
        program::loaded(&mut self.ebpf, name)
    }

    /// Detaches everything and removes every pin.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(self) -> Result<(), Error> {
        let Self { pins, held, .. } = self;
        // The links' last references but for their pins.
        drop(held);
        pins.remove()
    }
}

/// What an instance has counted so far; `None`: there is none.
///
/// # Errors
/// The map's.
pub fn decap_counts(bpffs: &Path, instance: &str) -> Result<Option<DecapCounts>, Error> {
    super::host::check_bpffs(bpffs)?;
    let pin = pins::map_of(Kind::Decap, bpffs, instance, names::COUNTERS);
    match MapData::from_pin(&pin) {
        Ok(data) => {
            let map = PerCpuArray::try_from(Map::PerCpuArray(data));
            counts(&map.map_err(in_map(names::COUNTERS))?).map(Some)
        }
        Err(_) if !pin.exists() => Ok(None),
        Err(source) => Err(in_map(names::COUNTERS)(source)),
    }
}

/// The instance that the program with this id belongs to.
pub fn decap_owner(bpffs: &Path, program: u32) -> Option<String> {
    pins::owner_of(Kind::Decap, bpffs, program)
}

/// Removes what an instance left that was killed. `false`: there was nothing.
///
/// # Errors
/// [`Error::DecapBusy`] while it runs, or the file system's.
pub fn remove_decap(bpffs: &Path, instance: &str) -> Result<bool, Error> {
    let pins = lock(bpffs, instance)?;
    let something = pins.map(names::COUNTERS).exists() || !pins.linked().is_empty();
    pins.remove()?;
    Ok(something)
}

fn lock(bpffs: &Path, instance: &str) -> Result<Pins, Error> {
    Pins::lock(Kind::Decap, bpffs, instance).map_err(|error| match error {
        Error::InstanceBusy { instance } => Error::DecapBusy { instance },
        error => error,
    })
}

fn load(gue_port: u16, sources: &BTreeSet<Prefix>) -> Result<Ebpf, Error> {
    let settings = DecapSettings {
        gue_port: Be16::new(gue_port),
        reserved: 0,
    };
    let room = |of: fn(&IpAddr) -> bool| {
        let count = sources
            .iter()
            .filter(|prefix| of(&prefix.address()))
            .count();
        u32::try_from(count.max(1)).unwrap_or(u32::MAX)
    };
    let mut ebpf = EbpfLoader::new()
        .override_global(names::SETTINGS, &settings, true)
        .map_max_entries(names::SOURCES_IPV4, room(IpAddr::is_ipv4))
        .map_max_entries(names::SOURCES_IPV6, room(IpAddr::is_ipv6))
        .load(OBJECT)
        .map_err(|error| Error::Load(Box::new(error)))?;
    for prefix in sources {
        let length = u32::from(prefix.length());
        match prefix.address() {
            IpAddr::V4(address) => {
                let key = Key::new(length, address.octets());
                list(&mut ebpf, names::SOURCES_IPV4, &key)?;
            }
            IpAddr::V6(address) => {
                let key = Key::new(length, address.octets());
                list(&mut ebpf, names::SOURCES_IPV6, &key)?;
            }
        }
    }
    // The other is loaded when an interface asks for it.
    program::loaded(&mut ebpf, names::PROGRAM)?;
    Ok(ebpf)
}

fn list<A: Pod>(ebpf: &mut Ebpf, map: &'static str, key: &Key<A>) -> Result<(), Error> {
    let trie = ebpf.map_mut(map).ok_or(Error::Missing(map))?;
    let mut trie = LpmTrie::<_, A, u8>::try_from(trie).map_err(in_map(map))?;
    trie.insert(key, LISTED, 0).map_err(in_map(map))
}

fn counts(map: &PerCpuArray<MapData, u64>) -> Result<DecapCounts, Error> {
    let sum = |counter: DecapCounter| -> Result<_, MapError> {
        let values = map.get(&(counter as u32), 0)?;
        Ok((counter, values.iter().sum()))
    };
    let counts = DecapCounter::ALL.into_iter().map(sum);
    counts
        .collect::<Result<_, _>>()
        .map_err(in_map(names::COUNTERS))
}

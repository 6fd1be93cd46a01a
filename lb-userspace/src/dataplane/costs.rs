//! What the program and its maps cost, as the kernel tells it: for reports and tests.
//!
//! Everything here is loaded apart from any instance, on maps of its own, pinned nowhere and attached
//! to nothing; it is gone when the function returns. The daemon does not use it.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use lb_common::abi::{names, settings::Settings, slot::Slot};

use super::{Error, error::Doing as _, maps::Maps, program};
use crate::{
    model::Limits,
    plan::{SlotIndex, Write},
};

mod verifier;

/// Which of the object's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The one that carries traffic.
    Plain,
    /// The same for frames in several buffers.
    Frags,
    /// The one that takes the first one's place while somebody traces.
    Traced,
    /// The same for frames in several buffers.
    TracedFrags,
}

impl Variant {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => names::PROGRAM,
            Self::Frags => names::FRAGS_PROGRAM,
            Self::Traced => names::TRACED_PROGRAM,
            Self::TracedFrags => names::TRACED_FRAGS_PROGRAM,
        }
    }

    const fn is_traced(self) -> bool {
        matches!(self, Self::Traced | Self::TracedFrags)
    }
}

/// What one program costs with one set of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// Instructions in the object, subprograms included: what the verifier is given.
    pub object_instructions: u32,
    /// Instructions of 8 bytes that the verifier left, after dead code is gone and helpers are inlined.
    pub instructions: u32,
    /// Instructions that the verifier walked through, each path counted; the kernel's limit is a million.
    pub verified_instructions: u32,
    /// Bytes of stack of the deepest chain of calls; the kernel's limit is 512.
    pub stack: u32,
    /// Bytes of machine code; 0 where the JIT is off.
    pub jited_bytes: u32,
    /// How long the system call took: verifier and JIT.
    pub load_time: Duration,
}

/// What one map costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapCost {
    /// As in the object.
    pub name: String,
    /// Bytes, by the kernel's own account (`memlock` in `/proc/PID/fdinfo`).
    pub bytes: u64,
    /// Whether every CPU has values of its own, so that `bytes` grows with them.
    pub per_cpu: bool,
}

impl MapCost {
    /// What it would cost on a machine of `wanted` CPUs, when `bytes` was read on one of `present`.
    pub fn on(&self, wanted: u64, present: u64) -> u64 {
        match self.per_cpu {
            true => (self.bytes * wanted).div_ceil(present.max(1)),
            false => self.bytes,
        }
    }
}

/// How many CPUs the kernel makes per-CPU values for.
///
/// # Errors
/// Where `/sys/devices/system/cpu` cannot be read.
pub fn possible_cpus() -> Result<usize, Error> {
    aya::util::nr_cpus().map_err(|(doing, source)| Error::Io {
        doing: format!("reading {doing}"),
        source,
    })
}

/// Loads a program and asks the kernel what became of it.
///
/// # Errors
/// Where the program or its maps do not load.
pub fn program(
    variant: Variant,
    limits: Limits,
    settings: &Settings,
) -> Result<ProgramCost, Error> {
    let name = variant.name();
    let mut ebpf = program::open_apart(limits, settings, variant.is_traced())?;
    let verified = verifier::load(&ebpf, name)?;
    let start = Instant::now();
    let info = program::loaded(&mut ebpf, name)?.info()?;
    let load_time = start.elapsed();
    Ok(ProgramCost {
        object_instructions: verified.object_instructions,
        instructions: info.size_translated().unwrap_or(0) / verifier::INSTRUCTION,
        verified_instructions: info.verified_instruction_count().unwrap_or(0),
        stack: verified.stack,
        jited_bytes: info.size_jitted(),
        load_time,
    })
}

/// Whether a program loads; nothing is measured, which takes half the time.
///
/// # Errors
/// Where it does not, or its maps cannot be made.
pub fn loads(variant: Variant, limits: Limits, settings: &Settings) -> Result<(), Error> {
    let mut ebpf = program::open_apart(limits, settings, variant.is_traced())?;
    program::loaded(&mut ebpf, variant.name())?;
    Ok(())
}

/// Makes every map of the object, in the sizes of `limits` for programs of these settings, and reads what
/// each costs; by name.
///
/// # Errors
/// Where a map cannot be made or its memory not be read.
pub fn maps(limits: Limits, settings: &Settings) -> Result<Vec<MapCost>, Error> {
    let ebpf = program::open_apart(limits, settings, false)?;
    let mut costs = Vec::new();
    for (name, map) in ebpf.maps() {
        let data = data(map).ok_or_else(|| unreadable(name))?;
        let path = format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd());
        let info = std::fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
        costs.push(MapCost {
            name: name.to_owned(),
            bytes: memlock(&info).ok_or_else(|| unreadable(name))?,
            per_cpu: matches!(map, Map::PerCpuArray(_) | Map::PerCpuHashMap(_)),
        });
    }
    costs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(costs)
}

/// How long it takes to write `count` slots into the kernel's table as a plan does; the best of `runs`.
///
/// # Errors
/// Where a map cannot be made.
pub fn slot_writes(limits: Limits, count: u32, runs: u32) -> Result<Duration, Error> {
    let mut ebpf = program::open_apart(limits, &Settings::default(), false)?;
    let mut maps = Maps::take(&mut ebpf)?;
    let mut best = Duration::MAX;
    for run in 0..runs {
        // Another value in each slot and in each run: no write finds what it writes.
        let slots = (0..count).map(|slot| Slot(slot ^ run << 24)).collect();
        let write = Write::Slots {
            first: SlotIndex(0),
            slots,
        };
        let start = Instant::now();
        maps.write(&write)?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn unreadable(name: &str) -> Error {
    Error::Io {
        doing: format!("reading the memory of map {name}"),
        source: std::io::ErrorKind::Unsupported.into(),
    }
}

/// The kinds of maps that the object has.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::DevMap(data)
        | Map::DevMapHash(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::ProgramArray(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

fn memlock(fdinfo: &str) -> Option<u64> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

/// The descriptor of each of the object's maps.
fn descriptors(ebpf: &Ebpf) -> impl Iterator<Item = (&str, i32)> {
    ebpf.maps()
        .filter_map(|(name, map)| Some((name, data(map)?.fd().as_fd().as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_fdinfo() {
        let info = "pos:\t0\nmap_type:\t2\nmax_entries:\t64\nmemlock:\t8388608\nmap_id:\t5\n";
        assert_eq!(memlock(info), Some(8_388_608));
        assert_eq!(memlock("map_type:\t2\n"), None);
    }

    #[test]
    fn only_per_cpu_maps_grow_with_the_cpus() {
        let mut map = MapCost {
            name: "COUNTERS".into(),
            bytes: 4096,
            per_cpu: true,
        };
        assert_eq!(map.on(2, 8), 1024);
        assert_eq!(map.on(2, 1), 8192);
        map.per_cpu = false;
        assert_eq!(map.on(2, 8), 4096);
    }
}

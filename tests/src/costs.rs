//! What the program costs with each set of features, and what the maps cost: measured here and now,
//! in the form that `cargo xtask report --json` prints.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use lb_common::abi::settings::{Settings, TRACE_ALL, feature};
use lb_userspace::{
    dataplane::costs::{self, MapCost, ProgramCost, Variant},
    model::Limits,
};
use serde::Serialize;

/// The machine that memory is told for: per-CPU maps grow with the CPUs.
pub const CPUS: u64 = 2;

/// The most that all maps may take on [`CPUS`] at the default limits.
pub const MEMORY_LIMIT: u64 = 64_000_000;

/// Slots of the table whose writing is timed, and how often.
const TABLE: u32 = 65_537;
const RUNS: u32 = 25;

/// One way of loading the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureSet {
    /// As in the report: `minimal`, `dnat`, `all`, `all but dnat`, `traced`, ...
    pub name: String,
    /// Bits of [`feature`].
    pub features: u32,
    /// Which program.
    pub variant: Variant,
}

/// Everything that the report says.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// The processor's architecture.
    pub arch: String,
    /// CPUs that per-CPU values are made for.
    pub cpus: u64,
    /// Each way of loading the program.
    pub programs: Vec<Program>,
    /// Each map at the default limits.
    pub maps: Vec<Map>,
    /// Bytes of all maps on this machine.
    pub map_bytes: u64,
    /// Bytes of all maps on a machine of [`CPUS`].
    pub map_bytes_on_two_cpus: u64,
    /// The same where every feature is on.
    pub map_bytes_in_full_on_two_cpus: u64,
    /// Nanoseconds to write 65,537 slots into the kernel's table; the best of 25.
    pub slot_writes_ns: u64,
}

/// One way of loading the program, and what it costs.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    /// [`FeatureSet::name`].
    pub features: String,
    /// Instructions given to the verifier.
    pub object_instructions: u32,
    /// Instructions that it left.
    pub instructions: u32,
    /// Instructions that it walked through.
    pub verified_instructions: u32,
    /// Bytes of stack.
    pub stack: u32,
    /// Bytes of machine code.
    pub jited_bytes: u32,
    /// Microseconds that loading took.
    pub load_us: u64,
}

/// A map and what it costs.
#[derive(Clone, Debug, Serialize)]
pub struct Map {
    /// Its name.
    pub name: String,
    /// Bytes on this machine.
    pub bytes: u64,
    /// The same where every feature is on: what a feature needs that is off has one entry.
    pub bytes_in_full: u64,
    /// Whether they grow with the CPUs.
    pub per_cpu: bool,
}

/// What configurations ask for, besides the sets that [`feature_sets`] makes by itself.
const COMMON: [u32; 3] = [
    feature::DNAT | feature::REDIRECT | feature::TRANSITION,
    feature::DNAT | feature::REDIRECT | feature::UDP | feature::TRANSITION,
    feature::DSR | feature::UDP | feature::ANY_PORT | feature::TRANSITION,
];

/// Every way of loading the program that is worth telling apart: without any feature, with each one
/// alone, common combinations, with all but one, with all, and the other programs.
pub fn feature_sets() -> Vec<FeatureSet> {
    let all = all();
    let joined = |bits: u32| {
        let names = feature::ALL.iter().filter(|(bit, _)| bits & bit != 0);
        names.map(|(_, name)| *name).collect::<Vec<_>>().join(" + ")
    };
    let names: BTreeMap<u32, String> = feature::ALL
        .iter()
        // Where two names mean the same bits, the later one is kept.
        .map(|(bit, name)| (all & !bit, format!("all but {name}")))
        .chain(COMMON.map(|bits| (bits, joined(bits))))
        .chain(
            feature::ALL
                .iter()
                .map(|(bit, name)| (*bit, (*name).to_owned())),
        )
        .chain([(all, "all".to_owned()), (0, "minimal".to_owned())])
        .collect();
    let mut sets: Vec<_> = names
        .into_iter()
        .map(|(features, name)| FeatureSet {
            name,
            features,
            variant: Variant::Plain,
        })
        .collect();
    sets.sort_by_key(|set| (set.features.count_ones(), set.features));
    let others = [
        ("all, frags", Variant::Frags),
        ("all, traced", Variant::Traced),
        ("all, traced, frags", Variant::TracedFrags),
    ];
    sets.extend(others.map(|(name, variant)| FeatureSet {
        name: name.to_owned(),
        features: all,
        variant,
    }));
    sets
}

/// Loads the program with one feature set.
pub fn program(set: &FeatureSet) -> Result<ProgramCost> {
    let settings = Settings {
        features: set.features,
        trace_service: TRACE_ALL,
        trace_rate: 1000,
        ..Settings::default()
    };
    costs::program(set.variant, Limits::default(), &settings)
        .with_context(|| format!("loading the program with {}", set.name))
}

/// Measures everything. Needs root.
pub fn measure() -> Result<Costs> {
    let programs = feature_sets()
        .iter()
        .map(|set| Ok(Program::new(set, program(set)?)))
        .collect::<Result<_>>()?;
    let cpus = u64::try_from(costs::possible_cpus()?)?;
    let maps = maps_of(0)?;
    let in_full = maps_of(all())?;
    let slot_writes = slot_writes()?;
    Ok(Costs {
        kernel: kernel_release()?,
        arch: std::env::consts::ARCH.to_owned(),
        cpus,
        programs,
        map_bytes: maps.iter().map(|map| map.bytes).sum(),
        map_bytes_on_two_cpus: maps.iter().map(|map| map.on(CPUS, cpus)).sum(),
        map_bytes_in_full_on_two_cpus: in_full.iter().map(|map| map.on(CPUS, cpus)).sum(),
        maps: maps.into_iter().zip(in_full).map(Map::from).collect(),
        slot_writes_ns: u64::try_from(slot_writes.as_nanos())?,
    })
}

/// Every feature.
pub fn all() -> u32 {
    feature::ALL.iter().fold(0, |bits, (bit, _)| bits | bit)
}

/// What the maps cost at the default limits where these features are on, by name.
fn maps_of(features: u32) -> Result<Vec<MapCost>> {
    let settings = Settings {
        features,
        ..Settings::default()
    };
    costs::maps(Limits::default(), &settings).context("making the maps")
}

/// How long 65,537 slots take on their way into the kernel's table; the best of 25. Needs root.
pub fn slot_writes() -> Result<Duration> {
    costs::slot_writes(Limits::default(), TABLE, RUNS).context("writing slots")
}

/// `uname -r`.
pub fn kernel_release() -> Result<String> {
    let name = nix::sys::utsname::uname().context("asking for the kernel's release")?;
    Ok(name.release().to_string_lossy().into_owned())
}

impl Program {
    fn new(set: &FeatureSet, cost: ProgramCost) -> Self {
        let ProgramCost {
            object_instructions,
            instructions,
            verified_instructions,
            stack,
            jited_bytes,
            load_time,
        } = cost;
        Self {
            features: set.name.clone(),
            object_instructions,
            instructions,
            verified_instructions,
            stack,
            jited_bytes,
            load_us: u64::try_from(load_time.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl From<(MapCost, MapCost)> for Map {
    /// Of one map as it is without features and with all of them.
    fn from((cost, in_full): (MapCost, MapCost)) -> Self {
        let MapCost {
            name,
            bytes,
            per_cpu,
        } = cost;
        Self {
            name,
            bytes,
            bytes_in_full: in_full.bytes,
            per_cpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_measured_alone_and_missing() {
        let sets = feature_sets();
        let plain: Vec<_> = sets
            .iter()
            .filter(|set| set.variant == Variant::Plain)
            .collect();
        let all = plain.iter().fold(0, |bits, set| bits | set.features);
        for (bit, name) in feature::ALL {
            assert!(plain.iter().any(|set| set.features == bit), "{name}");
            assert!(plain.iter().any(|set| set.features == all & !bit), "{name}");
        }
        assert!(plain.iter().any(|set| set.features == 0));
        let mut bits: Vec<_> = plain.iter().map(|set| set.features).collect();
        bits.dedup();
        assert_eq!(bits.len(), plain.len(), "{sets:?}");
    }
}

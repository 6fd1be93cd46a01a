//! What the program and its maps cost when somebody last looked: a file a kernel release in
//! `tests/baseline`, written by `cargo xtask report --write-baseline`, that measurements are compared
//! with.
//!
//! The verifier and the JIT differ from release to release, and the JIT from processor to processor,
//! so a file is good for one of each.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::costs::{Costs, kernel_release};

/// Per cent above the baseline at which a figure has grown too much.
pub const TOLERANCE: u64 = 10;

/// The command that writes a baseline.
pub const HOW: &str = "cargo xtask report --write-baseline";

/// A file of `tests/baseline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// `major.minor` of the kernel.
    pub kernel: String,
    /// The processor's architecture.
    pub arch: String,
    /// By feature set.
    pub programs: BTreeMap<String, Figures>,
    /// Bytes of all maps on two CPUs, at the default limits.
    pub map_bytes_on_two_cpus: u64,
}

/// What is kept of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Instructions after the verifier.
    pub instructions: u32,
    /// Bytes of machine code.
    pub jited_bytes: u32,
}

impl Baseline {
    /// What is to be kept of a measurement.
    pub fn of(costs: &Costs) -> Self {
        let programs = costs.programs.iter().map(|program| {
            let figures = Figures {
                instructions: program.instructions,
                jited_bytes: program.jited_bytes,
            };
            (program.features.clone(), figures)
        });
        Self {
            kernel: major_minor(&costs.kernel),
            arch: costs.arch.clone(),
            programs: programs.collect(),
            map_bytes_on_two_cpus: costs.map_bytes_on_two_cpus,
        }
    }

    /// The running kernel's, if there is one for this processor.
    pub fn find() -> Result<Option<Self>> {
        let path = path(&kernel_release()?);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", path.display()));
            }
        };
        let found: Self =
            serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        Ok((found.arch == std::env::consts::ARCH).then_some(found))
    }

    /// What of `costs` has grown by [`TOLERANCE`] or more, and which feature sets only one side
    /// knows: a line each.
    pub fn complaints(&self, costs: &Costs) -> Vec<String> {
        let now = Self::of(costs);
        let mut complaints = Vec::new();
        for (set, figures) in &now.programs {
            let Some(before) = self.programs.get(set) else {
                complaints.push(format!("{set}: not in the baseline; `{HOW}` adds it"));
                continue;
            };
            let mut grown = |what: &str, before: u32, now: u32| {
                complaints.extend(complaint(set, what, before.into(), now.into()));
            };
            grown("instructions", before.instructions, figures.instructions);
            grown("jited bytes", before.jited_bytes, figures.jited_bytes);
        }
        for set in self.programs.keys() {
            if !now.programs.contains_key(set) {
                complaints.push(format!("{set}: only in the baseline; `{HOW}` removes it"));
            }
        }
        complaints.extend(complaint(
            "maps",
            "bytes",
            self.map_bytes_on_two_cpus,
            now.map_bytes_on_two_cpus,
        ));
        complaints
    }
}

/// The file of a kernel release.
pub fn path(release: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("baseline")
        .join(format!("{}.json", major_minor(release)))
}

fn complaint(of: &str, what: &str, before: u64, now: u64) -> Option<String> {
    // A figure of 0 is one that the kernel of the baseline did not tell.
    let too_much = before > 0 && now * 100 >= before * (100 + TOLERANCE);
    too_much.then(|| {
        format!("{of}: {now} {what}, {before} in the baseline: {TOLERANCE} % more or worse")
    })
}

/// `6.18.44-fc` is `6.18`.
fn major_minor(release: &str) -> String {
    let numbers: Vec<_> = release
        .split(|c: char| !c.is_ascii_digit())
        .take(2)
        .collect();
    numbers.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::costs::Program;

    fn costs(sets: &[&str], instructions: u32, bytes: u64) -> Costs {
        let program = |set: &&str| Program {
            features: (*set).to_owned(),
            object_instructions: 0,
            instructions,
            verified_instructions: 0,
            stack: 0,
            jited_bytes: 1000,
            load_us: 0,
        };
        Costs {
            kernel: "6.18.44-fc".into(),
            arch: "x86_64".into(),
            cpus: 2,
            programs: sets.iter().map(program).collect(),
            maps: Vec::new(),
            map_bytes: bytes,
            map_bytes_on_two_cpus: bytes,
            map_bytes_in_full_on_two_cpus: bytes,
            slot_writes_ns: 0,
        }
    }

    #[test]
    fn a_growth_of_ten_per_cent_is_too_much() {
        let baseline = Baseline::of(&costs(&["all"], 100, 1000));
        assert!(baseline.complaints(&costs(&["all"], 109, 1099)).is_empty());
        assert!(baseline.complaints(&costs(&["all"], 1, 1)).is_empty());
        let complaints = baseline.complaints(&costs(&["all"], 110, 1100));
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }

    #[test]
    fn a_feature_set_that_one_side_lacks_is_named() {
        let baseline = Baseline::of(&costs(&["all", "old"], 100, 1000));
        let complaints = baseline.complaints(&costs(&["all", "new"], 100, 1000));
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].starts_with("new: not in") && complaints[1].starts_with("old: only"));
    }

    #[test]
    fn a_release_is_known_by_its_first_two_numbers() {
        assert_eq!(major_minor("6.18.44-fc-v669"), "6.18");
        assert_eq!(major_minor("6.1.0-18-amd64"), "6.1");
        assert_eq!(major_minor("7.0-rc1"), "7.0");
    }
}

//! `sluice check FILE`: is this configuration valid? No privilege, no daemon.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::{Exit, Format, Global, output};
use crate::{
    config::{self, Error, Finding, Loaded},
    model::Model,
    plan::{self, Desired, Image, PlanError, Seed},
};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration; conf.d beside it is read, too
    file: PathBuf,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Report {
    valid: bool,
    errors: Vec<String>,
    warnings: Vec<String>,
    services: usize,
    backends: usize,
}

pub(super) fn run(args: &Check, global: &Global) -> anyhow::Result<Exit> {
    let Check { file } = args;
    let report = examine(file)?;
    match global.output {
        Format::Json => output::print_json(&report)?,
        Format::Table => {
            for warning in &report.warnings {
                output::complain(format_args!("warning: {warning}"));
            }
            for error in &report.errors {
                output::complain(error);
            }
            if report.valid {
                output::print(format_args!(
                    "{}: valid: services: {}, backends: {}",
                    file.display(),
                    report.services,
                    report.backends
                ))?;
            }
        }
    }
    Ok(if report.valid {
        Exit::Done
    } else {
        Exit::InvalidConfig
    })
}

/// Reads and validates. A file that cannot be read is a failure, not an invalid configuration.
fn examine(file: &Path) -> anyhow::Result<Report> {
    let lines = |findings: &[Finding]| findings.iter().map(ToString::to_string).collect();
    match config::load(file) {
        Ok(Loaded {
            model,
            warnings,
            files: _,
        }) => {
            let no_room = has_room(&model).err();
            let error = no_room.map(|error| format!("{}: {error}", file.display()));
            Ok(Report {
                valid: error.is_none(),
                errors: error.into_iter().collect(),
                warnings: lines(&warnings),
                services: model.services.len(),
                backends: model.services.iter().map(|s| s.backends.len()).sum(),
            })
        }
        Err(Error::Invalid { findings, left_out }) => {
            let mut errors: Vec<String> = lines(&findings);
            if left_out > 0 {
                errors.push(format!("and {left_out} more"));
            }
            Ok(Report {
                valid: false,
                errors,
                warnings: Vec::new(),
                services: 0,
                backends: 0,
            })
        }
        Err(error @ Error::Read { .. }) => Err(error.into()),
    }
}

/// Whether empty maps of these limits have room for it all, rounded up as `run` would have it.
fn has_room(model: &Model) -> Result<(), PlanError> {
    let desired = Desired {
        model,
        views: &BTreeMap::new(),
        overrides: &BTreeMap::new(),
        seed: &Seed::derive(model.daemon.seed.as_deref()),
        progress: plan::Progress::none(),
        scope: plan::Scope::All,
    };
    plan::reconcile(&desired, &Image::default()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn with_slots(slots: u32) -> Report {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("sluice.toml");
        let service = |name, port| {
            format!(
                "[[service]]\nname = \"{name}\"\nlisten = [\"tcp://203.0.113.80:{port}\"]\n\
                 table_size = 67\nbackend = [{{ address = \"10.0.1.11:{port}\" }}]\n"
            )
        };
        let text = format!(
            "[daemon]\nseed = \"x\"\n[limits]\nslots = {slots}\n[[interface]]\nname = \"eth0\"\n{}{}",
            service("web", 80),
            service("shop", 81)
        );
        fs::write(&file, text).unwrap();
        examine(&file).unwrap()
    }

    #[test]
    fn what_fits_only_unrounded_is_refused() {
        let report = with_slots(2 * 67);
        assert!(!report.valid);
        let [error] = &report.errors[..] else {
            panic!("{report:?}");
        };
        assert!(
            error.contains(
                "sluice.toml: service shop: no room for 67 slots, with limits.slots = 134"
            ),
            "{error}"
        );
        let report = with_slots(80 + 67);
        assert!(report.valid && report.errors.is_empty(), "{report:?}");
    }
}

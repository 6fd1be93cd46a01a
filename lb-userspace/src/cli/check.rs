//! `sluice check FILE`: is this configuration valid? No privilege, no daemon.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Exit, Format, Global, output};
use crate::config::{self, Error, Finding, Loaded};

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
        }) => Ok(Report {
            valid: true,
            errors: Vec::new(),
            warnings: lines(&warnings),
            services: model.services.len(),
            backends: model.services.iter().map(|s| s.backends.len()).sum(),
        }),
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

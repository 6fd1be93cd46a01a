//! Sluice's benchmarks: `cargo xtask bench` builds this and starts it as root.
//!
//! - `program`: nanoseconds a packet, by test runs of a driver (`rig`) over a table of `cases`, each
//!   on a load balancer of its own (`world`).
//! - `veth`: packets a second, from a generator through the program to a sink.
//!
//! Every benchmark gives `figure`s; `report` shows and keeps them. Packets that are wrong or lost
//! fail a run, times never do.
//!
//! Exit codes: 0 done, 1 failed (or something was left out), 2 usage, 3 worse than `--compare`.

mod cases;
mod figure;
mod program;
mod progress;
mod report;
mod rig;
mod veth;
mod world;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use nix::unistd::geteuid;
use testbed::sweep;

use crate::{
    figure::Figure,
    progress::Progress,
    report::{LeftOut, Report},
};

#[derive(Debug, Parser)]
#[command(
    name = "sluice-bench",
    bin_name = "cargo xtask bench",
    about = "Sluice's benchmarks"
)]
struct Cli {
    /// What to measure
    #[arg(value_enum, default_value_t = Bench::All)]
    bench: Bench,
    /// Fewer and shorter runs: under a minute, to see that all is well
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Nanoseconds a packet
    Program,
    /// Packets a second from end to end
    Veth,
    /// Everything
    All,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    if !geteuid().is_root() {
        bail!("network namespaces and XDP need root");
    }
    sweep::mount_bpffs()?;
    sweep::sweep();
    let mut report = Report::new(cli.quick)?;
    for bench in cli.bench.parts() {
        let progress = Progress::new();
        let result = bench.run(cli.quick, &progress);
        progress.end();
        match result {
            Ok(figures) => report.figures.extend(figures),
            Err(error) => report.left_out.push(LeftOut {
                bench: bench.name().to_owned(),
                why: format!("{error:#}"),
            }),
        }
    }
    println!("{}", report.table());
    if let Some(path) = &cli.json {
        report.write(path)?;
    }
    if report.left_out.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}

impl Bench {
    fn parts(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::Program, Self::Veth],
            one => vec![one],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Veth => "veth",
            Self::All => "all",
        }
    }

    fn run(self, quick: bool, progress: &Progress) -> Result<Vec<Figure>> {
        match self {
            Self::Program => program::run(program::Effort::of(quick), progress),
            Self::Veth => veth::run(veth::Effort::of(quick), progress),
            Self::All => Ok(Vec::new()),
        }
    }
}

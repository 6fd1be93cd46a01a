//! Sluice's benchmarks: `cargo xtask bench` builds this and starts it as root.
//!
//! - `program`: nanoseconds a packet, by test runs of a driver (`rig`) over a table of `cases`, each
//!   on a load balancer of its own (`world`).
//! - `veth`: packets a second from a generator through the program to a sink (`ends`).
//! - `control`: tables, plans, starts, reloads, memory.
//! - `consistency`: connections that break, or do not, while backends change.
//!
//! Every benchmark gives `figure`s; `report` shows and keeps them, `compare` and `plot` use them.
//! Packets that are wrong or lost fail a run, and so do connections that break; times never do.
//!
//! Exit codes: 0 done, 1 failed (or something was left out), 2 usage, 3 worse than `--compare`.

mod cases;
mod compare;
mod consistency;
mod control;
mod ends;
mod figure;
mod plot;
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

/// Something was left out or is wrong.
const FAILED: u8 = 1;
/// Something is worse than it was.
const WORSE: u8 = 3;

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
    /// Fewer and shorter runs: under a minute each, to see that all is well
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the figures into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Compare with the figures in this file; exit 3 where something is worse
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Nanoseconds a packet of the loaded, configured program
    Program,
    /// Packets a second from end to end
    Veth,
    /// Tables, plans, starts, reloads, memory
    Control,
    /// Connections that break while backends change
    Consistency,
    /// Everything
    All,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    if !geteuid().is_root() {
        bail!("network namespaces and XDP need root");
    }
    // Trouble with the files is left out, too: what was measured is not lost for it.
    let mut report = Report::new(cli.quick)?;
    let old = cli.compare.as_deref().map(Report::read).transpose();
    let old = old.unwrap_or_else(|error| {
        report.leave_out("--compare", &error);
        None
    });
    sweep::mount_bpffs()?;
    sweep::sweep();
    for bench in cli.bench.parts() {
        let progress = Progress::new();
        let results = bench.run(cli.quick, &progress);
        progress.end();
        for (part, result) in results {
            match result {
                Ok(figures) => report.figures.extend(figures),
                Err(error) => report.leave_out(&part, &error),
            }
        }
    }
    if let Some(folder) = &cli.plot {
        match plot::draw(&report, folder) {
            Ok(files) => files.iter().for_each(|file| println!("drawn: {file}")),
            Err(error) => report.leave_out("--plot", &error),
        }
    }
    if let Some(path) = &cli.json
        && let Err(error) = report.write(path)
    {
        report.leave_out("--json", &error);
    }
    println!("{}", report.table());
    let worse = old.map_or_else(Vec::new, |old| compare::worse(&old, &report));
    worse.iter().for_each(|line| println!("{line}"));
    let failed = report.figures.iter().any(Figure::fails);
    Ok(if failed || !report.left_out.is_empty() {
        ExitCode::from(FAILED)
    } else if !worse.is_empty() {
        ExitCode::from(WORSE)
    } else {
        ExitCode::SUCCESS
    })
}

impl Report {
    fn leave_out(&mut self, bench: &str, error: &anyhow::Error) {
        self.left_out.push(LeftOut {
            bench: bench.to_owned(),
            why: format!("{error:#}"),
        });
    }
}

impl Bench {
    fn parts(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::Program, Self::Veth, Self::Control, Self::Consistency],
            one => vec![one],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Veth => "veth",
            Self::Control => "control",
            Self::Consistency => consistency::NAME,
            Self::All => "all",
        }
    }

    /// Its parts by their names.
    fn run(self, quick: bool, progress: &Progress) -> Vec<(String, Result<Vec<Figure>>)> {
        let figures = match self {
            Self::Program => program::run(program::Effort::of(quick), progress),
            Self::Veth => veth::run(veth::Effort::of(quick), progress),
            Self::Control => control::run(control::Effort::of(quick), progress),
            Self::Consistency => {
                let effort = consistency::Effort::of(quick);
                let parts = consistency::run(&effort, progress).into_iter();
                let named = |(part, figures)| (format!("{}, {part}", self.name()), figures);
                return parts.map(named).collect();
            }
            Self::All => return Vec::new(),
        };
        vec![(self.name().to_owned(), figures)]
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

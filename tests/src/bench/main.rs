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
mod privilege;
mod program;
mod progress;
mod report;
mod rig;
mod veth;
mod world;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::{Parser, ValueEnum};
use testbed::sweep;

use crate::{
    figure::{Figure, Part},
    progress::Progress,
    report::Report,
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
    privilege::check()?;
    // Trouble with the files is left out, too: what was measured is not lost for it.
    let mut report = Report::new(cli.quick)?;
    // Told before all that takes long, too.
    let mut leave_out = |what, error: &_| {
        eprintln!("bench: {what} is left out: {error:#}");
        report.leave_out(what, error);
    };
    let old = cli.compare.as_deref().and_then(|path| {
        let old = compare::read(path, cli.quick);
        old.inspect_err(|error| leave_out("--compare", error)).ok()
    });
    let json = cli.json.as_deref().filter(|path| {
        let place = report::find_place(path);
        place
            .inspect_err(|error| leave_out("--json", error))
            .is_ok()
    });
    let plot = cli.plot.as_deref().filter(|folder| {
        let made = plot::make(folder);
        made.inspect_err(|error| leave_out("--plot", error)).is_ok()
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
    if let Some(folder) = plot {
        match plot::draw(&report, folder) {
            Ok(files) if files.is_empty() => {
                println!("drawn: nothing, for these are no figures to draw")
            }
            Ok(files) => files.iter().for_each(|file| println!("drawn: {file}")),
            Err(error) => report.leave_out("--plot", &error),
        }
    }
    if let Some(path) = json
        && let Err(error) = report.write(path)
    {
        report.leave_out("--json", &error);
    }
    let mut worse = Vec::new();
    if let Some(old) = old {
        let found = compare::compare(&old, &report);
        if found.compared == 0 {
            let error = anyhow!("the report has none of these figures that could be compared");
            report.leave_out("--compare", &error);
        }
        worse = found.worse;
    }
    println!("{}", report.table());
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

impl Bench {
    fn parts(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::Program, Self::Veth, Self::Control, Self::Consistency],
            one => vec![one],
        }
    }

    fn run(self, quick: bool, progress: &Progress) -> Vec<Part> {
        match self {
            Self::Program => program::run(program::Effort::of(quick), progress),
            Self::Veth => veth::run(veth::Effort::of(quick), progress),
            Self::Control => control::run(control::Effort::of(quick), progress),
            Self::Consistency => consistency::run(&consistency::Effort::of(quick), progress),
            Self::All => Vec::new(),
        }
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

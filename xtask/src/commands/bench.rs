//! `bench`: builds the benchmarks, as the user, and becomes them, as root.
//!
//! Figures need the release profile. A quick run gives none that count, so it takes what `test` has built:
//! only the XDP program's own speed would be the same, which is always optimised.

use anyhow::Result;
use clap::ValueEnum;
use xtask::workspace::Workspace;

use crate::{
    commands::{setup, test::PACKAGES},
    host::{self, Elevation},
    step,
};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum, default_value_t = Bench::All)]
    bench: Bench,
    /// Fewer and shorter runs of what `test` builds: under a minute each, to see that all is well
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Draw the figures into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    plot: Option<String>,
    /// Compare with the figures in this file; exit 3 where something is worse
    #[arg(long, value_name = "FILE")]
    compare: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
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
    #[default]
    All,
}

/// Returns only on failure.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let elevation = Elevation::acquire()?;
    setup::ensure(&workspace)?;
    let mut build = host::cargo(&workspace);
    build.args(build_arguments(args.quick));
    step::run("build", &mut build)?;
    host::ensure_bpffs(elevation)?;
    elevation.exec(
        &host::programs(!args.quick)?.join("sluice-bench"),
        &arguments(args),
    )
}

fn build_arguments(quick: bool) -> Vec<&'static str> {
    let mut arguments = vec!["build"];
    // As `test` has them, so that a quick run finds its dependencies compiled.
    arguments.extend(PACKAGES);
    arguments.extend(["--bin", "sluice", "--bin", "sluice-bench"]);
    // The backends.
    arguments.extend(["--bin", "playground"]);
    arguments.extend((!quick).then_some("--release"));
    arguments
}

fn arguments(args: &Args) -> Vec<String> {
    let Args {
        bench,
        quick,
        json,
        plot,
        compare,
    } = args;
    let name = bench.to_possible_value().unwrap_or_default();
    let mut arguments = vec![name.get_name().to_owned()];
    if *quick {
        arguments.push("--quick".to_owned());
    }
    for (option, value) in [("--json", json), ("--plot", plot), ("--compare", compare)] {
        if let Some(value) = value {
            arguments.extend([option.to_owned(), value.clone()]);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_quick_run_does_without_optimisation() {
        assert!(build_arguments(false).contains(&"--release"));
        assert!(!build_arguments(true).contains(&"--release"));
    }

    #[test]
    fn what_was_asked_is_passed_on() {
        assert_eq!(arguments(&Args::default()), ["all"]);
        let args = Args {
            bench: Bench::Program,
            quick: true,
            json: Some("a.json".to_owned()),
            plot: None,
            compare: Some("b.json".to_owned()),
        };
        assert_eq!(
            arguments(&args).join(" "),
            "program --quick --json a.json --compare b.json"
        );
    }
}

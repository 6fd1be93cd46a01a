//! `cargo xtask`: every command that a developer of Sluice runs.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 `bench --compare`: something is worse.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod commands;
mod guest;
mod host;
mod scapy;
mod step;

use commands::{bench, clean, fuzz, lint, playground, report, run, setup, test};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run Sluice: in a playground on this machine, or on a real interface
    Run(run::Args),
    /// Kill, stop or revive a backend of the running playground
    Playground(playground::Args),
    /// Run the tests (all of them unless told which)
    Test(test::Args),
    /// Measure: nanoseconds a packet, packets a second, the control plane
    Bench(bench::Args),
    /// Check formatting, clippy, docs and dependencies
    Lint,
    /// Show what the XDP program and its maps cost, for each set of features
    Report(report::Args),
    /// Feed the packet parser and the configuration random input
    Fuzz(fuzz::Args),
    /// Install what builds and tests need: toolchain component, BPF linker, scapy
    Setup,
    /// Remove everything that was built, and report what else was left behind
    Clean,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Playground(args) => playground::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Lint => lint::run(),
        Command::Report(args) => report::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Setup => setup::run(),
        Command::Clean => clean::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
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

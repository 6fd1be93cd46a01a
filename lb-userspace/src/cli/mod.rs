//! The command line: a file a command. All but `run`, `check`, `detach` and `decap` ask a running daemon
//! through its admin socket.

mod backend;
mod check;
mod decap;
mod detach;
mod drained;
mod explain;
mod flows;
mod logging;
mod output;
mod reload;
mod run;
mod status;
mod table;
mod trace;
mod version;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    admin::{Client, DEFAULT_INSTANCE, socket_path},
    config,
};

/// Where the configuration is unless told otherwise.
const DEFAULT_CONFIG: &str = "/etc/sluice/sluice.toml";

const EXIT_CODES: &str = "Exit codes:
  0   done
  1   failed: the daemon is unreachable or a privilege is missing, too
  2   wrong usage
  3   checked, and unhealthy or different; not done in time
  78  the configuration is not valid";

/// Sluice, a layer-4 load balancer in XDP
#[derive(Debug, Parser)]
#[command(name = "sluice", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The daemon's instance [default: default]
    #[arg(long, global = true, env = "SLUICE_INSTANCE", value_parser = config::instance_name, value_name = "NAME")]
    instance: Option<String>,
    /// The daemon's admin socket; wins over --instance [default: /run/sluice/INSTANCE/admin.sock]
    #[arg(long, global = true, env = "SLUICE_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attach to the interfaces and balance until told to stop
    Run(run::Run),
    /// Check a configuration and change nothing
    Check(check::Check),
    /// Show services, backends, interfaces and counters; exit code 3: a service has no usable backend
    Status,
    /// Have the daemon read its configuration again; exit code 78: it is not valid, nothing changed
    Reload,
    /// Give a backend no new connections and let it keep those it has; `undrain` takes that back
    Drain(backend::Drain),
    /// Take back `drain`
    Undrain(backend::Named),
    /// Treat a backend as dead, whatever its health check says; `enable` takes that back
    Disable(backend::Named),
    /// Take back `drain` and `disable`; with --reset the weight, too
    Enable(backend::Enable),
    /// Give a backend another weight than the configuration; --reset takes that back
    Weight(backend::Weight),
    /// List the connections that are remembered, or count them
    Flows(flows::Flows),
    /// Say where a connection's packets go and why; exit code 1: the program does otherwise
    Explain(explain::Explain),
    /// Detach and remove what an instance without a daemon has left in the kernel
    Detach(detach::Detach),
    /// On a backend: take the outer headers of tunnels off, until told to stop
    Decap(decap::Decap),
    /// Print what becomes of packets, one a line, until Ctrl-C
    Trace(trace::Trace),
    /// Print the version of this binary
    Version,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    Failed,
    Usage,
    Different,
    InvalidConfig,
}

/// Parses the command line, does what it says, and returns the process's exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help, too, comes this way; a closed pipe is no reason to complain.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let Cli { global, command } = cli;
    let outcome = match command {
        Command::Run(args) => run::run(args, global),
        Command::Check(args) => check::run(&args, &global),
        Command::Status => status::run(&global),
        Command::Reload => reload::run(&global),
        Command::Drain(args) => backend::drain(&args, &global),
        Command::Undrain(args) => backend::undrain(&args, &global),
        Command::Disable(args) => backend::disable(&args, &global),
        Command::Enable(args) => backend::enable(&args, &global),
        Command::Weight(args) => backend::weight(&args, &global),
        Command::Flows(args) => flows::run(args, &global),
        Command::Explain(args) => explain::run(&args, &global),
        Command::Detach(args) => detach::run(&args, &global),
        Command::Decap(args) => decap::run(args, &global),
        Command::Trace(args) => trace::run(args, &global),
        Command::Version => version::run(&global),
    };
    let exit = outcome.unwrap_or_else(|error| {
        output::complain(format_args!("sluice: {}", output::causes(&error)));
        Exit::Failed
    });
    ExitCode::from(exit)
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Different => 3,
            Exit::InvalidConfig => 78,
        })
    }
}

impl Global {
    fn instance(&self) -> &str {
        self.instance.as_deref().unwrap_or(DEFAULT_INSTANCE)
    }

    /// Where the daemon's admin socket is.
    fn socket(&self) -> PathBuf {
        match &self.socket {
            Some(socket) => socket.clone(),
            None => socket_path(self.instance()),
        }
    }

    fn client(&self) -> Client {
        Client::new(self.socket())
    }
}

/// Does one thing with a daemon, on this thread.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(work)
}

#[cfg(test)]
mod tests;

//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;

/// Sluice between a client and its backends, on one machine, to watch and to break.
#[derive(Debug, Parser)]
#[command(name = "playground", version)]
pub(crate) enum Arguments {
    /// Build it, run it and show it, until Ctrl-C.
    Run {
        /// How many backends there are.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
        backends: u8,
        /// End it by itself after that long: 15s, 2m.
        #[arg(long, value_parser = humantime::parse_duration)]
        duration: Option<Duration>,
    },
    /// Kill a backend's server (SIGKILL), or the daemon.
    Kill {
        /// b1, b2, ... or daemon.
        target: String,
    },
    /// Stop a backend's server (SIGSTOP).
    Stop {
        /// b1, b2, ...
        target: String,
    },
    /// Bring a backend back, or the daemon.
    Revive {
        /// b1, b2, ... or daemon.
        target: String,
    },
    /// Be a backend; what the playground and the tests start in a host.
    #[command(hide = true)]
    Serve {
        /// What it answers.
        #[arg(long)]
        name: String,
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
        /// Where it counts.
        #[arg(long)]
        counts: PathBuf,
    },
}

//! The playground.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

#[derive(Debug, Parser)]
enum Arguments {
    /// Be a backend; what the playground and the tests start in a host.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        name: String,
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        counts: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse() {
        Arguments::Serve {
            name,
            listen,
            counts,
        } => testbed::server::run(&name, listen, &counts),
    }
}

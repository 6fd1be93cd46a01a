//! The playground: Sluice between a client and its backends, on one machine, to watch and to break.
//!
//! `run` builds the network and everything in it, and removes all of it at its end; `kill`, `stop`
//! and `revive` reach a running one from a second terminal.

mod arguments;
mod control;
mod ledger;
mod paths;
mod plain;
mod run;
mod sampler;
mod scene;
mod view;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let result = match Arguments::parse() {
        Arguments::Run(options) => run::run(&options),
        Arguments::Kill { target } => control::send(control::Action::Kill, &target),
        Arguments::Stop { target } => control::send(control::Action::Stop, &target),
        Arguments::Revive { target } => control::send(control::Action::Revive, &target),
        Arguments::Serve {
            name,
            listen,
            counts,
        } => testbed::server::run(&name, &listen, &counts),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

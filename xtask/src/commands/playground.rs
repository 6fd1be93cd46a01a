//! `playground`: what a second terminal does to the backends of the running playground.

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::host::{self, Elevation};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    verb: Verb,
    /// The backend: b1, b2, ...
    #[arg(value_parser = backend)]
    backend: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Verb {
    /// End the backend's server: connections are refused
    Kill,
    /// Freeze the backend's server: connections hang
    Stop,
    /// Start or thaw the backend's server
    Revive,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Revive => "revive",
        }
    }
}

/// Returns only on failure.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Args { verb, backend } = args;
    for release in [false, true] {
        let program = host::programs(release)?.join("playground");
        if program.is_file() {
            return Elevation::acquire()?
                .exec(&program, &[verb.name().to_owned(), backend.clone()]);
        }
    }
    bail!("no playground is running: start one with `cargo xtask run`");
}

fn backend(name: &str) -> Result<String, String> {
    match name.strip_prefix('b').map(str::parse::<u16>) {
        Some(Ok(1..)) => Ok(name.to_owned()),
        _ => Err("a backend is called b1, b2, ...".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_called_b_and_a_number() {
        assert_eq!(backend("b2"), Ok("b2".to_owned()));
        for wrong in ["", "b", "2", "b0", "b2x", "c2", "b-1"] {
            assert!(backend(wrong).is_err(), "{wrong}");
        }
    }
}

//! The real `sluice decap`, inside a backend's host: takes packets out of their tunnel.

use std::{
    fs::File,
    io::{Read, Seek},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::{
    cli::forget_environment, daemon::START, host::Host, poll, process::Process, programs, sweep,
};

/// A decapsulator, of an instance of its own; dropping it ends it.
#[derive(Debug)]
pub struct Decap {
    process: Process,
}

impl Decap {
    /// Takes packets out of IPIP and GUE that come to `interface` from one of `sources`, addresses or
    /// prefixes; works when this returns.
    pub fn start(host: &Host, interface: &str, sources: &[String]) -> Result<Self> {
        let mut output = tempfile::tempfile().context("making a file for a log")?;
        let mut process = spawn(host, interface, sources, &output)?;
        let what = format!("the decapsulator on {interface} of {}", host.name());
        let attached = poll::until(&what, START, || match process.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            _ => attached(host, interface).then_some(Ok(())),
        });
        match attached.with_context(|| said(&mut output))? {
            Ok(()) => Ok(Self { process }),
            Err(status) => bail!("{what} ended: {status}\n{}", said(&mut output)),
        }
    }
}

impl Drop for Decap {
    fn drop(&mut self) {
        // It cleans up, which it could not if it were killed.
        self.process.signal(Signal::SIGTERM);
        let _ = self.process.wait(Duration::from_secs(5));
    }
}

fn spawn(host: &Host, interface: &str, sources: &[String], output: &File) -> Result<Process> {
    let mut command = host.command(programs::sluice()?);
    forget_environment(&mut command);
    command.args(["--instance", &sweep::unique_name()]);
    command.args(["decap", "--interface", interface]);
    for source in sources {
        command.args(["--from", source]);
    }
    command
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    Process::spawn(command)
}

fn attached(host: &Host, interface: &str) -> bool {
    host.link(interface).is_ok_and(|link| link.xdp.is_some())
}

fn said(output: &mut File) -> String {
    let mut text = String::new();
    let read = output
        .rewind()
        .and_then(|()| output.read_to_string(&mut text));
    read.map_or_else(|error| error.to_string(), |_| text)
}

//! The finished binaries: beside the running one, in the same target folder.

use std::{env, ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{cli::forget_environment, host::Host};

/// The load balancer; `SLUICE_BIN` names another one.
pub fn sluice() -> Result<PathBuf> {
    if let Some(path) = env::var_os("SLUICE_BIN") {
        let path = PathBuf::from(path);
        ensure!(
            path.is_file(),
            "SLUICE_BIN names {}, which is not there",
            path.display()
        );
        return Ok(path);
    }
    beside("sluice", "lb-userspace")
}

/// The load balancer's binary in a host, or `launcher` and its arguments where there is one, without what
/// the environment would tell it.
pub(crate) fn sluice_in(host: &Host, launcher: &[OsString]) -> Result<Command> {
    let mut command = match launcher.split_first() {
        None => host.command(sluice()?),
        Some((program, arguments)) => {
            let mut command = host.command(program);
            command.args(arguments);
            command
        }
    };
    forget_environment(&mut command);
    Ok(command)
}

/// The playground, which is also the backend that tests start.
pub fn playground() -> Result<PathBuf> {
    beside("playground", "sluice-tests")
}

fn beside(name: &str, package: &str) -> Result<PathBuf> {
    let this = env::current_exe().context("finding the running program")?;
    let mut folder = this.parent().context("the running program has no folder")?;
    // Test executables lie one deeper than binaries.
    if folder.ends_with("deps") {
        folder = folder.parent().context("`deps` has no parent")?;
    }
    let path = folder.join(name);
    let display = path.display();
    ensure!(
        path.is_file(),
        "{display} is not there: build it with `cargo build -p {package}`"
    );
    Ok(path)
}

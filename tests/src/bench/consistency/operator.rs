//! What an operator does to a daemon: changes of the file, and commands.

use anyhow::{Context as _, Result, ensure};
use testbed::{cli, config::Backend, daemon::Daemon};

use super::script::Change;

/// Carries out what of a change is the operator's, to the backend that the file writes as `entry`. The
/// daemon knows of it when this returns.
pub(super) fn carry_out(daemon: &mut Daemon, change: Change, entry: Backend) -> Result<()> {
    let name = entry.name.clone();
    let done = match change {
        Change::Join(_) => reload(daemon, |backends| backends.push(entry)),
        Change::Leave(_) => reload(daemon, |backends| backends.retain(|one| one.name != name)),
        Change::Weight(_, weight) => reload(daemon, |backends| {
            let changed = backends.iter_mut().filter(|one| one.name == name);
            changed.for_each(|one| one.weight = weight);
        }),
        Change::Drain(_) => command(daemon, "drain", &name),
        Change::Undrain(_) => command(daemon, "undrain", &name),
        Change::Alarm(_) | Change::Recover(_) | Change::Die(_) | Change::Revive(_) => Ok(()),
    };
    done.with_context(|| format!("{change:?}, {name}"))
}

fn reload(daemon: &mut Daemon, change: impl FnOnce(&mut Vec<Backend>)) -> Result<()> {
    daemon.set_config(|config| change(&mut config.web().backends))?;
    let output = daemon.reload()?;
    ensure!(output.status.success(), cli::stderr(&output));
    Ok(())
}

fn command(daemon: &Daemon, command: &str, name: &str) -> Result<()> {
    let output = daemon.cli().run(&[command, &format!("web/{name}")])?;
    ensure!(output.status.success(), cli::stderr(&output));
    Ok(())
}

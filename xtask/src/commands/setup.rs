//! `setup`: installs what builds need. Idempotent, and quick when there is nothing to do.

use std::time::Instant;

use anyhow::Result;
use xtask::{
    toolchain::{self, Ensured},
    tools::{BPF_LINKER, Tool},
    workspace::Workspace,
};

use crate::{scapy, step::seconds};

/// Everything that builds and tests need.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::find()?;
    ensure(&workspace)?;
    ensure_scapy(&workspace)
}

/// What the other subcommands begin with.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    timed("rust-src", || toolchain::ensure(workspace))?;
    ensure_tool(workspace, BPF_LINKER)
}

/// A pinned tool; cargo shows the progress of an installation.
pub(crate) fn ensure_tool(workspace: &Workspace, tool: Tool) -> Result<()> {
    let Tool { name, version } = tool;
    if !tool.is_installed(workspace) {
        println!("== setup: {name} {version}: compiling it into target/tools, once");
    }
    timed(&format!("{name} {version}"), || tool.ensure(workspace))
}

/// What some tests read packets with. Where it cannot be had they are skipped, which nobody but a developer
/// may be content with.
pub(crate) fn ensure_scapy(workspace: &Workspace) -> Result<()> {
    let ensured = timed("scapy", || scapy::ensure(workspace));
    match ensured {
        Err(error) if !scapy::is_required() => {
            println!("== setup: scapy: not installed, its tests are skipped: {error:#}");
            Ok(())
        }
        ensured => ensured,
    }
}

fn timed(what: &str, ensure: impl FnOnce() -> Result<Ensured>) -> Result<()> {
    let start = Instant::now();
    let outcome = match ensure()? {
        Ensured::Present => "present",
        Ensured::Installed => "installed",
    };
    println!("== setup: {what}: {outcome}, {}", seconds(start.elapsed()));
    Ok(())
}

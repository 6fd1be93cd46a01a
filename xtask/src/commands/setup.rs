//! `setup`: installs what builds need. Idempotent, and quick when there is nothing to do.

use std::time::Instant;

use anyhow::Result;
use xtask::{
    toolchain::{self, Ensured},
    tools::{BPF_LINKER, Tool},
    workspace::Workspace,
};

use crate::step::seconds;

/// Everything that a build needs.
pub(crate) fn run() -> Result<()> {
    ensure(&Workspace::find()?)
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

fn timed(what: &str, ensure: impl FnOnce() -> Result<Ensured>) -> Result<()> {
    let start = Instant::now();
    let outcome = match ensure()? {
        Ensured::Present => "present",
        Ensured::Installed => "installed",
    };
    println!("== setup: {what}: {outcome}, {}", seconds(start.elapsed()));
    Ok(())
}

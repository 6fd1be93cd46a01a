//! The pinned Rust toolchain and the source of `core`, which the BPF target is built from.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

/// Whether something had to be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// It was there.
    Present,
    /// It has been installed just now.
    Installed,
}

/// Makes sure that the toolchain's `rust-src` component is there.
///
/// # Errors
/// When it is missing and rustup cannot install it.
pub fn ensure(workspace: &Workspace) -> Result<Ensured> {
    if has_core_source(workspace)? {
        return Ok(Ensured::Present);
    }
    // Without arguments rustup installs what rust-toolchain.toml names, components included. A
    // RUSTUP_TOOLCHAIN set by the cargo around us would win over that file, without components.
    let status = Command::new("rustup")
        .args(["toolchain", "install"])
        .current_dir(workspace.root())
        .env_remove("RUSTUP_TOOLCHAIN")
        // A build script's output belongs to cargo.
        .stdout(std::io::stderr())
        .status()
        .context("rust-src is missing, and rustup, which would install it, does not start")?;
    if !status.success() || !has_core_source(workspace)? {
        bail!("rust-src is missing: `rustup toolchain install` in this folder should install it");
    }
    Ok(Ensured::Installed)
}

fn has_core_source(workspace: &Workspace) -> Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(workspace.root())
        .output()
        .context("asking rustc for its folder")?;
    let sysroot = String::from_utf8(output.stdout).context("the name of rustc's folder")?;
    Ok(PathBuf::from(sysroot.trim())
        .join("lib/rustlib/src/rust/library/core")
        .is_dir())
}

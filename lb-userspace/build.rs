//! Builds the XDP program and lays it where `include_bytes_aligned!` finds it:
//! `concat!(env!("OUT_DIR"), "/sluice.bpf.o")`. So one binary is all there is to install.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use xtask::{ebpf, workspace::Workspace};

/// What the object is made from, besides xtask itself.
const SOURCES: [&str; 5] = [
    "lb-ebpf",
    "lb-common",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

fn main() -> Result<()> {
    let workspace = Workspace::find()?;
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.root().join(source).display()
        );
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("reading CARGO_CFG_TARGET_ARCH")?;
    let object = ebpf::build(&workspace, &arch)?;
    let out_dir = env::var_os("OUT_DIR").context("reading OUT_DIR")?;
    let copy = PathBuf::from(out_dir).join("sluice.bpf.o");
    fs::copy(&object, &copy)
        .with_context(|| format!("copying {} to {}", object.display(), copy.display()))?;
    Ok(())
}

//! Builds the benchmark's XDP programs and lays them where `include_bytes_aligned!` finds them:
//! `concat!(env!("OUT_DIR"), "/bench.bpf.o")`.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use xtask::{ebpf, workspace::Workspace};

/// What the object is made from, besides xtask itself.
const SOURCES: [&str; 5] = [
    "lb-ebpf/src/bench",
    "lb-ebpf/Cargo.toml",
    "lb-common/src/bench.rs",
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
    let object = ebpf::build_binary(&workspace, &arch, ebpf::BENCH)?;
    let out_dir = env::var_os("OUT_DIR").context("reading OUT_DIR")?;
    let copy = PathBuf::from(out_dir).join("bench.bpf.o");
    fs::copy(&object, &copy)
        .with_context(|| format!("copying {} to {}", object.display(), copy.display()))?;
    Ok(())
}

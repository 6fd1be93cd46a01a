//! Builds the XDP programs into the binary, so that one file is all there is to install.

use xtask::ebpf;

/// What the objects are made from, besides xtask itself.
const SOURCES: [&str; 5] = [
    "lb-ebpf",
    "lb-common",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

fn main() -> anyhow::Result<()> {
    ebpf::build_into_out_dir(ebpf::SLUICE, &SOURCES)?;
    ebpf::build_into_out_dir(ebpf::DECAP, &SOURCES)
}

//! Builds XDP programs into the tests: the benchmark's, and the load balancer's once more, to be loaded
//! past the daemon.

use xtask::ebpf;

/// What the benchmark's object is made from, besides xtask itself.
const BENCH: [&str; 6] = [
    "lb-ebpf/src/bench",
    "lb-ebpf/src/object.rs",
    "lb-ebpf/Cargo.toml",
    "lb-common/src/bench.rs",
    "Cargo.lock",
    "rust-toolchain.toml",
];

/// What the load balancer's is made from.
const SLUICE: [&str; 5] = [
    "lb-ebpf",
    "lb-common",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

fn main() -> anyhow::Result<()> {
    ebpf::build_into_out_dir(ebpf::BENCH, &BENCH)?;
    ebpf::build_into_out_dir(ebpf::SLUICE, &SLUICE)
}

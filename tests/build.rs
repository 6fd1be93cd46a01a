//! Builds the benchmark's XDP programs into the tests.

use xtask::ebpf;

/// What the object is made from, besides xtask itself.
const SOURCES: [&str; 6] = [
    "lb-ebpf/src/bench",
    "lb-ebpf/src/object.rs",
    "lb-ebpf/Cargo.toml",
    "lb-common/src/bench.rs",
    "Cargo.lock",
    "rust-toolchain.toml",
];

fn main() -> anyhow::Result<()> {
    ebpf::build_into_out_dir(ebpf::BENCH, &SOURCES)
}

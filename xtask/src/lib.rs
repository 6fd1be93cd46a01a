//! What Sluice's build script and its developer commands share.
//!
//! [`ebpf`] is the one place that knows how the XDP program is compiled; `lb-userspace/build.rs` and
//! `cargo xtask` both call it. [`toolchain`] and [`tools`] bring what it needs, [`workspace`] says
//! where things are and starts cargo undisturbed by the cargo that may be running around it. The
//! subcommands themselves are in the binary.

pub mod ebpf;
pub mod toolchain;
pub mod tools;
pub mod workspace;

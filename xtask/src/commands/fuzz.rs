//! `fuzz`: libFuzzer on the packet parser and on the configuration, for a while. Not for CI, where
//! ordinary tests replay the corpus.
//!
//! The targets are laid out for cargo-fuzz, which needs a nightly toolchain. Built from here they need
//! none: what is unstable is coverage and sanitizer, which `RUSTC_BOOTSTRAP` lets the pinned one do.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use xtask::workspace::Workspace;

use crate::{commands::setup, host, step};

/// The crate of the targets; not a member of the workspace, which must build without libFuzzer.
const CRATE: &str = "lb-common/fuzz";

/// The longest input in bytes: more than any header chain, and more than a small configuration.
const LONGEST: &str = "-max_len=4096";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Which targets; all of them when none is named
    targets: Vec<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Frames for the packet parser
    Packet,
    /// Text for the configuration
    Config,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Config => "config",
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let Args { seconds, targets } = args;
    if !has_cxx() {
        bail!("fuzzing needs a C++ compiler for libFuzzer: install g++ (or set CXX)");
    }
    let workspace = Workspace::find()?;
    setup::ensure(&workspace)?;
    let targets = if targets.is_empty() {
        Target::value_variants()
    } else {
        targets
    };
    for target in targets {
        step::run(
            &format!("build {}", target.name()),
            &mut build(&workspace, *target),
        )?;
        let found = found(&workspace, *target);
        fs::create_dir_all(&found).with_context(|| format!("creating {}", found.display()))?;
        step::run(
            &format!("fuzz {}", target.name()),
            &mut fuzz(&workspace, *target, *seconds),
        )?;
    }
    Ok(())
}

fn has_cxx() -> bool {
    let cxx = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let mut command = Command::new(cxx);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn triple() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

fn target_folder(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/fuzz")
}

/// What libFuzzer finds worth keeping; a failing input lies beside it.
fn found(workspace: &Workspace, target: Target) -> PathBuf {
    target_folder(workspace).join("found").join(target.name())
}

fn build(workspace: &Workspace, target: Target) -> Command {
    let mut cargo = host::cargo(workspace);
    cargo
        .args(["build", "--release", "--manifest-path"])
        .arg(workspace.root().join(CRATE).join("Cargo.toml"))
        // The parser alone is built without the daemon.
        .args(["--no-default-features", "--features", target.name()])
        .args(["--bin", target.name()])
        // With a target named, build scripts and macros are not instrumented.
        .args(["--target", &triple(), "--target-dir"])
        .arg(target_folder(workspace))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS.join(" "));
    cargo
}

/// What cargo-fuzz passes.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

fn fuzz(workspace: &Workspace, target: Target, seconds: u32) -> Command {
    let program = target_folder(workspace)
        .join(triple())
        .join("release")
        .join(target.name());
    let found = found(workspace, target);
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(LONGEST)
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}-", found.display()))
        .arg(&found)
        .arg(corpus(workspace.root(), target));
    command
}

fn corpus(root: &Path, target: Target) -> PathBuf {
    root.join(CRATE).join("corpus").join(target.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_a_corpus() {
        let workspace = Workspace::find().unwrap();
        for target in Target::value_variants() {
            let source = format!("{CRATE}/fuzz_targets/{}.rs", target.name());
            assert!(workspace.root().join(source).is_file(), "{target:?}");
            let files = fs::read_dir(corpus(workspace.root(), *target)).unwrap();
            assert!(files.count() >= 10, "{target:?}");
        }
    }

    #[test]
    fn what_is_found_stays_out_of_the_tree() {
        let workspace = Workspace::find().unwrap();
        let command = fuzz(&workspace, Target::Packet, 5);
        let arguments: Vec<_> = command.get_args().collect();
        // libFuzzer writes to the first folder that it is given.
        let folders: Vec<_> = arguments
            .iter()
            .filter(|argument| Path::new(argument).is_absolute())
            .collect();
        assert!(Path::new(folders[0]).starts_with(target_folder(&workspace)));
        assert_eq!(arguments[0], "-max_total_time=5");
    }
}

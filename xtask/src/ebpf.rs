//! How the XDP program is compiled: `lb-ebpf` for the BPF target, with `core` from source, linked by
//! the pinned bpf-linker, type information included.

use std::{
    env,
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    toolchain,
    tools::BPF_LINKER,
    workspace::{Workspace, encode_flags},
};

/// The target; every processor that Sluice runs on is little-endian.
pub const TARGET: &str = "bpfel-unknown-none";

/// The package.
const PACKAGE: &str = "lb-ebpf";

/// The XDP programs of the load balancer: one object file.
pub const SLUICE: &str = "sluice";

/// The XDP programs of the backends' side of tunnels: another.
pub const DECAP: &str = "decap";

/// The XDP programs of the benchmark, which are not installed: a third.
pub const BENCH: &str = "bench";

/// What a build script does: builds `binary` ([`SLUICE`], [`DECAP`] or [`BENCH`]) whenever one of `sources`
/// (paths from the workspace's root) has changed, and lays it where `include_bytes_aligned!` finds it,
/// `concat!(env!("OUT_DIR"), "/BINARY.bpf.o")`.
///
/// # Errors
/// As [`build`], or where it is not called by a build script.
pub fn build_into_out_dir(binary: &str, sources: &[&str]) -> Result<()> {
    let workspace = Workspace::find()?;
    for source in sources {
        let path = workspace.root().join(source);
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("reading CARGO_CFG_TARGET_ARCH")?;
    let object = build(&workspace, &arch, binary)?;
    let out_dir = env::var_os("OUT_DIR").context("reading OUT_DIR")?;
    let copy = PathBuf::from(out_dir).join(format!("{binary}.bpf.o"));
    fs::copy(&object, &copy)
        .with_context(|| format!("copying {} to {}", object.display(), copy.display()))?;
    Ok(())
}

/// Builds a binary of the package, [`SLUICE`], [`DECAP`] or [`BENCH`], for hosts of the processor `arch`
/// (`x86_64`, `aarch64`, ...) and returns the object's path. Toolchain component and linker are
/// installed when they are missing.
///
/// # Errors
/// When either cannot be installed, or the program does not compile; the compiler's messages have
/// gone to standard error by then.
pub fn build(workspace: &Workspace, arch: &str, binary: &str) -> Result<PathBuf> {
    toolchain::ensure(workspace)?;
    BPF_LINKER.ensure(workspace)?;
    let status = cargo(workspace, "build", arch)
        .args(["--bin", binary])
        .stdin(Stdio::null())
        // A build script's output belongs to cargo.
        .stdout(std::io::stderr())
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("the XDP program does not build (cargo: {status})");
    }
    Ok(workspace
        .ebpf_target()
        .join(TARGET)
        .join("release")
        .join(binary))
}

/// `cargo VERB` on the XDP program alone, set up as [`build`] does it. Always the release profile:
/// without optimisation the program does not fit into the kernel's 512 bytes of stack.
#[must_use]
pub fn cargo(workspace: &Workspace, verb: &str, arch: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo
        .args([
            verb,
            "-Z",
            "build-std=core",
            "--target",
            TARGET,
            "--release",
        ])
        .args(["--package", PACKAGE, "--target-dir"])
        .arg(workspace.ebpf_target())
        // build-std is unstable; this lets the stable toolchain do it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            encode_flags(&flags(workspace, arch)),
        );
    cargo
}

fn flags(workspace: &Workspace, arch: &str) -> Vec<OsString> {
    let mut linker = OsString::from("-Clinker=");
    linker.push(BPF_LINKER.path(workspace));
    vec![
        // aya-ebpf chooses the layout of the host's registers by it.
        format!("--cfg=bpf_target_arch=\"{}\"", bpf_target_arch(arch)).into(),
        // 32-bit jumps and atomics: shorter programs, and every kernel since 5.12 takes them.
        "-Ctarget-cpu=v3".into(),
        // Headers behind a 14-byte Ethernet header are never aligned. The kernel allows such loads
        // where the processor does; without this each field is read byte by byte.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access".into(),
        "-Cdebuginfo=2".into(),
        linker,
        "-Clink-arg=--btf".into(),
    ]
}

/// The name that aya-ebpf knows a processor by.
fn bpf_target_arch(arch: &str) -> &str {
    if arch.starts_with("riscv64") {
        "riscv64"
    } else {
        arch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_is_the_pinned_one() {
        let workspace = Workspace::find().unwrap();
        let linker = workspace.root().join("target/tools/bin/bpf-linker");
        let expected = OsString::from(format!("-Clinker={}", linker.display()));
        assert!(flags(&workspace, "x86_64").contains(&expected));
    }

    #[test]
    fn the_processor_is_told_to_the_program() {
        let workspace = Workspace::find().unwrap();
        let told = |arch| flags(&workspace, arch).remove(0);
        assert_eq!(told("aarch64"), "--cfg=bpf_target_arch=\"aarch64\"");
        assert_eq!(told("riscv64gc"), "--cfg=bpf_target_arch=\"riscv64\"");
    }

    #[test]
    fn the_program_has_a_target_folder_of_its_own() {
        let workspace = Workspace::find().unwrap();
        let command = cargo(&workspace, "build", "x86_64");
        let args: Vec<_> = command.get_args().collect();
        let folder = workspace.root().join("target/ebpf");
        assert!(
            args.windows(2)
                .any(|pair| pair == ["--target-dir".as_ref(), folder.as_os_str()])
        );
    }
}

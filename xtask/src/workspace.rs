//! Where things are, and how cargo is started.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// The checkout that is being worked on.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace around the crate that cargo is running, be it a build script or `xtask`.
    ///
    /// # Errors
    /// When the folder does not exist.
    pub fn find() -> Result<Self> {
        // Asked at run time: a checkout may be moved without xtask being compiled anew.
        let crate_dir = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = crate_dir
            .parent()
            .with_context(|| format!("{} has no parent folder", crate_dir.display()))?
            .canonicalize()
            .with_context(|| format!("finding the workspace around {}", crate_dir.display()))?;
        Ok(Self { root })
    }

    /// Another tree of the same shape, for builds apart.
    #[must_use]
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder of the workspace's `Cargo.toml`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where pinned tools are installed; the programs are in `bin` below it.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// Cargo's target folder for the XDP program. It has to differ from the outer cargo's, which
    /// holds a lock on its own for as long as a build script runs.
    #[must_use]
    pub fn ebpf_target(&self) -> PathBuf {
        self.root.join("target/ebpf")
    }

    /// Cargo in the workspace's root, without the settings that a surrounding cargo, clippy or
    /// rust-analyzer passes down to the programs it runs.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        for (name, _) in env::vars_os().filter(|(name, _)| disturbs_cargo(name)) {
            cargo.env_remove(name);
        }
        cargo
    }
}

/// Joins compiler flags the way `CARGO_ENCODED_RUSTFLAGS` wants them: blanks in paths survive.
#[must_use]
pub fn encode_flags(flags: &[OsString]) -> OsString {
    flags.join(OsStr::new("\x1f"))
}

/// Variables of cargo that say where to fetch from and how to print; every other one may belong to
/// the build around us.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_TERM_",
];

const REMOVED: [&str; 10] = [
    "CLIPPY_ARGS",
    "OUT_DIR",
    "RA_RUSTC_WRAPPER",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

fn disturbs_cargo(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    REMOVED.contains(&name.as_ref())
        || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outer_build_sets_does_not_reach_the_inner_cargo() {
        for name in [
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_FEATURE_USER",
            "CARGO_MANIFEST_DIR",
            "CARGO_PROFILE_RELEASE_DEBUG",
            "CARGO_TARGET_DIR",
            "CLIPPY_ARGS",
            "RUSTC_WORKSPACE_WRAPPER",
        ] {
            assert!(disturbs_cargo(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn where_to_fetch_from_and_the_jobserver_are_kept() {
        for name in [
            "CARGO",
            "CARGO_HOME",
            "CARGO_MAKEFLAGS",
            "CARGO_NET_OFFLINE",
            "PATH",
        ] {
            assert!(!disturbs_cargo(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_flag_with_a_blank_stays_one_flag() {
        let flags = ["-Clinker=/a b/bpf-linker".into(), "-Cdebuginfo=2".into()];
        assert_eq!(
            encode_flags(&flags),
            "-Clinker=/a b/bpf-linker\x1f-Cdebuginfo=2"
        );
    }
}

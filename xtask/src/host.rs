//! The machine that commands run on: cargo as the developer has set it up, the finished programs,
//! privilege, the BPF file system.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use xtask::workspace::Workspace;

/// Where the kernel's BPF file system belongs.
const BPFFS: &str = "/sys/fs/bpf";

/// Cargo with the developer's own settings, target folder included, but without what the `cargo
/// run` around xtask says about the package xtask: build scripts that look at it would run anew.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    cargo_in(workspace.root())
}

/// The same in another tree.
pub(crate) fn cargo_in(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    for (name, _) in env::vars_os().filter(|(name, _)| is_about_a_package(name)) {
        cargo.env_remove(name);
    }
    cargo
}

fn is_about_a_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// The folder in which cargo leaves programs: the one where xtask itself is, or the release
/// profile's beside it.
pub(crate) fn programs(release: bool) -> Result<PathBuf> {
    let xtask = env::current_exe().context("finding xtask's own program")?;
    let own = xtask.parent().context("xtask's program is in no folder")?;
    Ok(if release {
        own.with_file_name("release")
    } else {
        own.to_owned()
    })
}

/// How a finished program becomes root. Builds never do, so that `target` holds nothing of root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elevation {
    /// It is already.
    Root,
    /// Through sudo.
    Sudo,
}

impl Elevation {
    /// Asked for before anything is built, so that a password is wanted, or a refusal comes, at once.
    pub(crate) fn acquire() -> Result<Self> {
        // The owner of /proc/self is the process's effective user.
        if fs::metadata("/proc/self")
            .context("reading /proc/self")?
            .uid()
            == 0
        {
            return Ok(Self::Root);
        }
        match Command::new("sudo").arg("true").status() {
            Ok(status) if status.success() => Ok(Self::Sudo),
            Ok(_) => bail!("this needs root, and sudo refused it"),
            Err(_) => bail!("this needs root, and there is no sudo: run it as root"),
        }
    }

    /// What stands before the program and its arguments.
    pub(crate) fn prefix(self) -> &'static [&'static str] {
        match self {
            Self::Root => &[],
            Self::Sudo => &["sudo", "-E"],
        }
    }

    /// `program` as root.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self.prefix() {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        }
    }

    /// Becomes `program`; returns only when that fails.
    pub(crate) fn exec(self, program: &Path, args: &[String]) -> Result<()> {
        std::io::stdout()
            .flush()
            .context("writing to standard output")?;
        let error = self.command(program).args(args).exec();
        Err(error).with_context(|| format!("starting {}", program.display()))
    }
}

/// Mounts the BPF file system where it belongs unless it is there, and says so.
pub(crate) fn ensure_bpffs(elevation: Elevation) -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    if has_bpffs(&mounts) {
        return Ok(());
    }
    println!("== no BPF file system at {BPFFS}: mounting one");
    let status = elevation
        .command("mount")
        .args(["-t", "bpf", "bpf", BPFFS])
        .stdin(Stdio::null())
        .status()
        .context("starting mount")?;
    if !status.success() {
        bail!("{BPFFS} has no BPF file system and none can be mounted ({status})");
    }
    Ok(())
}

/// Whether a table in the form of `/proc/mounts` shows a BPF file system at [`BPFFS`].
fn has_bpffs(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(BPFFS) && fields.next() == Some("bpf")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bpffs_elsewhere_is_not_the_one() {
        assert!(has_bpffs(
            "sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw,mode=700 0 0\n"
        ));
        assert!(!has_bpffs("bpf /mnt/bpf bpf rw 0 0\n"));
        assert!(!has_bpffs("none /sys/fs/bpf tmpfs rw 0 0\n"));
        assert!(!has_bpffs(""));
    }

    #[test]
    fn root_runs_programs_directly_and_others_through_sudo() {
        let shown =
            |elevation: Elevation| format!("{:?}", elevation.command("target/debug/sluice"));
        assert_eq!(shown(Elevation::Root), r#""target/debug/sluice""#);
        assert_eq!(
            shown(Elevation::Sudo),
            r#""sudo" "-E" "target/debug/sluice""#
        );
    }

    #[test]
    fn the_developers_own_cargo_settings_stay() {
        for name in [
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_JOBS",
            "CARGO_HOME",
            "RUSTFLAGS",
        ] {
            assert!(!is_about_a_package(OsStr::new(name)), "{name}");
        }
        assert!(is_about_a_package(OsStr::new("CARGO_PKG_VERSION")));
    }
}

//! An ordinary user with some capabilities, and a BPF file system of its own, who runs the daemon.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::{config::Config, programs, sweep};

/// `nobody`.
const ID: u32 = 65_534;

/// What the daemon needs, as `setpriv` names it.
pub const CAPABILITIES: [&str; 4] = ["net_admin", "net_raw", "perfmon", "bpf"];

/// How `nobody` runs the daemon, and where: a folder with what it must own. Dropping it removes the
/// folder; the daemon has to be gone by then.
#[derive(Debug)]
pub struct Ordinary {
    folder: TempDir,
    capabilities: Vec<String>,
}

impl Ordinary {
    /// The user, with `capabilities` and no others.
    pub fn with(capabilities: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&sweep::unique_name())
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        let user = Self {
            folder,
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
        };
        // The target folder may be under somebody's home.
        fs::copy(programs::sluice()?, user.program())?;
        fs::set_permissions(user.program(), Permissions::from_mode(0o755))?;
        for folder in [user.bpffs(), user.run(), user.state()] {
            fs::create_dir(&folder)?;
        }
        // Linux 6.8 has uid= and gid=; a change of the owner works with every kernel.
        mount(
            Some("bpf"),
            &user.bpffs(),
            Some("bpf"),
            MsFlags::empty(),
            Some("mode=0700"),
        )
        .context("mounting a BPF file system")?;
        for folder in [user.bpffs(), user.run(), user.state()] {
            chown(folder, Some(ID), Some(ID))?;
        }
        Ok(user)
    }

    /// Makes a configuration use what the user owns.
    pub fn adapt(&self, config: &mut Config) {
        config.daemon.bpffs = self.bpffs();
        config.daemon.admin_socket = self.run().join("admin.sock");
        config.daemon.state_dir = self.state();
    }

    /// The user's BPF file system.
    pub fn bpffs(&self) -> PathBuf {
        self.folder.path().join(sweep::OWN_BPFFS)
    }

    /// Where its admin socket is.
    pub fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Takes a folder away from the user, who may still look into it.
    pub fn take_away(&self, folder: &Path) -> Result<()> {
        chown(folder, Some(0), Some(0))?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Makes the BPF file system read-only, for root too.
    pub fn freeze_bpffs(&self) -> Result<()> {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        let none = None::<&str>;
        mount(none, &self.bpffs(), none, flags, none).context("making it read-only")
    }

    /// Program and arguments that the daemon's own follow.
    pub fn launcher(&self) -> Vec<OsString> {
        let only = |option: &str| {
            let added = self.capabilities.iter().map(|name| format!(",+{name}"));
            format!("--{option}=-all{}", added.collect::<String>())
        };
        let words = [
            "setpriv".to_owned(),
            format!("--reuid={ID}"),
            format!("--regid={ID}"),
            "--clear-groups".to_owned(),
            only("inh-caps"),
            only("ambient-caps"),
            only("bounding-set"),
        ];
        let words = words.into_iter().map(OsString::from);
        words.chain([self.program().into_os_string()]).collect()
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("sluice")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }
}

impl Drop for Ordinary {
    fn drop(&mut self) {
        let _ = umount2(&self.bpffs(), MntFlags::MNT_DETACH);
    }
}

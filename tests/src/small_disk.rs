//! A file system that is full at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A tmpfs of one page: one small file fits, a second one does not. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it at `path`, which is made.
    pub fn mount(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=4k,mode=0700"),
        )
        .with_context(|| format!("mounting a tmpfs on {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Takes its only page.
    pub fn fill(&self) -> Result<()> {
        fs::write(self.filler(), [1]).context("filling the disk")
    }

    /// Gives it back.
    pub fn empty(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("emptying the disk")
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

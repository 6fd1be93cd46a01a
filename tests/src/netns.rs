//! Named network namespaces, kept where `ip netns` keeps them, so that `ip netns exec NAME` works for users.
//!
//! A namespace lives from [`NetNs::create`] to its drop. What runs in it is `host`'s matter.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

/// Where `ip netns` looks for names.
pub const RUN_DIR: &str = "/run/netns";

/// A named network namespace; dropping it removes the name.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    file: File,
}

impl NetNs {
    /// Makes a namespace named `name`; fails where the name is taken.
    pub fn create(name: &str) -> Result<Self> {
        prepare_run_dir().with_context(|| format!("preparing {RUN_DIR}"))?;
        let path = path(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)
            .with_context(|| format!("creating {}", path.display()))?;
        match pin_new_namespace(&path) {
            Ok(file) => Ok(Self {
                name: name.to_owned(),
                file,
            }),
            Err(error) => {
                let _ = remove(name);
                Err(error.context(format!("making the network namespace {name}")))
            }
        }
    }

    /// The name below [`RUN_DIR`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Moves the calling thread into the namespace.
    pub fn enter(&self) -> io::Result<()> {
        enter(self.fd())
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        let _ = remove(&self.name);
    }
}

/// Moves the calling thread into the namespace behind `fd`.
pub fn enter(fd: BorrowedFd<'_>) -> io::Result<()> {
    setns(fd, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// The names there are.
pub fn list() -> Vec<String> {
    let Ok(entries) = fs::read_dir(RUN_DIR) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Removes a name; the namespace goes once nothing runs in it.
pub fn remove(name: &str) -> Result<()> {
    let path = path(name);
    // A name whose maker died between the two steps is a plain file: EINVAL.
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(errno) => return Err(errno).context(format!("unmounting {}", path.display())),
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).context(format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(RUN_DIR).join(name)
}

/// A thread of its own leaves for the new namespace: the caller stays where it is.
fn pin_new_namespace(path: &Path) -> Result<File> {
    thread::scope(|scope| {
        scope
            .spawn(|| -> Result<File> {
                unshare(CloneFlags::CLONE_NEWNET).context("unshare")?;
                let none = None::<&str>;
                mount(
                    Some("/proc/thread-self/ns/net"),
                    path,
                    none,
                    MsFlags::MS_BIND,
                    none,
                )
                .context("binding the namespace to its name")?;
                File::open(path).context("opening it")
            })
            .join()
            .map_err(|_| anyhow!("the thread panicked"))?
    })
}

/// As `ip netns add` does: the folder is a shared mount, so that a removal reaches every mount
/// namespace. The lock keeps two makers from mounting it twice.
fn prepare_run_dir() -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(RUN_DIR)?;
    let _lock = Flock::lock(File::open(RUN_DIR)?, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .context("locking it")?;
    let none = None::<&str>;
    let share = || {
        mount(
            none,
            RUN_DIR,
            none,
            MsFlags::MS_SHARED | MsFlags::MS_REC,
            none,
        )
    };
    match share() {
        Err(Errno::EINVAL) => {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(RUN_DIR), RUN_DIR, none, bind, none).context("binding it to itself")?;
            share().context("sharing it")
        }
        result => result.context("sharing it"),
    }
}

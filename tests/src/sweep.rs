//! What a killed run left behind is cleaned by the next.
//!
//! Names made here carry the id of the process that made them: `slt-<pid>-<n>...`. Whatever names a
//! process that is gone may go.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        signal::kill,
        statfs::{BPF_FS_MAGIC, statfs},
    },
    unistd::{Pid, geteuid},
};

use crate::netns;

/// Where pins live, a folder an instance.
pub const PINS: &str = "/sys/fs/bpf/sluice";

/// The name, below a BPF file system, of the folder with a folder for each instance of `sluice decap`.
pub const DECAP: &str = "sluice-decap";

/// Where sockets live, a folder an instance.
pub const RUN: &str = "/run/sluice";

/// Where the BPF file system is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";

/// The name, inside a temporary folder, of a BPF file system that only one daemon uses.
pub const OWN_BPFFS: &str = "bpf";

/// The name, inside a temporary folder, of a daemon's state, which may be a file system of its own.
pub const STATE: &str = "state";
const PREFIX: &str = "slt-";

/// A name nobody else has: `slt-<pid>-<n>`; fits an instance and starts a namespace's name.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{n}", std::process::id())
}

/// Whether tests that need root can run; the first call also cleans what dead runs left.
///
/// # Panics
/// Without root, unless `SLUICE_ALLOW_SKIP=1` is set: a test that does not run must not look as if
/// it had.
pub fn ready() -> bool {
    static ONCE: Once = Once::new();
    if !geteuid().is_root() {
        let why = "network namespaces and XDP need root";
        let allowed = std::env::var("SLUICE_ALLOW_SKIP").is_ok_and(|value| value == "1");
        assert!(
            allowed,
            "{why}: run as root, or set SLUICE_ALLOW_SKIP=1 to skip"
        );
        eprintln!("skipped: {why}");
        return false;
    }
    ONCE.call_once(|| {
        if let Err(error) = mount_bpffs() {
            panic!("{error:#}");
        }
        sweep();
    });
    true
}

/// Removes namespaces, pins, sockets and temporary folders of processes that are gone.
pub fn sweep() {
    for name in netns::list().iter().filter(|name| is_orphan(name)) {
        if let Err(error) = netns::remove(name) {
            eprintln!("sweep: {error:#}");
        }
    }
    let decap = Path::new(BPFFS).join(DECAP);
    for folder in [PINS.into(), decap, RUN.into(), env::temp_dir()] {
        for name in names_in(&folder).iter().filter(|name| is_orphan(name)) {
            // Where there is none, there is nothing to unmount.
            for mounted in [OWN_BPFFS, STATE] {
                let _ = umount2(&folder.join(name).join(mounted), MntFlags::MNT_DETACH);
            }
            remove_folder(&folder.join(name));
        }
    }
}

/// Removes what an instance left: its pins (which detaches its programs) and its sockets.
pub fn remove_instance(instance: &str) {
    for folder in [PINS, RUN] {
        remove_folder(&Path::new(folder).join(instance));
    }
}

/// Mounts the BPF file system where nobody has yet.
pub fn mount_bpffs() -> Result<()> {
    if statfs(BPFFS).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(());
    }
    let none = None::<&str>;
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), none)
        .with_context(|| format!("mounting the BPF file system on {BPFFS}"))
}

/// Every file below `folder`, for "nothing is left" assertions.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Removes a folder and what is in it; one that is not there is no error.
pub fn remove_folder(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            eprintln!("sweep: removing {}: {error}", path.display());
        }
        _ => {}
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether `name` names a process that is gone.
fn is_orphan(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let pid = rest
        .split('-')
        .next()
        .and_then(|pid| pid.parse::<i32>().ok());
    pid.is_some_and(|pid| pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_orphans() {
        let alive = unique_name();
        assert!(!is_orphan(&alive), "{alive}");
        assert!(!is_orphan("slt-x-1"));
        assert!(!is_orphan("sluice-client"));
        // pid_max is at most 2^22.
        assert!(is_orphan("slt-2000000000-1-client"));
    }
}

//! A virtual machine with an older kernel on this host's own files.
//!
//! Debian's 6.1 kernel in QEMU, by emulation, so that it needs neither KVM nor root. The host's root
//! is the guest's, read-only over 9p: programs built here run there as they are. What a guest leaves
//! it writes into one shared folder.

mod initramfs;
mod modules;
mod packages;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use xtask::workspace::Workspace;

use crate::step;

/// The emulator, of Debian's package `qemu-system-x86`.
const QEMU: &str = "qemu-system-x86_64";

/// What the guest's last line begins with; the script's exit code follows.
const EXIT: &str = "sluice-guest: exit ";

/// Where the guest sees the shared folder.
pub(crate) const SHARED: &str = "/mnt";

/// A guest that has hung is stopped after this time. Emulation takes tens of seconds to start.
const LIMIT: Duration = Duration::from_mins(20);

/// A guest that can be started.
pub(crate) struct Guest {
    release: String,
    kernel: PathBuf,
    initramfs: PathBuf,
    shared: PathBuf,
    checkout: PathBuf,
}

impl Guest {
    /// Fetches the kernel and makes the initial file system, unless both are there.
    pub(crate) fn prepare(workspace: &Workspace) -> Result<Self> {
        if Command::new(QEMU).arg("--version").output().is_err() {
            bail!("there is no {QEMU}: apt-get install qemu-system-x86");
        }
        let start = Instant::now();
        let folder = workspace.root().join("target/vm");
        let packages = packages::fetch(&folder)?;
        let initramfs = initramfs::make(&folder, &packages)?;
        let shared = folder.join("shared");
        fs::create_dir_all(&shared).with_context(|| format!("creating {}", shared.display()))?;
        println!(
            "== guest: Linux {}, {}",
            packages.release,
            step::seconds(start.elapsed())
        );
        Ok(Self {
            release: packages.release,
            kernel: packages.kernel,
            initramfs,
            shared,
            checkout: workspace.root().to_owned(),
        })
    }

    /// Its kernel's release, as `uname -r` says it.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// The host's side of [`SHARED`].
    pub(crate) fn shared(&self) -> &Path {
        &self.shared
    }

    /// Boots, runs `script` with the host's `sh` as root, and hands each line that it prints to
    /// `line`. Returns the script's exit code.
    pub(crate) fn run(&self, script: &str, mut line: impl FnMut(&str)) -> Result<i32> {
        let job = self.shared.join("job");
        fs::write(&job, script).with_context(|| format!("writing {}", job.display()))?;
        let mut qemu = self.command();
        step::announce("guest", &qemu);
        let mut child = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {QEMU}"))?;
        let console = child.stdout.take().context("reading the guest's console")?;
        let watchdog = Watchdog::over(child);
        let mut exit = None;
        for bytes in BufReader::new(console).split(b'\n') {
            let bytes = bytes.context("reading the guest's console")?;
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_end();
            // The firmware leaves its last line open.
            match text.split_once(EXIT) {
                Some((_, code)) => exit = code.parse().ok(),
                None => line(text),
            }
        }
        watchdog.finish()?;
        exit.context("the guest stopped before its script ended")
    }

    fn command(&self) -> Command {
        let mut qemu = Command::new(QEMU);
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-smp", "2", "-m", "2048", "-nic", "none"])
            .args(["-nographic", "-no-reboot"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 quiet panic=-1 mitigations=off sluice.checkout={}",
                self.checkout.display()
            ))
            .args([
                "-virtfs",
                "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            ])
            .arg("-virtfs")
            .arg(format!(
                "local,path={},mount_tag=shared,security_model=none",
                self.shared.display()
            ));
        qemu
    }
}

/// Stops a guest that takes too long.
struct Watchdog {
    done: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<()>>,
}

impl Watchdog {
    fn over(mut guest: Child) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let start = Instant::now();
            while !seen.load(Ordering::Relaxed) {
                if start.elapsed() > LIMIT {
                    guest.kill().context("stopping the guest")?;
                    guest.wait().context("waiting for the guest")?;
                    bail!("the guest did not finish within {}", step::seconds(LIMIT));
                }
                thread::sleep(Duration::from_millis(200));
            }
            guest.wait().context("waiting for the guest")?;
            Ok(())
        });
        Self { done, thread }
    }

    fn finish(self) -> Result<()> {
        self.done.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the guest's watchdog died"),
        }
    }
}

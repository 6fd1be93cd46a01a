//! scapy: another reader and writer of packets, by other people and in another language, in a Python
//! environment of its own below `target/tools`, which `cargo xtask test` makes.
//!
//! Its side of the tests is in `tests/scapy`, a script a task, JSON in and text out.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tempfile::TempDir;

/// The Python that has scapy.
#[derive(Debug)]
pub struct Scapy {
    python: PathBuf,
    scripts: PathBuf,
    // What scapy keeps between runs goes with it.
    cache: TempDir,
}

impl Scapy {
    /// Looks for it. `None`: skipped, and said why; not where `CI` is set.
    pub fn find() -> Result<Option<Self>> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = tests.join("../target/tools/scapy/bin/python");
        if !python.is_file() {
            let why = "scapy is not installed: `cargo xtask setup` does it, with Python 3 and its \
                       venv module";
            if env::var_os("CI").is_some() {
                bail!("{why}");
            }
            eprintln!("skipped: {why}");
            return Ok(None);
        }
        Ok(Some(Self {
            python,
            scripts: tests.join("scapy"),
            cache: tempfile::tempdir()?,
        }))
    }

    /// Runs a script of `tests/scapy` on an input, and gives what it prints.
    pub fn run(&self, script: &str, input: &impl Serialize) -> Result<String> {
        let input = serde_json::to_vec(input).context("writing a script's input")?;
        let mut child = Command::new(&self.python)
            // Nothing of the caller's, and nothing written beside the scripts.
            .args(["-I", "-B"])
            .arg(self.scripts.join(script))
            .env("XDG_CACHE_HOME", self.cache.path())
            .env("XDG_CONFIG_HOME", self.cache.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.python.display()))?;
        let mut stdin = child.stdin.take().context("the script's input")?;
        // Beside reading, since neither fits into a pipe.
        let (written, output) = thread::scope(|scope| {
            let writer = scope.spawn(move || stdin.write_all(&input));
            let output = child.wait_with_output();
            (writer.join(), output)
        });
        let output = output.with_context(|| format!("waiting for {script}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{script}: {}\n{said}", output.status);
        }
        match written {
            Ok(written) => written.with_context(|| format!("writing to {script}"))?,
            Err(_) => bail!("writing to {script} panicked"),
        }
        String::from_utf8(output.stdout).with_context(|| format!("reading {script}"))
    }
}

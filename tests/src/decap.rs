//! The real `sluice decap`, inside a backend's host: takes packets out of their tunnel.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::PathBuf,
    process::{ExitStatus, Output, Stdio},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    cli::Cli,
    daemon::{Ended, START},
    host::Host,
    ordinary::Ordinary,
    poll,
    process::Process,
    programs, sweep,
};

/// What the log says once packets are taken.
const READY: &str = " ready: ";

/// A decapsulator, of an instance of its own; dropping it ends it and removes what it left.
#[derive(Debug)]
pub struct Decap {
    instance: String,
    process: Option<Process>,
    host: Host,
    arguments: Vec<String>,
    bpffs: PathBuf,
    launcher: Vec<OsString>,
    folder: TempDir,
}

impl Decap {
    /// Takes packets out of IPIP and GUE that come to `interface` from one of `sources`, addresses or
    /// prefixes; works when this returns.
    pub fn start(host: &Host, interface: &str, sources: &[String]) -> Result<Self> {
        let mut arguments = vec!["--interface", interface];
        for source in sources {
            arguments.extend(["--from", source]);
        }
        let mut decap = Self::prepare(host, &arguments)?;
        decap.restart()?;
        Ok(decap)
    }

    /// The same with arguments as they are written, and nothing runs yet.
    pub fn prepare(host: &Host, arguments: &[&str]) -> Result<Self> {
        let instance = sweep::unique_name();
        let prefix = format!("{instance}-");
        Ok(Self {
            process: None,
            host: host.clone(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            bpffs: sweep::BPFFS.into(),
            launcher: Vec::new(),
            folder: tempfile::Builder::new().prefix(&prefix).tempdir()?,
            instance,
        })
    }

    /// Is started as another user from now on, on that user's BPF file system.
    pub fn run_as(&mut self, user: &Ordinary) {
        self.launcher = user.launcher();
        self.bpffs = user.bpffs();
    }

    /// Is started with other arguments from now on.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    }

    /// The instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Starts it, at first or again; packets are taken when this returns.
    pub fn restart(&mut self) -> Result<()> {
        let mut process = self.spawn()?;
        let ready = poll::until("the decapsulator", START, || match process.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            _ => self.log().contains(READY).then_some(Ok(())),
        });
        match ready.with_context(|| self.log())? {
            Ok(()) => {
                self.process = Some(process);
                Ok(())
            }
            Err(status) => bail!("the decapsulator ended: {status}\n{}", self.log()),
        }
    }

    /// Runs it to its end: for starts that must fail.
    pub fn run_to_end(&self) -> Result<Ended> {
        let mut process = self.spawn()?;
        let status = process.wait(START).with_context(|| self.log())?;
        Ok(Ended {
            status,
            output: self.log(),
        })
    }

    /// Kills it (SIGKILL): its program stays attached.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Stops it by a signal, and waits for its end.
    pub fn stop(&mut self, signal: Signal) -> Result<ExitStatus> {
        let Some(mut process) = self.process.take() else {
            bail!("the decapsulator does not run");
        };
        process.signal(signal);
        process.wait(START).with_context(|| self.log())
    }

    /// `sluice decap` of this instance with other arguments, such as `--counters`, to its end.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let bpffs = self.bpffs.to_string_lossy();
        let arguments = [&["decap", "--bpffs", &bpffs], arguments].concat();
        Cli::inside(&self.instance, &self.host).run(&arguments)
    }

    /// A counter by its name, as `--counters` has it; `group` is what became of the frames.
    pub fn counter(&self, group: &str, name: &str) -> Result<u64> {
        let output = self.cli(&["--counters", "--output", "json"])?;
        let report: serde_json::Value =
            serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
        let counter = report[group][name].as_u64();
        counter.with_context(|| format!("no counter {group}.{name} in {report}"))
    }

    /// Its pins.
    pub fn pins(&self) -> PathBuf {
        self.bpffs.join(sweep::DECAP).join(&self.instance)
    }

    /// What it has said since it was started last.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("decap.log")
    }

    fn spawn(&self) -> Result<Process> {
        let log = File::create(self.log_path())?;
        let mut command = programs::sluice_in(&self.host, &self.launcher)?;
        command
            .args(["--instance", &self.instance, "decap", "--bpffs"])
            .arg(&self.bpffs)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(File::options().append(true).open(self.log_path())?);
        Process::spawn(command)
    }
}

impl Drop for Decap {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the decapsulator's log\n{}", self.log());
        }
        if let Some(process) = self.process.take() {
            process.end();
        }
        sweep::remove_folder(&self.pins());
    }
}

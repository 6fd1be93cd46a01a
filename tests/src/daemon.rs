//! The real `sluice run`, inside the load balancer's host.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    cli::Cli,
    config::{Config, DaemonSection},
    host::Host,
    ordinary::Ordinary,
    poll,
    process::Process,
    programs,
    status::Status,
    sweep,
};

/// How long a start or an orderly stop may take: loading and verifying the program is most of it.
pub const START: Duration = Duration::from_secs(20);

/// A daemon; dropping it stops it and removes what it left.
#[derive(Debug)]
pub struct Daemon {
    process: Option<Process>,
    host: Host,
    config: Config,
    folder: Folder,
    lives: AtomicU32,
    launcher: Vec<OsString>,
}

/// Where configuration and logs are.
#[derive(Debug)]
enum Folder {
    Temporary(TempDir),
    Given(PathBuf),
}

impl Daemon {
    /// Starts it; its socket answers when this returns.
    pub fn start(host: &Host, config: Config) -> Result<Self> {
        let mut daemon = Self::prepare(host, config)?;
        daemon.restart()?;
        Ok(daemon)
    }

    /// Writes the configuration and starts nothing yet. Files and state go to a temporary folder.
    pub fn prepare(host: &Host, mut config: Config) -> Result<Self> {
        let prefix = format!("{}-", config.daemon.instance);
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        config.daemon.state_dir = folder.path().join(sweep::STATE);
        Self::prepare_in(host, config, Folder::Temporary(folder))
    }

    /// The same with configuration and logs in `folder`, for a user to find.
    pub fn prepare_at(host: &Host, config: Config, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Self::prepare_in(host, config, Folder::Given(folder.to_owned()))
    }

    fn prepare_in(host: &Host, config: Config, folder: Folder) -> Result<Self> {
        let daemon = Self {
            process: None,
            host: host.clone(),
            config,
            folder,
            lives: AtomicU32::new(0),
            launcher: Vec::new(),
        };
        daemon.write_config()?;
        Ok(daemon)
    }

    /// The configuration as last written by [`Self::set_config`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Changes the file; [`Self::reload`] makes the daemon read it.
    pub fn set_config(&mut self, change: impl FnOnce(&mut Config)) -> Result<()> {
        change(&mut self.config);
        self.write_config()
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder().join("sluice.toml")
    }

    /// Starts it as another user from now on, who may read its configuration.
    pub fn run_as(&mut self, user: &Ordinary) -> Result<()> {
        self.launcher = user.launcher();
        fs::set_permissions(self.folder(), Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Starts another binary from now on.
    pub fn upgrade_to(&mut self, binary: &Path) {
        self.launcher = vec![binary.into()];
    }

    /// Its admin socket.
    pub fn socket(&self) -> &Path {
        &self.config.daemon.admin_socket
    }

    /// Its pins.
    pub fn pins(&self) -> PathBuf {
        let DaemonSection {
            bpffs, instance, ..
        } = &self.config.daemon;
        bpffs.join("sluice").join(instance)
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The command line, aimed at this daemon and run inside its host.
    pub fn cli(&self) -> Cli {
        Cli::inside(&self.config.daemon.instance, &self.host).through(self.socket())
    }

    /// What `sluice status` says.
    pub fn status(&self) -> Result<Status> {
        self.cli().status()
    }

    /// Asks for the status until `condition` holds of it.
    pub fn wait_until(
        &self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut(&Status) -> bool,
    ) -> Result<Status> {
        let mut last = None;
        let found = poll::until(what, deadline, || {
            let status = self.status().ok()?;
            let holds = condition(&status);
            last = Some(status.clone());
            holds.then_some(status)
        });
        found.with_context(|| format!("the last status was {last:#?}\n{}", self.log_tail()))
    }

    /// Waits until every backend is up and has slots.
    pub fn wait_until_all_up(&self) -> Result<Status> {
        self.wait_until("all backends to be up", START, Status::all_up)
    }

    /// `sluice reload`; its exit code and what it says.
    pub fn reload(&self) -> Result<Output> {
        self.cli().run(&["reload"])
    }

    /// Kills it (SIGKILL): its program stays attached.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Stops it (SIGTERM), and waits for its end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let Some(mut process) = self.process.take() else {
            bail!("the daemon does not run");
        };
        process.signal(Signal::SIGTERM);
        process.wait(START).with_context(|| self.log_tail())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.as_mut().map_or(Ok(None), Process::try_wait)
    }

    /// Starts it again after [`Self::kill9`] or [`Self::terminate`], with the file as it is now.
    pub fn restart(&mut self) -> Result<()> {
        let mut process = self.spawn()?;
        let pid = process.pid();
        let start = Instant::now();
        loop {
            if let Some(status) = process.try_wait()? {
                bail!("the daemon ended: {status}\n{}", self.log_tail());
            }
            // The socket of a killed one may still be there: only the right process counts.
            if self.socket().exists() && self.status().is_ok_and(|status| status.pid == pid) {
                break;
            }
            if start.elapsed() > START {
                bail!(
                    "the daemon is not ready after {START:?}\n{}",
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        Ok(())
    }

    /// `sluice run` to its end: for starts that must fail.
    pub fn run_to_end(&self, change: impl FnOnce(&mut Command)) -> Result<Ended> {
        let mut command = self.command()?;
        change(&mut command);
        let log = self.log_of_next_life();
        command
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let mut process = Process::spawn(command)?;
        let status = process.wait(START).with_context(|| self.log_tail())?;
        Ok(Ended {
            status,
            output: fs::read_to_string(log)?,
        })
    }

    /// The last lines it wrote, over its lives.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        for life in 0..self.lives.load(Ordering::Relaxed) {
            let log = fs::read_to_string(self.log(life)).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines.len().saturating_sub(25);
            text += &format!(
                "--- the daemon's log, life {}\n{}\n",
                life + 1,
                lines[tail..].join("\n")
            );
        }
        text
    }

    fn spawn(&self) -> Result<Process> {
        let log = self.log_of_next_life();
        let mut command = self.command()?;
        command
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        Process::spawn(command)
    }

    fn command(&self) -> Result<Command> {
        let mut command = programs::sluice_in(&self.host, &self.launcher)?;
        command
            .arg("run")
            .arg("--config")
            .arg(self.config_path())
            .stdin(Stdio::null());
        Ok(command)
    }

    fn log_of_next_life(&self) -> PathBuf {
        self.log(self.lives.fetch_add(1, Ordering::Relaxed))
    }

    fn log(&self, life: u32) -> PathBuf {
        self.folder().join(format!("daemon-{life}.log"))
    }

    fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Temporary(folder) => folder.path(),
            Folder::Given(folder) => folder,
        }
    }

    fn write_config(&self) -> Result<()> {
        let path = self.config_path();
        fs::write(&path, self.config.to_toml()?)
            .with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        if let Some(process) = self.process.take() {
            process.end();
        }
        if self.pins().exists() {
            let bpffs = self.config.daemon.bpffs.to_string_lossy();
            let _ = self.cli().run(&["detach", "--bpffs", &bpffs]);
        }
        sweep::remove_instance(&self.config.daemon.instance);
    }
}

/// How a run that was to fail ended.
#[derive(Debug)]
pub struct Ended {
    /// How the process ended.
    pub status: ExitStatus,
    /// Both of its outputs.
    pub output: String,
}

impl Ended {
    /// The exit code; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The one line it said.
    pub fn only_line(&self) -> Result<&str> {
        let mut lines = self.output.lines().filter(|line| !line.trim().is_empty());
        match (lines.next(), lines.next()) {
            (Some(line), None) => Ok(line),
            _ => bail!(
                "not one line ({:?}):\n{}",
                self.status.signal(),
                self.output
            ),
        }
    }
}

//! The `sluice` command, aimed at one instance.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};

use crate::{host::Host, programs, status::Status};

/// Exit codes: done, or checked and a service has no usable backend.
const DONE: i32 = 0;
const UNHEALTHY: i32 = 3;

/// Runs `sluice --instance I ...`.
#[derive(Clone, Debug)]
pub struct Cli {
    instance: String,
    host: Option<Host>,
    socket: Option<PathBuf>,
}

impl Cli {
    /// Runs where the caller is: enough for all that goes through the admin socket.
    pub fn new(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            host: None,
            socket: None,
        }
    }

    /// Runs inside `host`.
    pub fn inside(instance: &str, host: &Host) -> Self {
        Self {
            instance: instance.to_owned(),
            host: Some(host.clone()),
            socket: None,
        }
    }

    /// Talks to a socket that is not where the instance's would be.
    pub fn through(mut self, socket: &Path) -> Self {
        self.socket = Some(socket.to_owned());
        self
    }

    /// The command, to be started by the caller.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let program = programs::sluice()?;
        let mut command = match &self.host {
            Some(host) => host.command(program),
            None => Command::new(program),
        };
        forget_environment(&mut command);
        command.arg("--instance").arg(&self.instance);
        if let Some(socket) = &self.socket {
            command.arg("--socket").arg(socket);
        }
        command.args(arguments);
        Ok(command)
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments)?;
        command
            .output()
            .with_context(|| format!("running sluice {arguments:?}"))
    }

    /// What `sluice status` says.
    pub fn status(&self) -> Result<Status> {
        Status::parse(&self.status_text()?)
    }

    /// What `sluice status` says, with all of its fields.
    pub fn status_json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.status_text()?).context("reading the status")
    }

    fn status_text(&self) -> Result<String> {
        let output = self.run(&["--output", "json", "status"])?;
        if !matches!(output.status.code(), Some(DONE | UNHEALTHY)) {
            bail!("sluice status: {}: {}", output.status, stderr(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Takes out what the caller's environment would tell `sluice`.
pub(crate) fn forget_environment(command: &mut Command) {
    for variable in ["SLUICE_INSTANCE", "SLUICE_SOCKET"] {
        command.env_remove(variable);
    }
}

/// What a command wrote to its standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

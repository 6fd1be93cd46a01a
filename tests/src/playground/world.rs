//! Everything that runs: the hosts, the daemon, and what a person does to them.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use testbed::{
    cli::Cli,
    config::{Config, Health},
    daemon::Daemon,
    host::{Host, has_ipv6},
    netns, poll, sweep,
    topology::{Death, Topology},
};

use crate::{
    arguments::Options,
    control::Action,
    ledger::Ledgers,
    paths::{self, DAEMON},
};

/// The one playground of this machine. Dropping it removes everything.
#[derive(Debug)]
pub(crate) struct World {
    daemon: Daemon,
    topology: Topology,
    health: Health,
    daemon_killed: bool,
    _traces: Traces,
}

/// How the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DaemonState {
    /// As it was started.
    Running,
    /// Killed (SIGKILL), by somebody who wants to see what happens.
    Killed,
    /// It ended, and nobody asked for that.
    Ended(ExitStatus),
}

impl World {
    /// Builds everything; every backend is up when this returns.
    pub(crate) fn build(options: &Options) -> Result<Self> {
        let Options {
            backends,
            duration: _,
            forward,
            xdp_mode,
            udp,
            ipv6,
        } = *options;
        if !geteuid().is_root() {
            bail!("network namespaces and XDP need root: run it with sudo");
        }
        if ipv6 && !has_ipv6() {
            bail!("this kernel has no IPv6: run it without --ipv6");
        }
        let traces = Traces::take_over()?;
        sweep::mount_bpffs()?;
        sweep::sweep();

        let topology = Topology::builder()
            .prefix(paths::PREFIX)
            .backends(backends)
            .forward(forward)
            .build()?;
        let health = Health {
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(300),
            ..Health::quick()
        };
        let mut config = Config::new(paths::INSTANCE, &topology);
        config.daemon.admin_socket = paths::ADMIN_SOCKET.into();
        config.daemon.state_dir = paths::STATE.into();
        config.web().health = vec![health.clone()];
        config.attach_as(xdp_mode);
        if ipv6 {
            config.add_ipv6();
        }
        if udp {
            config.add_udp();
        }
        let mut daemon = Daemon::prepare_at(&topology.lb, config, Path::new(paths::FOLDER))?;
        daemon.restart().context("starting the daemon")?;
        daemon.wait_until_all_up()?;
        Ok(Self {
            daemon,
            topology,
            health,
            daemon_killed: false,
            _traces: traces,
        })
    }

    /// Where requests come from.
    pub(crate) fn client(&self) -> &Host {
        &self.topology.client
    }

    /// The load balancer's namespace.
    pub(crate) fn lb_name(&self) -> &str {
        self.topology.lb.name()
    }

    /// The command line, aimed at the daemon.
    pub(crate) fn cli(&self) -> Cli {
        self.daemon.cli()
    }

    /// The last lines the daemon wrote.
    pub(crate) fn daemon_log(&self) -> String {
        self.daemon.log_tail()
    }

    /// How the daemon is.
    pub(crate) fn daemon_state(&mut self) -> Result<DaemonState> {
        use std::os::unix::process::ExitStatusExt as _;
        match self.daemon.ended()? {
            Some(status) if status.signal() == Some(Signal::SIGKILL as i32) => {
                self.daemon.kill9();
                self.daemon_killed = true;
            }
            Some(status) => return Ok(DaemonState::Ended(status)),
            None => {}
        }
        Ok(if self.daemon_killed {
            DaemonState::Killed
        } else {
            DaemonState::Running
        })
    }

    /// Does what a person asked for; says what it did.
    pub(crate) fn act(
        &mut self,
        action: Action,
        target: &str,
        ledgers: &mut Ledgers,
    ) -> Result<String> {
        if target == DAEMON {
            return self.act_on_daemon(action);
        }
        let names = self.topology.backends.iter().map(|one| one.name.clone());
        let names = names.collect::<Vec<_>>().join(", ");
        let detection = self.health.detection();
        let Some(backend) = self.topology.backend_mut(target) else {
            bail!("there is no {target}: there are {names} and {DAEMON}");
        };
        match action {
            Action::Kill | Action::Stop => {
                let death = if action == Action::Kill {
                    Death::Killed
                } else {
                    Death::Stopped
                };
                ledgers.excuse(Instant::now(), detection);
                backend.die(death)?;
                let past = if action == Action::Kill {
                    "killed"
                } else {
                    "stopped"
                };
                Ok(format!(
                    "{target} is {past}: left out within {detection:.1?}"
                ))
            }
            Action::Revive => {
                backend.revive()?;
                let recovery = self.health.recovery();
                Ok(format!(
                    "{target} is back: gets requests within {recovery:.1?}"
                ))
            }
        }
    }

    /// Stops a daemon that was started by hand after a kill; ours stops with the guard.
    pub(crate) fn stop_foreign_daemon(&self) {
        if self.daemon_killed {
            stop_leftover_daemon();
        }
    }

    fn act_on_daemon(&mut self, action: Action) -> Result<String> {
        match action {
            Action::Kill => {
                self.daemon.kill9();
                self.daemon_killed = true;
                Ok("the daemon is killed: packets keep flowing, nobody checks health".to_owned())
            }
            Action::Stop => bail!("the daemon can be killed and revived, not stopped"),
            Action::Revive if !self.daemon_killed => bail!("the daemon runs"),
            Action::Revive if self.cli().status().is_ok() => bail!("a daemon was started by hand"),
            Action::Revive => {
                self.daemon.restart()?;
                self.daemon_killed = false;
                Ok("the daemon is back, and has adopted what it found".to_owned())
            }
        }
    }
}

/// What a playground leaves on the machine while it runs; none of it after this is dropped.
#[derive(Debug)]
struct Traces {
    _lock: File,
}

impl Traces {
    /// Becomes the one playground, and cleans what a killed one left.
    fn take_over() -> Result<Self> {
        fs::create_dir_all(sweep::RUN).with_context(|| format!("making {}", sweep::RUN))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(paths::LOCK);
        let lock = lock.with_context(|| format!("opening {}", paths::LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "a playground is running already: end it, or break it with `playground kill b1`"
                )
            }
            Err(TryLockError::Error(error)) => return Err(error).context("locking"),
        }
        stop_leftover_daemon();
        remove_traces();
        fs::create_dir_all(paths::FOLDER).with_context(|| format!("making {}", paths::FOLDER))?;
        Ok(Self { _lock: lock })
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        remove_traces();
    }
}

fn remove_traces() {
    for name in netns::list().iter().filter(|name| is_ours(name)) {
        if let Err(error) = netns::remove(name) {
            eprintln!("{error:#}");
        }
    }
    sweep::remove_instance(paths::INSTANCE);
    sweep::remove_folder(Path::new(paths::STATE));
}

/// One that was started by hand is nobody's child, and would outlive its playground.
fn stop_leftover_daemon() {
    if !Path::new(paths::ADMIN_SOCKET).exists() {
        return;
    }
    let Ok(status) = Cli::new(paths::INSTANCE).status() else {
        return;
    };
    let process = format!("/proc/{}", status.pid);
    let program = fs::read_link(format!("{process}/exe")).unwrap_or_default();
    if program.file_name().is_some_and(|name| name == "sluice") {
        let _ = kill(Pid::from_raw(status.pid.cast_signed()), Signal::SIGTERM);
        let _ = poll::until_true("the daemon's end", Duration::from_secs(5), || {
            !Path::new(&process).exists()
        });
    }
}

fn is_ours(name: &str) -> bool {
    let Some(rest) = name
        .strip_prefix(paths::PREFIX)
        .and_then(|rest| rest.strip_prefix('-'))
    else {
        return false;
    };
    let number = rest.strip_prefix('b').map(str::parse::<u8>);
    ["client", "router", "lb"].contains(&rest) || matches!(number, Some(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_playgrounds_own_hosts_are_removed() {
        for name in [
            "sluice-client",
            "sluice-lb",
            "sluice-router",
            "sluice-b1",
            "sluice-b12",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "sluice",
            "sluice-b",
            "sluice-bx",
            "sluice-mine",
            "slt-1-0-b1",
            "client",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}

//! The playground, as a user runs it. Its names are fixed, so one test has it at a time.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use testbed::{cli::Cli, netns, poll, process::Process, programs, sweep};

const START: Duration = Duration::from_secs(40);
const SOON: Duration = Duration::from_secs(15);

static TURN: Mutex<()> = Mutex::new(());

/// A playground in the background, and its output in a file.
struct Playground {
    process: Process,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Playground {
    fn start(arguments: &[&str]) -> Result<Option<Self>> {
        if !sweep::ready() {
            return Ok(None);
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new()
            .prefix(&sweep::unique_name())
            .tempdir()?;
        let output = File::create(folder.path().join("output"))?;
        let mut command = Command::new(programs::playground()?);
        command
            .arg("run")
            .args(arguments)
            .stdout(output.try_clone()?)
            .stderr(output);
        let process = Process::spawn(command)?;
        Ok(Some(Self {
            process,
            folder,
            _turn: turn,
        }))
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    fn wait_for_output(&self, text: &str, deadline: Duration) -> Result<()> {
        poll::until_true(&format!("`{text}`"), deadline, || {
            self.output().contains(text)
        })
        .with_context(|| self.output())
    }

    /// Its exit code, within `deadline`.
    fn end(&mut self, deadline: Duration) -> Result<Option<i32>> {
        let status = self.process.wait(deadline).with_context(|| self.output())?;
        Ok(status.code())
    }
}

fn command(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs::playground()?);
    command
        .args(arguments)
        .output()
        .context("running the playground's command")
}

fn text(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        testbed::cli::stderr(output),
    );
    format!("{out}{err}")
}

fn names() -> Vec<String> {
    netns::list()
        .into_iter()
        .filter(|name| name.starts_with("sluice-"))
        .collect()
}

fn assert_nothing_left() {
    assert!(names().is_empty(), "{:?}", names());
    for folder in ["/sys/fs/bpf/sluice", "/run/sluice", "/var/lib/sluice"] {
        let path = PathBuf::from(folder).join("playground");
        assert!(!path.exists(), "{}", path.display());
    }
}

#[test]
fn it_ends_by_itself_with_requests_on_every_backend() -> Result<()> {
    let Some(mut playground) = Playground::start(&["--duration", "4s", "--backends", "2"])? else {
        return Ok(());
    };
    let code = playground.end(START)?;
    let output = playground.output();
    assert_eq!(code, Some(0), "{output}");
    for name in ["b1", "b2"] {
        let line = output
            .lines()
            .rfind(|line| line.trim_start().starts_with(name));
        let line = line.with_context(|| format!("no {name} in: {output}"))?;
        assert!(
            line.contains(" requests") && !line.contains(" 0 requests"),
            "{line}"
        );
    }
    assert!(output.contains("failed 0 "), "{output}");
    assert!(output.contains("packets seen"), "{output}");
    assert_nothing_left();
    Ok(())
}

#[test]
fn backends_and_the_daemon_are_killed_and_revived_from_a_second_terminal() -> Result<()> {
    let Some(mut playground) = Playground::start(&[])? else {
        return Ok(());
    };
    playground.wait_for_output("   1s ", START)?;
    let said = text(&command(&["kill", "b2"])?);
    assert!(said.contains("b2 is killed"), "{said}");
    playground.wait_for_output("b2 down 0%", SOON)?;
    let said = text(&command(&["revive", "b2"])?);
    assert!(said.contains("b2 is back"), "{said}");
    let cli = Cli::new("playground");
    poll::until_true("b2 to serve", SOON, || {
        cli.status()
            .is_ok_and(|status| status.backend("b2").serves())
    })?;

    let refused = command(&["kill", "b9"])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("there is no b9"),
        "{}",
        text(&refused)
    );

    let second = command(&["run", "--duration", "1s"])?;
    assert_eq!(second.status.code(), Some(1));
    let said = testbed::cli::stderr(&second);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("running already"), "{said}");

    let before = cli.status()?;
    let said = text(&command(&["kill", "daemon"])?);
    assert!(said.contains("packets keep flowing"), "{said}");
    playground.wait_for_output("daemon killed; restart:", SOON)?;
    let said = text(&command(&["revive", "daemon"])?);
    assert!(said.contains("the daemon is back"), "{said}");
    assert_ne!(cli.status()?.pid, before.pid);

    playground.process.signal(Signal::SIGTERM);
    let code = playground.end(SOON)?;
    assert_eq!(code, Some(0), "{}", playground.output());
    assert!(
        playground.output().contains("playground: "),
        "{}",
        playground.output()
    );
    assert_nothing_left();
    Ok(())
}

#[test]
fn a_killed_playground_leaves_no_process_and_the_next_cleans_the_rest() -> Result<()> {
    let Some(mut first) = Playground::start(&[])? else {
        return Ok(());
    };
    first.wait_for_output("   1s ", START)?;
    let daemon = Cli::new("playground").status()?.pid;
    first.process.signal(Signal::SIGKILL);
    first.end(SOON)?;
    drop(first);
    poll::until_true("the daemon's end", SOON, || {
        !Path::new(&format!("/proc/{daemon}")).exists()
    })?;
    assert!(!names().is_empty(), "nothing ran to clean it");

    let Some(mut next) = Playground::start(&["--duration", "2s"])? else {
        return Ok(());
    };
    let code = next.end(START)?;
    assert_eq!(code, Some(0), "{}", next.output());
    assert_nothing_left();
    Ok(())
}

#[test]
fn by_dsr_and_udp_a_stop_and_a_kill_excuse_what_they_cost() -> Result<()> {
    let arguments = ["--forward", "dsr", "--xdp-mode", "generic", "--udp"];
    let Some(mut playground) = Playground::start(&arguments)? else {
        return Ok(());
    };
    playground.wait_for_output("   1s ", START)?;
    let said = text(&command(&["stop", "b3"])?);
    assert!(said.contains("b3 is stopped"), "{said}");
    playground.wait_for_output("b3 down 0%", SOON)?;
    let said = text(&command(&["kill", "b2"])?);
    assert!(said.contains("b2 is killed"), "{said}");
    playground.wait_for_output("b2 down 0%", SOON)?;

    playground.process.signal(Signal::SIGTERM);
    let code = playground.end(SOON)?;
    let output = playground.output();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(" UDP requests, "), "{output}");
    assert!(output.contains("XDP       dsr, generic, "), "{output}");
    assert_nothing_left();
    Ok(())
}

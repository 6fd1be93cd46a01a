//! Child processes that do not outlive the program that started them.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, ExitStatus},
    sync::{
        OnceLock,
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::{Pid, getpid, getppid},
};

use crate::{netns, poll};

/// A running child; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` in a process group of its own: a Ctrl-C at the terminal reaches only the
    /// program in front, which then stops its children in their order.
    pub fn spawn(mut command: Command) -> Result<Self> {
        command.process_group(0);
        let what = command.get_program().display().to_string();
        let child =
            spawn_from_lasting_thread(command).with_context(|| format!("starting {what}"))?;
        Ok(Self { child })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; one that has ended already is no error.
    pub fn signal(&self, signal: Signal) {
        // The child is not reaped before `wait`, so the id is still its own.
        let _ = kill(self.nix_pid(), signal);
    }

    /// The exit status, once there is one.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("waiting for a child")
    }

    /// The exit status within `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let pid = self.pid();
        poll::until(&format!("the end of process {pid}"), deadline, || {
            self.child.try_wait().ok().flatten()
        })
    }

    /// Asks it to end (SIGTERM), and kills it where it does not.
    pub fn end(mut self) {
        self.signal(Signal::SIGTERM);
        let _ = self.wait(Duration::from_secs(5));
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.pid().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes `command` die with the thread that starts it.
pub fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: prctl and getppid are async-signal-safe; the closure allocates nothing.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                // It died before the line above: nobody will send the signal.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

/// Makes `command` run inside the network namespace behind `fd`.
pub fn enter_before_exec(command: &mut Command, fd: OwnedFd) {
    use std::os::fd::AsFd as _;
    // SAFETY: setns is async-signal-safe; the closure owns the descriptor and allocates nothing.
    unsafe {
        command.pre_exec(move || netns::enter(fd.as_fd()));
    }
}

type Request = (Command, SyncSender<io::Result<Child>>);

/// The parent-death signal is sent when the *thread* that forked ends, so one thread that lasts as
/// long as the program starts every child.
fn spawn_from_lasting_thread(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    die_with_parent(&mut command);
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = sync_channel(1);
    let gone = || io::Error::other("the thread that starts children is gone");
    spawner.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

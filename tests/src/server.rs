//! An HTTP server in a process of its own, so that it can be killed, stopped and revived.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
};

use crate::{counts::Counts, host::Host, http, poll, process::Process, programs};

/// How long a started server may take to listen.
const START: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted. The kernel goes on accepting for a stopped process until
/// they are that many, and a TCP health check notices nothing before: few, so that it does soon.
const BACKLOG: u32 = 16;

/// An HTTP server inside a host, answering with its name; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    process: Option<Process>,
    stopped: bool,
    host: Host,
    name: String,
    address: SocketAddr,
    counts: Arc<Counts>,
}

impl Server {
    /// Listens when this returns.
    pub fn start(host: &Host, name: &str, address: SocketAddr) -> Result<Self> {
        let mut server = Self {
            process: None,
            stopped: false,
            host: host.clone(),
            name: name.to_owned(),
            address,
            counts: Arc::new(Counts::new()?),
        };
        server.revive()?;
        Ok(server)
    }

    /// TCP connections accepted over all lives, health checks too.
    pub fn connections(&self) -> u64 {
        self.counts.connections()
    }

    /// HTTP requests answered over all lives.
    pub fn requests(&self) -> u64 {
        self.counts.requests()
    }

    /// Whether it runs and is not stopped.
    pub fn is_running(&self) -> bool {
        self.process.is_some() && !self.stopped
    }

    /// Kills it (SIGKILL): the host answers its port with RST.
    pub fn kill(&mut self) {
        self.process = None;
        self.stopped = false;
    }

    /// Stops it (SIGSTOP): the host accepts connections, nobody answers them.
    pub fn stop(&mut self) {
        if let Some(process) = &self.process {
            process.signal(Signal::SIGSTOP);
            self.stopped = true;
        }
    }

    /// Starts it again after a kill, continues it after a stop; listens when this returns.
    pub fn revive(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => {
                process.signal(Signal::SIGCONT);
                self.stopped = false;
            }
            None => self.process = Some(self.spawn()?),
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Process> {
        let mut command = self.host.command(programs::playground()?);
        command.args([
            "serve",
            "--name",
            &self.name,
            "--listen",
            &self.address.to_string(),
        ]);
        command.arg("--counts").arg(self.counts.path());
        let mut process = Process::spawn(command)?;
        let pid = process.pid();
        let listening = poll::until(&format!("{} to listen", self.name), START, || match process
            .try_wait()
        {
            Ok(Some(status)) => Some(Err(status)),
            _ => (self.counts.listener() == Some(pid)).then_some(Ok(())),
        })?;
        match listening {
            Ok(()) => Ok(process),
            Err(status) => bail!("the server {} ended: {status}", self.name),
        }
    }
}

/// The server's process: serves until killed.
pub fn run(name: &str, address: SocketAddr, counts: &Path) -> Result<()> {
    let counts = Arc::new(Counts::open(counts)?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = listen(address).with_context(|| format!("listening on {address}"))?;
        counts.set_listening();
        http::serve(listener, name, counts).await;
        Ok(())
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

//! A server in a process of its own, so that it can be killed, stopped and revived: HTTP and UDP on
//! the same addresses.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::{net::UdpSocket, runtime::Builder, task::JoinSet};

use crate::{
    counts::Counts, host::Host, http, listening, mode::Family, poll, process::Process, programs,
    udp,
};

/// How long a started server may take to listen.
const START: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted. The kernel goes on accepting for a stopped process until
/// they are that many, and a TCP health check notices nothing before: few, so that it does soon.
const BACKLOG: i32 = 16;

/// A server inside a host, answering HTTP and UDP with its name; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    process: Option<Process>,
    stopped: bool,
    host: Host,
    name: String,
    addresses: Vec<SocketAddr>,
    counts: Arc<Counts>,
}

impl Server {
    /// Listens on all `addresses` when this returns.
    pub fn start(host: &Host, name: &str, addresses: &[SocketAddr]) -> Result<Self> {
        let mut server = Self {
            process: None,
            stopped: false,
            host: host.clone(),
            name: name.to_owned(),
            addresses: addresses.to_vec(),
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

    /// UDP questions answered over all lives.
    pub fn datagrams(&self) -> u64 {
        self.counts.datagrams()
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
        command.args(["serve", "--name", &self.name]);
        for address in &self.addresses {
            command.arg("--listen").arg(address.to_string());
        }
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
pub fn run(name: &str, addresses: &[SocketAddr], counts: &Path) -> Result<()> {
    let counts = Arc::new(Counts::open(counts)?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut serving = JoinSet::new();
        for address in tcp_addresses(addresses) {
            let listener = listening::listen(address, BACKLOG);
            let listener = listener.with_context(|| format!("listening on {address}"))?;
            let (named, counted) = (name.to_owned(), Arc::clone(&counts));
            serving.spawn(async move { http::serve(listener, &named, counted).await });
        }
        for address in addresses {
            let socket = UdpSocket::bind(address).await;
            let socket = socket.with_context(|| format!("listening on {address}, UDP"))?;
            let (named, counted) = (name.to_owned(), Arc::clone(&counts));
            serving.spawn(async move { udp::serve(socket, &named, counted).await });
        }
        counts.set_listening();
        while serving.join_next().await.is_some() {}
        Ok(())
    })
}

/// Addresses of a family that share a port share a socket, and so its queue: a health check of one notices that
/// nobody accepts what comes to the other. UDP sockets are one an address, which they answer from.
fn tcp_addresses(addresses: &[SocketAddr]) -> BTreeSet<SocketAddr> {
    let one = |address: &SocketAddr| {
        let same = |other: &&SocketAddr| {
            other.port() == address.port() && other.is_ipv4() == address.is_ipv4()
        };
        let shared = addresses.iter().filter(same).count() > 1;
        if shared {
            SocketAddr::new(Family::of(address.ip()).anywhere(), address.port())
        } else {
            *address
        }
    };
    addresses.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_the_same_port_share_a_tcp_socket() {
        let all = |texts: &[&str]| -> Vec<SocketAddr> {
            let parsed = texts.iter().map(|text| text.parse().expect("an address"));
            parsed.collect()
        };
        let cases = [
            (&["10.0.0.1:80"][..], &["10.0.0.1:80"][..]),
            (&["10.0.0.1:80", "10.0.0.2:80"], &["0.0.0.0:80"]),
            (
                &["10.0.0.1:80", "10.0.0.1:81", "[fd77::1]:80"],
                &["10.0.0.1:80", "10.0.0.1:81", "[fd77::1]:80"],
            ),
            (
                &["10.0.0.1:80", "[fd77::1]:80", "[fd77::2]:80"],
                &["10.0.0.1:80", "[::]:80"],
            ),
        ];
        for (addresses, expected) in cases {
            let listened: Vec<_> = tcp_addresses(&all(addresses)).into_iter().collect();
            assert_eq!(listened, all(expected));
        }
    }
}

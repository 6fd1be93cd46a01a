//! A TCP server that sends back what it gets, and its client.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::net::TcpListener;

use crate::{
    counts::Counts,
    host::{Host, Task},
    listening,
};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// An echo server on a thread inside a host; dropping it stops it.
#[derive(Debug)]
pub struct EchoServer {
    counts: Arc<Counts>,
    _task: Task,
}

impl EchoServer {
    /// Listens on `address` when this returns.
    pub fn start(host: &Host, address: SocketAddr) -> Result<Self> {
        let counts = Arc::new(Counts::new()?);
        let counted = Arc::clone(&counts);
        let serving = |listener| serve(listener, counted);
        let task = listening::start(host, address, BACKLOG, serving)?;
        Ok(Self {
            counts,
            _task: task,
        })
    }

    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.counts.connections()
    }
}

/// Connects from `host`, sends `message`, and checks that it comes back.
pub fn echo(host: &Host, target: SocketAddr, message: &[u8], limit: Duration) -> Result<()> {
    host.run(|| {
        let stream = TcpStream::connect_timeout(&target, limit)
            .with_context(|| format!("connecting to {target}"))?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        let mut answer = vec![0; message.len()];
        // At the same time: more than the buffers hold would wait for itself.
        let (sent, received) = thread::scope(|scope| {
            let sending = scope.spawn(|| (&stream).write_all(message));
            let received = (&stream).read_exact(&mut answer);
            (sending.join(), received)
        });
        received.context("reading the echo")?;
        sent.map_err(|_| anyhow!("the sender panicked"))?
            .context("sending")?;
        ensure!(answer == message, "the echo differs from what was sent");
        Ok(())
    })
}

async fn serve(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        counts.add_connection();
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
    }
}

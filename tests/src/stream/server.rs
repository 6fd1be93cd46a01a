//! The server: answers each message with the message and its own name.
//!
//! On the same port it answers HTTP health checks, with 200 or 503 as it is told: so a health check can
//! fail while connections go on, which is what a false alarm is.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{LINE_MAX, Question, tally::Death};
use crate::{
    host::{Host, Task},
    listening,
    mode::Family,
};

/// Connections that wait to be accepted: many open at once.
const BACKLOG: i32 = 4096;

/// A connection that is silent for so long is closed: when its packets go elsewhere, nobody says so.
const SILENCE: Duration = Duration::from_secs(10);

/// A server on a thread inside a host; dropping it kills it.
#[derive(Debug)]
pub struct StreamServer {
    host: Host,
    name: Arc<str>,
    address: SocketAddr,
    bound: SocketAddr,
    healthy: Arc<AtomicBool>,
    task: Option<Task>,
    deaths: Vec<Death>,
}

impl StreamServer {
    /// Listens on `address` when this returns; its health checks pass.
    pub fn start(host: &Host, name: &str, address: SocketAddr) -> Result<Self> {
        Self::start_at(host, name, address, address)
    }

    /// The same on every address of that family that the host has: its VIPs too.
    pub fn start_on_all_addresses(host: &Host, name: &str, address: SocketAddr) -> Result<Self> {
        let all = Family::of(address.ip()).anywhere();
        Self::start_at(host, name, address, SocketAddr::new(all, address.port()))
    }

    fn start_at(host: &Host, name: &str, address: SocketAddr, bound: SocketAddr) -> Result<Self> {
        let mut server = Self {
            host: host.clone(),
            name: name.into(),
            address,
            bound,
            healthy: Arc::new(AtomicBool::new(true)),
            task: None,
            deaths: Vec::new(),
        };
        server.listen()?;
        Ok(server)
    }

    /// What it answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is reached.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets health checks pass or fail; connections go on.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// Closes every connection and the port.
    pub fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            self.deaths.push(Death {
                backend: Arc::clone(&self.name),
                began: Instant::now(),
                ended: None,
            });
            drop(task);
        }
    }

    /// Listens again after [`Self::kill`].
    pub fn revive(&mut self) -> Result<()> {
        if self.task.is_none() {
            self.listen()?;
            if let Some(death) = self.deaths.last_mut() {
                death.ended = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Its deaths so far.
    pub fn deaths(&self) -> &[Death] {
        &self.deaths
    }

    fn listen(&mut self) -> Result<()> {
        let (name, healthy) = (Arc::clone(&self.name), Arc::clone(&self.healthy));
        let serving = |listener| serve(listener, name, healthy);
        let task = listening::start(&self.host, self.bound, BACKLOG, serving)?;
        self.task = Some(task);
        Ok(())
    }
}

/// Until dropped, with all connections: they are tasks of the same runtime.
async fn serve(listener: TcpListener, name: Arc<str>, healthy: Arc<AtomicBool>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the peer has gone already: the next one may do.
            tokio::task::yield_now().await;
            continue;
        };
        let (name, healthy) = (Arc::clone(&name), Arc::clone(&healthy));
        tokio::spawn(async move {
            // The client may vanish: that is the client's to report.
            let _ = answer(stream, &name, &healthy).await;
        });
    }
}

/// Ends with an error on a message that is not the next one: the client sees a connection that ended.
async fn answer(mut stream: TcpStream, name: &str, healthy: &AtomicBool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::with_capacity(LINE_MAX, reader);
    let mut line = String::new();
    let mut last: Option<Question> = None;
    while timeout(SILENCE, read_line(&mut reader, &mut line)).await?? > 0 {
        if last.is_none() && line.starts_with("GET ") {
            return writer.write_all(health(healthy)).await;
        }
        let question = Question::parse(line.trim_end())
            .filter(|question| follows(*question, last))
            .ok_or(io::ErrorKind::InvalidData)?;
        last = Some(question);
        let answer = format!("{question} {name}\n");
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

fn follows(question: Question, last: Option<Question>) -> bool {
    match last {
        None => question.number == 0,
        Some(last) => question.connection == last.connection && question.number == last.number + 1,
    }
}

fn health(healthy: &AtomicBool) -> &'static [u8] {
    if healthy.load(Ordering::Relaxed) {
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    } else {
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    }
}

/// Replaces `line` by the next one; a line too long is cut, hence no message. Returns its length.
pub(super) async fn read_line<R>(reader: &mut R, line: &mut String) -> io::Result<usize>
where
    R: AsyncBufRead + Unpin,
{
    line.clear();
    reader.take(LINE_MAX as u64).read_line(line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_each_other_on_one_connection() {
        let question = |connection, number| Question { connection, number };
        assert!(follows(question(1, 0), None));
        assert!(!follows(question(1, 3), None), "the middle of another one");
        assert!(follows(question(1, 4), Some(question(1, 3))));
        assert!(!follows(question(1, 3), Some(question(1, 3))));
        assert!(!follows(question(2, 4), Some(question(1, 3))));
    }
}

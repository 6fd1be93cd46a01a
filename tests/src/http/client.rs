//! The client: a fresh connection a request, or one kept open by whoever wants that.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the TCP handshake.
    pub connect: Duration,
    /// From then to the last byte of the answer.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(2),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body; a backend sends its name and a newline.
    pub body: String,
    /// The client's end of the connection.
    pub local: SocketAddr,
    /// How long the TCP handshake took; more than a second means a SYN was sent twice.
    pub connect: Duration,
}

impl Reply {
    /// The name of the backend that answered.
    pub fn backend(&self) -> &str {
        self.body.trim_end()
    }
}

/// Requests `/` from `target` on a connection of its own; anything but 200 is an error.
pub async fn get(target: SocketAddr, timeouts: Timeouts) -> Result<Reply> {
    let mut connection = Connection::open(target, timeouts).await?;
    let reply = connection.request(true).await?;
    ensure!(
        reply.status == 200,
        "the answer's status is {}",
        reply.status
    );
    Ok(reply)
}

/// A connection that can carry several requests.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
    target: SocketAddr,
    local: SocketAddr,
    connect: Duration,
    timeouts: Timeouts,
}

impl Connection {
    /// Connects to `target`.
    pub async fn open(target: SocketAddr, timeouts: Timeouts) -> Result<Self> {
        let start = Instant::now();
        let stream = timeout(timeouts.connect, TcpStream::connect(target))
            .await
            .with_context(|| format!("no connection to {target} in {:?}", timeouts.connect))?
            .with_context(|| format!("connecting to {target}"))?;
        let connect = start.elapsed();
        let local = stream.local_addr()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("handshake")?;
        let driver = tokio::spawn(connection);
        Ok(Self {
            sender,
            driver,
            target,
            local,
            connect,
            timeouts,
        })
    }

    /// Requests `/`; keeps the connection for another request.
    pub async fn get(&mut self) -> Result<Reply> {
        self.request(false).await
    }

    async fn request(&mut self, close: bool) -> Result<Reply> {
        let (local, limit) = (self.local, self.timeouts.answer);
        timeout(limit, self.exchange(close))
            .await
            .with_context(|| format!("no answer in {limit:?} on the connection from {local}"))?
            .with_context(|| format!("on the connection from {local}"))
    }

    async fn exchange(&mut self, close: bool) -> Result<Reply> {
        let mut request = Request::get("/").header(HOST, self.target.to_string());
        if close {
            request = request.header(CONNECTION, "close");
        }
        self.sender.ready().await?;
        let response = self
            .sender
            .send_request(request.body(Empty::new())?)
            .await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        let body = String::from_utf8(body.to_vec()).context("the body is not UTF-8")?;
        Ok(Reply {
            status,
            body,
            local: self.local,
            connect: self.connect,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

//! Large transfers over one TCP connection, one way and then back, with a checksum at each end.
//!
//! Client to server: how many bytes, the bytes, their checksum. Server to client: the checksum of what
//! arrived, as many other bytes, their checksum. So both ends know whether what they got is what was
//! sent, and neither repeats what the other said.

use std::{
    hash::Hasher,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use siphasher::sip::SipHasher13;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    host::{Host, Task},
    listening,
};

/// Enough that a connection fills its windows and its segments, whatever the MTU.
pub const LARGE: u64 = 10_000_000;

/// The same where machines are emulated and slow: a second or two.
pub const MODEST: u64 = 2_000_000;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// Written and read at once.
const CHUNK: usize = 1 << 16;
/// Each way has its own bytes.
const THERE: u64 = 1;
const BACK: u64 = 2;

/// A server on a thread inside a host; dropping it stops it.
#[derive(Debug)]
pub struct TransferServer {
    intact: Arc<AtomicU64>,
    _task: Task,
}

impl TransferServer {
    /// Listens on `address` when this returns.
    pub fn start(host: &Host, address: SocketAddr) -> Result<Self> {
        let intact = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&intact);
        let serving = |listener| serve(listener, counted);
        let task = listening::start(host, address, BACKLOG, serving)?;
        Ok(Self {
            intact,
            _task: task,
        })
    }

    /// Transfers that arrived intact here.
    pub fn intact(&self) -> u64 {
        self.intact.load(Ordering::Relaxed)
    }
}

/// Sends `bytes` bytes from `host` to a [`TransferServer`] at `target` and gets as many back, both
/// intact, within `limit`.
pub fn transfer(host: &Host, target: SocketAddr, bytes: u64, limit: Duration) -> Result<()> {
    host.block_on(|| async {
        timeout(limit, exchange(target, bytes))
            .await
            .with_context(|| format!("not done after {limit:?}"))?
    })
    .with_context(|| format!("a transfer of {bytes} bytes to {target} and back"))
}

async fn exchange(target: SocketAddr, bytes: u64) -> Result<()> {
    let mut stream = TcpStream::connect(target).await.context("connecting")?;
    stream.write_u64(bytes).await.context("sending")?;
    let sent = send(&mut stream, bytes, THERE).await.context("sending")?;
    let arrived = stream.read_u64().await.context("waiting for the answer")?;
    ensure!(arrived == sent, "what arrived there is not what was sent");
    let intact = receive(&mut stream, bytes).await.context("receiving")?.1;
    ensure!(intact, "what arrived here is not what was sent there");
    Ok(())
}

async fn serve(listener: TcpListener, intact: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        let intact = Arc::clone(&intact);
        tokio::spawn(async move {
            // The client sees, and says, what went wrong.
            let _ = answer(stream, &intact).await;
        });
    }
}

async fn answer(mut stream: TcpStream, arrived: &AtomicU64) -> io::Result<()> {
    let bytes = stream.read_u64().await?;
    let (checksum, intact) = receive(&mut stream, bytes).await?;
    arrived.fetch_add(u64::from(intact), Ordering::Relaxed);
    stream.write_u64(checksum).await?;
    send(&mut stream, bytes, BACK).await?;
    Ok(())
}

/// The checksum of what was sent, which follows it.
async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: u64, seed: u64) -> io::Result<u64> {
    let mut random = Rng::with_seed(seed);
    let mut hasher = SipHasher13::new();
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = part(&mut chunk, left);
        random.fill(part);
        hasher.write(part);
        stream.write_all(part).await?;
        left -= part.len() as u64;
    }
    stream.write_u64(hasher.finish()).await?;
    Ok(hasher.finish())
}

/// The checksum of what arrived, and whether it is that which followed.
async fn receive(stream: &mut (impl AsyncRead + Unpin), bytes: u64) -> io::Result<(u64, bool)> {
    let mut hasher = SipHasher13::new();
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = part(&mut chunk, left);
        stream.read_exact(part).await?;
        hasher.write(part);
        left -= part.len() as u64;
    }
    let checksum = hasher.finish();
    Ok((checksum, stream.read_u64().await? == checksum))
}

fn part(chunk: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    &mut chunk[..length]
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    /// What `send` writes, `receive` accepts, and not with one bit flipped.
    #[test]
    fn a_flipped_bit_is_noticed() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let bytes = 3 * CHUNK as u64 + 17;
            let mut wire = Vec::new();
            let sent = send(&mut wire, bytes, THERE).await.expect("a vector");
            let received = receive(&mut &wire[..], bytes).await.expect("all of it");
            assert_eq!(received, (sent, true));
            wire[CHUNK + 5] ^= 4;
            let received = receive(&mut &wire[..], bytes).await.expect("all of it");
            assert!(received.0 != sent && !received.1);
        });
    }
}

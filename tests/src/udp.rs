//! UDP: a server that answers with its name, and a client that asks once and waits.
//!
//! An answer is the server's name, a newline, and the question.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{net::UdpSocket, time::timeout};

use crate::{counts::Counts, mode::Family};

const QUESTION: &[u8] = b"who serves?\n";
/// Longer than any question that is asked here.
const LARGEST: usize = 2048;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name of the backend that gave it.
    pub backend: String,
    /// Where it came from.
    pub from: SocketAddr,
}

/// Answers every datagram from the address that it was sent to, until dropped.
pub async fn serve(socket: UdpSocket, name: &str, counts: Arc<Counts>) {
    let mut buffer = vec![0; LARGEST];
    let mut answer = Vec::new();
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            // An earlier answer found nobody.
            tokio::task::yield_now().await;
            continue;
        };
        counts.add_datagram();
        answer.clear();
        answer.extend_from_slice(name.as_bytes());
        answer.push(b'\n');
        answer.extend_from_slice(&buffer[..length]);
        // The client may be gone.
        let _ = socket.send_to(&answer, client).await;
    }
}

/// Asks `target` from `source_port` (0: any that is free), once, and waits until `deadline`.
pub async fn ask(target: SocketAddr, source_port: u16, deadline: Duration) -> Result<Answer> {
    let any = SocketAddr::new(Family::of(target.ip()).anywhere(), source_port);
    // Not connected: an answer from another address arrives here too, and can be told.
    let socket = UdpSocket::bind(any)
        .await
        .with_context(|| format!("binding {any}"))?;
    socket
        .send_to(QUESTION, target)
        .await
        .with_context(|| format!("asking {target}"))?;
    let mut buffer = [0; LARGEST];
    let (length, from) = timeout(deadline, socket.recv_from(&mut buffer))
        .await
        .with_context(|| format!("no answer from {target} in {deadline:?}"))??;
    let answer = &buffer[..length];
    let name = answer
        .strip_suffix(QUESTION)
        .and_then(|name| name.strip_suffix(b"\n"));
    let name = name.context("the answer is not to this question")?;
    ensure!(from == target, "{from} answered, and {target} was asked");
    Ok(Answer {
        backend: String::from_utf8_lossy(name).into_owned(),
        from,
    })
}

//! TCP sockets that listen, and servers that run on a thread inside a host.

use std::{io, net::SocketAddr};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use tokio::{net::TcpListener, sync::oneshot};

use crate::host::{Host, Task};

/// Listens; up to `backlog` connections wait to be accepted. By IPv6 alone where the address is such a
/// one, so that another socket can have the port for IPv4.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier life are still closing.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// Runs a server on a thread inside `host`; it listens when this returns, and ends with the task.
pub fn start<F: Future<Output = ()>>(
    host: &Host,
    address: SocketAddr,
    backlog: i32,
    serve: impl FnOnce(TcpListener) -> F + Send + 'static,
) -> Result<Task> {
    let (bound, is_bound) = oneshot::channel();
    let task = host.spawn(move || async move {
        match listen(address, backlog) {
            Ok(listener) => {
                let _ = bound.send(Ok(()));
                serve(listener).await;
            }
            Err(error) => {
                let _ = bound.send(Err(error));
            }
        }
    });
    let result = is_bound
        .blocking_recv()
        .context("the server's thread ended")?;
    result.with_context(|| format!("listening on {address} in {}", host.name()))?;
    Ok(task)
}

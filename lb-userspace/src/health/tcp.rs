//! The TCP probe: a connection is accepted in time, and taken back.

use std::{io, net::SocketAddr, time::Duration};

use nix::errno::Errno;
use tokio::{net::TcpSocket, time::timeout};

use super::Outcome;

/// Connects from a fresh socket and closes with RST, so that no TIME_WAIT stays on either side.
pub(super) async fn probe(address: SocketAddr, limit: Duration) -> Outcome {
    match timeout(limit, connect(address)).await {
        Ok(Ok(())) => Outcome::Passed("connected".to_owned()),
        Ok(Err(error)) => judge(&error),
        Err(_) => Outcome::Failed(format!("timed out after {limit:?}")),
    }
}

async fn connect(address: SocketAddr) -> io::Result<()> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_zero_linger()?;
    let stream = socket.connect(address).await?;
    // A connection to a free port of this host can meet itself (RFC 9293 section 3.5, simultaneous open).
    if stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

/// A backend is not to blame for what this host ran out of.
fn judge(error: &io::Error) -> Outcome {
    let errno = error.raw_os_error().map(Errno::from_raw);
    let reason = match errno {
        Some(errno) => errno.desc().to_lowercase(),
        None => error.to_string().to_lowercase(),
    };
    match errno {
        Some(
            Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::EADDRNOTAVAIL
            | Errno::EAGAIN,
        ) => Outcome::Inconclusive(reason),
        _ => Outcome::Failed(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr, thread};

    use socket2::{Domain, Socket, Type};

    use super::*;

    const PATIENT: Duration = Duration::from_secs(5);

    /// A TCP socket bound to a free port, not listening yet.
    fn bound(address: SocketAddr) -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
        socket.bind(&address.into()).expect("bind");
        let address = socket.local_addr().expect("local address");
        (socket, address.as_socket().expect("an IP address"))
    }

    fn loopback() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    #[tokio::test]
    async fn an_accepting_backend_passes() {
        let (listener, address) = bound(loopback());
        listener.listen(16).expect("listen");
        assert_eq!(
            probe(address, PATIENT).await,
            Outcome::Passed("connected".to_owned())
        );
    }

    #[tokio::test]
    async fn a_closed_port_fails_as_refused() {
        let (_reserved, address) = bound(loopback());
        assert_eq!(
            probe(address, PATIENT).await,
            Outcome::Failed("connection refused".to_owned())
        );
    }

    #[tokio::test]
    async fn a_full_backlog_fails_as_timed_out() {
        let (listener, address) = bound(loopback());
        listener.listen(0).expect("listen");
        // The queue is full when the kernel leaves a SYN unanswered.
        let mut queued = Vec::new();
        while let Ok(stream) =
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))
        {
            queued.push(stream);
            assert!(queued.len() < 64, "the backlog never fills");
        }
        assert_eq!(
            probe(address, Duration::from_millis(150)).await,
            Outcome::Failed("timed out after 150ms".to_owned())
        );
    }

    #[tokio::test]
    async fn probes_leave_no_socket_behind() {
        let (listener, address) = bound(loopback());
        listener.listen(64).expect("listen");
        // The other side closes too: an orderly close would end in TIME_WAIT here.
        let server = thread::spawn(move || {
            for _ in 0..20 {
                drop(listener.accept().expect("accept"));
            }
        });
        for _ in 0..20 {
            let outcome = probe(address, PATIENT).await;
            assert!(matches!(outcome, Outcome::Passed(_)), "{outcome:?}");
        }
        server.join().expect("the server");
        assert_eq!(sockets_to(address.port()), Vec::<String>::new());
    }

    /// Lines of `/proc/net/tcp` whose remote port is `port`, TIME_WAIT (state 06) included.
    fn sockets_to(port: u16) -> Vec<String> {
        let remote = format!(":{port:04X}");
        fs::read_to_string("/proc/net/tcp")
            .expect("/proc/net/tcp")
            .lines()
            .skip(1)
            .filter(|line| {
                line.split_whitespace()
                    .nth(2)
                    .is_some_and(|field| field.ends_with(&remote))
            })
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn reasons_are_short_and_in_lower_case() {
        let failed = |errno: Errno| judge(&io::Error::from(errno));
        assert_eq!(
            failed(Errno::EHOSTUNREACH),
            Outcome::Failed("no route to host".to_owned())
        );
        assert_eq!(
            failed(Errno::ENETUNREACH),
            Outcome::Failed("network is unreachable".to_owned())
        );
        assert_eq!(
            judge(&io::ErrorKind::ConnectionRefused.into()),
            Outcome::Failed("connection refused".to_owned())
        );
    }

    #[test]
    fn want_of_local_resources_does_not_count_against_the_backend() {
        assert_eq!(
            judge(&io::Error::from(Errno::EMFILE)),
            Outcome::Inconclusive("too many open files".to_owned())
        );
    }
}

//! The TCP probe: a connection is accepted in time, and taken back.

use std::{net::SocketAddr, time::Duration};

use tokio::time::timeout;

use super::{Outcome, socket};

/// Connects from a fresh socket and closes with RST, so that no TIME_WAIT stays on either side.
pub(super) async fn probe(address: SocketAddr, limit: Duration) -> Outcome {
    match timeout(limit, socket::connect(address)).await {
        Ok(Ok(_)) => Outcome::Passed("connected".to_owned()),
        Ok(Err(error)) => socket::judge(&error),
        Err(_) => socket::timed_out(limit),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    };

    use futures::{StreamExt, stream};
    use socket2::{Domain, Socket, Type};

    use super::{socket::tests::left_behind, *};

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

    fn both_families() -> [SocketAddr; 2] {
        [loopback(), (Ipv6Addr::LOCALHOST, 0).into()]
    }

    #[tokio::test]
    async fn an_accepting_backend_passes() {
        for own in both_families() {
            let (listener, address) = bound(own);
            listener.listen(16).expect("listen");
            assert_eq!(
                probe(address, PATIENT).await,
                Outcome::Passed("connected".to_owned())
            );
        }
    }

    #[tokio::test]
    async fn a_closed_port_fails_as_refused() {
        for own in both_families() {
            let (_reserved, address) = bound(own);
            assert_eq!(
                probe(address, PATIENT).await,
                Outcome::Failed("connection refused".to_owned())
            );
        }
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
    async fn ten_thousand_probes_leave_no_socket_behind() {
        const PROBES: usize = 10_000;
        let (listener, address) = bound(loopback());
        listener.listen(128).expect("listen");
        listener.set_nonblocking(true).expect("set_nonblocking");
        // The other side closes too: an orderly close would end in TIME_WAIT on one of them. It
        // cannot count on one connection a probe: a reset may overtake the end of the handshake.
        let done = Arc::new(AtomicBool::new(false));
        let server = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                loop {
                    // Read before looking: what came until then is accepted below.
                    let last = done.load(Ordering::Acquire);
                    while let Ok(connection) = listener.accept() {
                        drop(connection);
                    }
                    if last {
                        break;
                    }
                    thread::yield_now();
                }
            }
        });
        let probes = (0..PROBES).map(|_| probe(address, PATIENT));
        let outcomes: Vec<_> = stream::iter(probes).buffer_unordered(64).collect().await;
        for outcome in outcomes {
            assert!(matches!(outcome, Outcome::Passed(_)), "{outcome:?}");
        }
        done.store(true, Ordering::Release);
        server.join().expect("the server");
        assert_eq!(left_behind(address), Vec::<String>::new());
    }
}

//! The connection that every probe over TCP asks through: fresh, and gone without a trace.

use std::{io, net::SocketAddr, time::Duration};

use nix::errno::Errno;
use tokio::net::{TcpSocket, TcpStream};

use super::Outcome;

/// Connects from a fresh socket that closes with RST, so that no TIME_WAIT stays on either side.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
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
    Ok(stream)
}

/// A backend is not to blame for what this host ran out of.
pub(super) fn judge(error: &io::Error) -> Outcome {
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

/// The answer did not come within `limit`.
pub(super) fn timed_out(limit: Duration) -> Outcome {
    Outcome::Failed(format!("timed out after {limit:?}"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;

    /// Lines of `/proc/net/tcp`: what is left of connections to `address` on the asking side, and
    /// what is in TIME_WAIT (state 06) on the answering one. An orphan in FIN_WAIT2 may stay there:
    /// the kernel loses an RST that comes while the other end is being closed.
    pub(in crate::health) fn left_behind(address: SocketAddr) -> Vec<String> {
        let port = format!(":{:04X}", address.port());
        fs::read_to_string("/proc/net/tcp")
            .expect("/proc/net/tcp")
            .lines()
            .skip(1)
            .filter(|line| {
                let mut fields = line.split_whitespace().skip(1);
                let mut next = || fields.next().unwrap_or_default();
                let (local, remote, state) = (next(), next(), next());
                remote.ends_with(&port) || local.ends_with(&port) && state == "06"
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

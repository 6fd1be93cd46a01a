//! ICMP echo without the `ping` program.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

/// Types of a request and of its reply: RFC 792, RFC 4443.
const ECHO: (u8, u8) = (8, 0);
const ECHO6: (u8, u8) = (128, 129);
const HEADER: usize = 8;

/// Sends one echo request from `host` and waits for its reply; how long that took.
pub fn ping(host: &Host, target: impl Into<IpAddr>, limit: Duration) -> Result<Duration> {
    let target = target.into();
    host.run(|| exchange(target, limit))
        .with_context(|| format!("pinging {target}"))
}

fn exchange(target: IpAddr, limit: Duration) -> Result<Duration> {
    // A ping socket: the kernel fills in identifier and checksum, and hands over only our replies.
    let (domain, protocol, (request_type, reply_type)) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, ECHO),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, ECHO6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.set_read_timeout(Some(limit))?;
    let payload = b"sluice testbed";
    let mut request = vec![0; HEADER];
    request[0] = request_type;
    request[7] = 1;
    request.extend_from_slice(payload);

    let start = Instant::now();
    socket.send_to(&request, &SocketAddr::new(target, 0).into())?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
    let length = match socket.recv(&mut buffer) {
        Ok(length) => length,
        Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("no reply in {limit:?}"),
        Err(error) => return Err(error.into()),
    };
    // SAFETY: recv wrote the first `length` bytes.
    let reply: Vec<u8> = buffer[..length]
        .iter()
        .map(|byte| unsafe { byte.assume_init() })
        .collect();
    match reply.split_at_checked(HEADER) {
        Some((header, body)) if header[0] == reply_type && body == payload => Ok(start.elapsed()),
        _ => bail!("the reply is {reply:02x?}"),
    }
}

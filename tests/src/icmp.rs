//! ICMP echo without the `ping` program.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const HEADER: usize = 8;

/// Sends one echo request from `host` and waits for its reply; how long that took.
pub fn ping(host: &Host, target: Ipv4Addr, limit: Duration) -> Result<Duration> {
    host.run(|| exchange(target, limit))
        .with_context(|| format!("pinging {target}"))
}

fn exchange(target: Ipv4Addr, limit: Duration) -> Result<Duration> {
    // A ping socket: the kernel fills in identifier and checksum, and hands over only our replies.
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?;
    socket.set_read_timeout(Some(limit))?;
    let payload = b"sluice testbed";
    let mut request = vec![0; HEADER];
    request[0] = ECHO_REQUEST;
    request[7] = 1;
    request.extend_from_slice(payload);

    let start = Instant::now();
    socket.send_to(&request, &SocketAddrV4::new(target, 0).into())?;
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
        Some((header, body)) if header[0] == ECHO_REPLY && body == payload => Ok(start.elapsed()),
        _ => bail!("the reply is {reply:02x?}"),
    }
}

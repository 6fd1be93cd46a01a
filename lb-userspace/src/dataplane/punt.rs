//! Punted packets: replies whose next hop the kernel has yet to resolve. They are sent through a raw
//! socket, which makes the kernel ask for the address and keeps the packet until it is known.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use aya::maps::{MapData, RingBuf};
use lb_common::abi::punt::PUNT_MAX;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// An IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// An IPv6 header.
const IPV6_HEADER: usize = 40;

/// Sends what the program punts, until the ring buffer is gone. Never ends by itself.
///
/// # Errors
/// Where a socket cannot be made or the ring buffer not be waited for.
pub async fn run(ring: RingBuf<MapData>) -> io::Result<()> {
    let ipv4 = raw(Domain::IPV4)?;
    // A host may have no IPv6 at all; then nothing is punted there either.
    let ipv6 = raw(Domain::IPV6)
        .inspect_err(|error| log::debug!("no raw socket for IPv6: {error}"))
        .ok();
    // SAFETY: the ring buffer owns its descriptor and keeps it open as long as it lives.
    let mut ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
    loop {
        let mut ready = ring.readable_mut().await?;
        while let Some(entry) = ready.get_inner_mut().next() {
            let Some((packet, to)) = packet(&entry) else {
                continue;
            };
            let socket = match to {
                IpAddr::V4(_) => Some(&ipv4),
                IpAddr::V6(_) => ipv6.as_ref(),
            };
            let Some(socket) = socket else { continue };
            // A full queue or a route that just went away loses this packet, as it would on any
            // router; the sender's TCP repeats it.
            if let Err(error) = socket.send_to(packet, &SocketAddr::new(to, 0).into()) {
                log::debug!("sending a punted packet to {to}: {error}");
            }
        }
        ready.clear_ready();
    }
}

/// A socket whose packets bring their IP header along: `IPPROTO_RAW` says so for either version.
fn raw(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The packet in an entry, as long as its header says, and its destination.
fn packet(entry: &[u8]) -> Option<(&[u8], IpAddr)> {
    let (length, to) = match entry.first()? >> 4 {
        4 => {
            let header: &[u8; IPV4_HEADER] = entry.first_chunk()?;
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let to: &[u8; 4] = header.last_chunk()?;
            (Some(length).filter(|l| *l >= IPV4_HEADER)?, (*to).into())
        }
        6 => {
            let header: &[u8; IPV6_HEADER] = entry.first_chunk()?;
            let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let to: &[u8; 16] = header.last_chunk()?;
            (IPV6_HEADER + payload, (*to).into())
        }
        _ => return None,
    };
    let packet = entry.get(..length).filter(|_| length <= PUNT_MAX)?;
    Some((packet, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_as_long_as_its_header_says() {
        let mut entry = vec![0_u8; PUNT_MAX];
        entry[0] = 0x45;
        entry[3] = 40;
        entry[16..20].copy_from_slice(&[10, 77, 1, 10]);
        let (bytes, to) = packet(&entry).unwrap();
        assert_eq!((bytes.len(), to), (40, IpAddr::from([10, 77, 1, 10])));
    }

    #[test]
    fn an_ipv6_packet_is_as_long_as_its_payload_and_a_header() {
        let mut entry = vec![0_u8; PUNT_MAX];
        entry[0] = 0x60;
        entry[5] = 20;
        entry[24..26].copy_from_slice(&[0xfd, 0x77]);
        let (bytes, to) = packet(&entry).unwrap();
        assert_eq!((bytes.len(), to), (60, "fd77::".parse().unwrap()));
        entry[4..6].copy_from_slice(&2000_u16.to_be_bytes());
        assert_eq!(packet(&entry).unwrap().0.len(), PUNT_MAX);
        entry[4..6].copy_from_slice(&2001_u16.to_be_bytes());
        assert_eq!(packet(&entry), None);
    }

    #[test]
    fn nonsense_is_not_sent() {
        assert_eq!(packet(&[]), None);
        assert_eq!(packet(&[0x45; 19]), None);
        let mut short = [0_u8; 64];
        short[0] = 0x45;
        assert_eq!(packet(&short), None);
        short[3] = 65;
        assert_eq!(packet(&short), None);
        short[3] = 40;
        for version in [0x00, 0x55, 0xf0] {
            short[0] = version;
            assert_eq!(packet(&short), None);
        }
        short[0] = 0x60;
        assert_eq!(packet(&short[..39]), None);
        short[5] = 25;
        assert_eq!(packet(&short), None);
    }
}

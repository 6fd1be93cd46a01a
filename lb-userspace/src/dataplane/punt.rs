//! Punted packets: replies whose next hop the kernel has yet to resolve. They are sent through a raw
//! socket, which makes the kernel ask for the address and keeps the packet until it is known.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
};

use aya::maps::{MapData, RingBuf};
use lb_common::abi::punt::PUNT_MAX;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// An IPv4 header without options.
const IPV4_HEADER: usize = 20;

/// Sends what the program punts, until the ring buffer is gone. Never ends by itself.
///
/// # Errors
/// Where the socket cannot be made or the ring buffer not be waited for.
pub async fn run(ring: RingBuf<MapData>) -> io::Result<()> {
    let socket = Socket::new(
        Domain::IPV4,
        Type::RAW,
        Some(Protocol::from(libc::IPPROTO_RAW)),
    )?;
    socket.set_nonblocking(true)?;
    // SAFETY: the ring buffer owns its descriptor and keeps it open as long as it lives.
    let mut ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
    loop {
        let mut ready = ring.readable_mut().await?;
        while let Some(entry) = ready.get_inner_mut().next() {
            if let Some((packet, to)) = packet(&entry) {
                // A full queue or a route that just went away loses this packet, as it would on any
                // router; the sender's TCP repeats it.
                if let Err(error) = socket.send_to(packet, &SocketAddrV4::new(to, 0).into()) {
                    log::debug!("sending a punted packet to {to}: {error}");
                }
            }
        }
        ready.clear_ready();
    }
}

/// The IPv4 packet in an entry, as long as its header says, and its destination.
fn packet(entry: &[u8]) -> Option<(&[u8], Ipv4Addr)> {
    let header: &[u8; IPV4_HEADER] = entry.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || !(IPV4_HEADER..=PUNT_MAX).contains(&length) {
        return None;
    }
    let to = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    Some((entry.get(..length)?, to))
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
        assert_eq!((bytes.len(), to), (40, Ipv4Addr::new(10, 77, 1, 10)));
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
        short[0] = 0x60;
        assert_eq!(packet(&short), None);
    }
}

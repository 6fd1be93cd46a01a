//! Frames seen on an interface, for assertions.
//!
//! Native XDP comes before the capture: on an interface of the load balancer only what its program
//! passed is seen. Capture on the peer.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

const ETH_P_ALL: u16 = 0x0003;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERNET: usize = 14;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// A running capture; frames since its start.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Frame>>,
}

/// A captured frame, from its Ethernet header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

/// Addresses of a TCP or UDP packet over IPv4, and of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// Where it comes from.
    pub source: SocketAddrV4,
    /// Where it goes.
    pub destination: SocketAddrV4,
    /// IPv4 protocol number.
    pub protocol: u8,
    /// IPv4 time to live.
    pub ttl: u8,
}

/// The addresses and flags of a TCP segment over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source address.
    pub source: Ipv4Addr,
    /// Source port.
    pub source_port: u16,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Destination port.
    pub destination_port: u16,
    /// SYN is set.
    pub syn: bool,
    /// ACK is set.
    pub ack: bool,
    /// RST is set.
    pub rst: bool,
    /// IPv4 time to live.
    pub ttl: u8,
}

impl Capture {
    /// Listens when this returns.
    pub fn start(host: &Host, interface: &str) -> Result<Self> {
        let index = host.link(interface)?.index;
        let socket = host
            .run(|| open(index))
            .with_context(|| format!("capturing on {interface} of {}", host.name()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || collect(&socket, &stopped));
        Ok(Self { stop, thread })
    }

    /// Ends it, and gives the frames in their order.
    pub fn finish(self) -> Result<Vec<Frame>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the capture panicked"))
    }
}

impl Frame {
    /// The addresses in it, if it is TCP or UDP over IPv4.
    pub fn flow(&self) -> Option<Flow> {
        let (ip, transport) = self.ipv4()?;
        let protocol = *ip.get(9)?;
        let address = |at: usize, port_at: usize| -> Option<SocketAddrV4> {
            let address: [u8; 4] = ip.get(at..at + 4)?.try_into().ok()?;
            let port: [u8; 2] = transport.get(port_at..port_at + 2)?.try_into().ok()?;
            Some(SocketAddrV4::new(address.into(), u16::from_be_bytes(port)))
        };
        matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP).then_some(())?;
        Some(Flow {
            source_mac: self.0.get(6..12)?.try_into().ok()?,
            source: address(12, 0)?,
            destination: address(16, 2)?,
            protocol,
            ttl: *ip.get(8)?,
        })
    }

    /// The TCP segment in it, if it is one over IPv4.
    pub fn segment(&self) -> Option<Segment> {
        let flow = self.flow().filter(|flow| flow.protocol == PROTOCOL_TCP)?;
        let flags = *self.ipv4()?.1.get(13)?;
        Some(Segment {
            source: *flow.source.ip(),
            source_port: flow.source.port(),
            destination: *flow.destination.ip(),
            destination_port: flow.destination.port(),
            syn: flags & 0x02 != 0,
            ack: flags & 0x10 != 0,
            rst: flags & 0x04 != 0,
            ttl: flow.ttl,
        })
    }

    /// The IPv4 header and what follows it.
    fn ipv4(&self) -> Option<(&[u8], &[u8])> {
        let ip = self.0.get(ETHERNET..)?;
        (self.0.get(12..ETHERNET)? == ETHERTYPE_IPV4).then_some(())?;
        ip.split_at_checked(usize::from(ip.first()? & 0x0f) * 4)
    }
}

pub(crate) fn open(index: u32) -> Result<Socket> {
    let protocol = i32::from(ETH_P_ALL.to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(protocol)))?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: ETH_P_ALL.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of_val(&address))?;
    // SAFETY: the address is a whole sockaddr_ll and outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound < 0 {
        return Err(std::io::Error::last_os_error()).context("bind");
    }
    socket.set_recv_buffer_size(8 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket)
}

/// Reads until told to stop and nothing is left to read.
fn collect(socket: &Socket, stop: &AtomicBool) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut buffer = vec![MaybeUninit::<u8>::uninit(); 65_536];
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        match socket.recv(&mut buffer) {
            Ok(length) => {
                // SAFETY: recv wrote the first `length` bytes.
                let frame = buffer[..length]
                    .iter()
                    .map(|byte| unsafe { byte.assume_init() });
                frames.push(Frame(frame.collect()));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The interface is gone, or there was nothing to read for a while.
            Err(_) if stopping => return frames,
            Err(_) => {}
        }
    }
}

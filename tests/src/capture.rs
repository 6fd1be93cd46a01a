//! Frames seen on an interface, for assertions.
//!
//! Native XDP comes before the capture: on an interface of the load balancer only what its program
//! passed is seen. Capture on the peer.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};

use crate::{host::Host, packet_socket::PacketSocket};

const ETHERNET: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_IPV6: u8 = 41;

/// A running capture; frames since its start.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Frame>>,
}

/// A captured frame, from its Ethernet header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 0x8100 (802.1Q) or 0x88a8 (802.1ad, the outer one of two).
    pub protocol: u16,
    /// The VLAN.
    pub id: u16,
}

impl Tag {
    /// A tag of IEEE 802.1Q.
    pub const fn dot1q(id: u16) -> Self {
        Self {
            protocol: 0x8100,
            id,
        }
    }

    /// A tag of IEEE 802.1ad, in front of one of 802.1Q.
    pub const fn dot1ad(id: u16) -> Self {
        Self {
            protocol: 0x88a8,
            id,
        }
    }
}

/// What an IP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
}

/// Addresses of a TCP or UDP packet, and of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
}

/// The addresses and flags of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source address.
    pub source: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination address.
    pub destination: IpAddr,
    /// Destination port.
    pub destination_port: u16,
    /// SYN is set.
    pub syn: bool,
    /// ACK is set.
    pub ack: bool,
    /// RST is set.
    pub rst: bool,
    /// Time to live, or hop limit.
    pub ttl: u8,
}

impl Capture {
    /// Listens when this returns.
    pub fn start(host: &Host, interface: &str) -> Result<Self> {
        let index = host.link(interface)?.index;
        let socket = host
            .run(|| PacketSocket::open(index))
            .with_context(|| format!("capturing on {interface} of {}", host.name()))?;
        socket.set_patience(Duration::from_millis(20))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || collect(socket, &stopped));
        Ok(Self { stop, thread })
    }

    /// Ends it, and gives the frames in their order.
    pub fn finish(self) -> Result<Vec<Frame>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the capture panicked"))
    }

    /// The same, only the TCP and UDP packets, with what is in tunnels left there.
    pub fn flows(self) -> Result<Vec<Flow>> {
        Ok(self.finish()?.iter().filter_map(Frame::flow).collect())
    }
}

impl Frame {
    /// Its tags, the outer one first.
    pub fn tags(&self) -> Vec<Tag> {
        let mut protocol = self.0.get(12..ETHERNET).map(be16);
        let Some(packet) = self.parts() else {
            return Vec::new();
        };
        let mut tags = Vec::new();
        for extension in &packet.link_exts {
            if let (LinkExtSlice::Vlan(vlan), Some(outer)) = (extension, protocol) {
                tags.push(Tag {
                    protocol: outer,
                    id: vlan.vlan_identifier().value(),
                });
                protocol = Some(vlan.ether_type().0);
            }
        }
        tags
    }

    /// The addresses in it, if it is TCP or UDP.
    pub fn flow(&self) -> Option<Flow> {
        let packet = self.parts()?;
        let ip = self.ip()?;
        let (protocol, from, to) = match packet.transport? {
            TransportSlice::Tcp(tcp) => (PROTOCOL_TCP, tcp.source_port(), tcp.destination_port()),
            TransportSlice::Udp(udp) => (PROTOCOL_UDP, udp.source_port(), udp.destination_port()),
            _ => return None,
        };
        Some(Flow {
            source_mac: self.0.get(6..12)?.try_into().ok()?,
            source: SocketAddr::new(ip.source, from),
            destination: SocketAddr::new(ip.destination, to),
            protocol,
            ttl: ip.ttl,
        })
    }

    /// The TCP segment in it, if it is one.
    pub fn segment(&self) -> Option<Segment> {
        let flow = self.flow()?;
        let Some(TransportSlice::Tcp(tcp)) = self.parts()?.transport else {
            return None;
        };
        Some(Segment {
            source: flow.source.ip(),
            source_port: flow.source.port(),
            destination: flow.destination.ip(),
            destination_port: flow.destination.port(),
            syn: tcp.syn(),
            ack: tcp.ack(),
            rst: tcp.rst(),
            ttl: flow.ttl,
        })
    }

    /// Its IP header, the outer one where it is in a tunnel.
    pub fn ip(&self) -> Option<Ip> {
        match self.parts()?.net? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                Some(Ip {
                    source: header.source_addr().into(),
                    destination: header.destination_addr().into(),
                    ttl: header.ttl(),
                })
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                Some(Ip {
                    source: header.source_addr().into(),
                    destination: header.destination_addr().into(),
                    ttl: header.hop_limit(),
                })
            }
            NetSlice::Arp(_) => None,
        }
    }

    /// The packet inside IPIP, or inside GUE to `gue_port`, in an untagged frame with the same
    /// Ethernet addresses.
    pub fn inner(&self, gue_port: u16) -> Option<Self> {
        let packet = self.parts()?;
        let payload = match &packet.net? {
            NetSlice::Ipv4(ip) => ip.payload().clone(),
            NetSlice::Ipv6(ip) => ip.payload().clone(),
            NetSlice::Arp(_) => return None,
        };
        let inner = match (payload.ip_number.0, packet.transport) {
            (PROTOCOL_IPV4 | PROTOCOL_IPV6, _) => payload.payload,
            (_, Some(TransportSlice::Udp(udp))) if udp.destination_port() == gue_port => {
                udp.payload()
            }
            _ => return None,
        };
        let ethertype = match inner.first()? >> 4 {
            4 => ETHERTYPE_IPV4,
            6 => ETHERTYPE_IPV6,
            _ => return None,
        };
        let addresses = self.0.get(..12)?;
        Some(Self([addresses, &ethertype.to_be_bytes(), inner].concat()))
    }

    fn parts(&self) -> Option<SlicedPacket<'_>> {
        SlicedPacket::from_ethernet(&self.0).ok()
    }
}

fn be16(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u16::from(*byte))
}

/// Reads until told to stop and nothing is left to read.
fn collect(mut socket: PacketSocket, stop: &AtomicBool) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        match socket.receive() {
            Ok(frame) => frames.push(Frame(frame)),
            Err(nix::errno::Errno::EINTR) => {}
            // The interface is gone, or there was nothing to read for a while.
            Err(_) if stopping => return frames,
            Err(_) => {}
        }
    }
}

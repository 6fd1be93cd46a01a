//! VLANs without a VLAN device, which not every kernel has: frames with tags, made and read by hand.
//!
//! A [`TaggedPort`] is what a VLAN device would be: an interface whose frames go out of another one
//! with tags, and that gets those which come in by that one with the same tags. Untagged frames stay
//! with the interface below.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    capture::Tag,
    host::Host,
    mode::{Family, Forward},
    netlink::{self, Route},
    packet_socket::PacketSocket,
    topology::{
        CLIENT, LB_BACK, LB_FRONT, Topology,
        addresses::{FRONT_NET, VIP_NET, link_local},
    },
};

/// One tag, as most networks have it: IEEE 802.1Q.
pub const DOT1Q: &[Tag] = &[Tag::dot1q(7)];

/// Two tags, as providers put them on: IEEE 802.1ad.
pub const QINQ: &[Tag] = &[Tag::dot1ad(100), Tag::dot1q(7)];

/// What a host's tagged interface is called.
pub const TAGGED: &str = "tagged";

/// The length of both Ethernet addresses, behind which tags are.
const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// The client's and the backends' tagged interfaces, by which they reach each other through the load
/// balancer. Its own neighbours and its health checks stay untagged: its kernel has no VLAN device.
#[derive(Debug)]
pub struct Tagged {
    /// Where requests leave, and with `dnat` answers arrive.
    pub client: TaggedPort,
    /// Where requests arrive, and with `dnat` answers leave; in the order of the topology's.
    pub backends: Vec<TaggedPort>,
}

/// An interface whose frames have tags on another one. Dropping it removes it.
#[derive(Debug)]
pub struct TaggedPort {
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    pump: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Tagged {
    /// From now on the client's packets to the VIP have these tags, and so has what the backends
    /// answer through the load balancer.
    pub fn start(topology: &Topology, tags: &'static [Tag]) -> Result<Self> {
        let Topology {
            lb,
            client,
            backends,
            forward,
            ..
        } = topology;
        let [front, back] = ["front", "back"].map(|name| lb.link(name));
        let (front, back) = (front?.mac, back?.mac);
        let tagged = Self {
            client: TaggedPort::start(client, "eth0", tags)?,
            backends: backends
                .iter()
                .map(|one| TaggedPort::start(&one.host, "eth0", tags))
                .collect::<Result<_>>()?,
        };
        let mac = client.link("eth0")?.mac;
        for family in Family::known() {
            // Its first reply to somebody unknown goes through the load balancer's kernel.
            lb.set_neighbour("front", family.at(CLIENT.into()), mac)?;
            route(client, family, VIP_NET, (LB_FRONT, front))?;
            if *forward == Forward::Dnat {
                for backend in backends {
                    route(&backend.host, family, FRONT_NET, (LB_BACK, back))?;
                }
            }
        }
        Ok(tagged)
    }
}

/// By its tagged interface `host` reaches `network` through the load balancer, of which it knows
/// address and Ethernet address.
fn route(
    host: &Host,
    family: Family,
    network: Ipv4Addr,
    (lb, mac): (Ipv4Addr, [u8; 6]),
) -> Result<()> {
    let gateway = match family {
        Family::Ipv4 => lb.into(),
        // Any other address is a neighbour on the interface below, where that has one of its network.
        Family::Ipv6 => IpAddr::from(link_local(lb)),
    };
    host.set_neighbour(TAGGED, gateway, mac)?;
    let route = Route::new(family.at(network.into()), family.network(), gateway);
    host.run(|| route.by(TAGGED).replace())
}

impl TaggedPort {
    /// Makes the interface [`TAGGED`] of `host`, up and without an address, whose frames have `tags`
    /// on `below`. It shares the Ethernet address with that.
    pub fn start(host: &Host, below: &str, tags: &'static [Tag]) -> Result<Self> {
        let what = format!("a tagged interface on {below} of {}", host.name());
        let (tap, socket) = host.run(|| make(below, tags)).context(what)?;
        let counts = Arc::new(Counts::default());
        let stop = Arc::new(AtomicBool::new(false));
        let pump = Pump {
            tap,
            socket,
            tags,
            counts: Arc::clone(&counts),
            stop: Arc::clone(&stop),
        };
        Ok(Self {
            counts,
            stop,
            pump: Some(std::thread::spawn(move || pump.run())),
        })
    }

    /// Frames that left with tags.
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Frames with the right tags that arrived.
    pub fn received(&self) -> u64 {
        self.counts.received.load(Ordering::Relaxed)
    }
}

impl Drop for TaggedPort {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.pump.take().map(JoinHandle::join) {
            eprintln!("a tagged interface failed: {error:#}");
        }
    }
}

/// Sends `frame`, which has no tags, with `tags` out of an interface.
pub fn send(host: &Host, interface: &str, frame: &[u8], tags: &[Tag]) -> Result<()> {
    ensure!(
        frame.len() >= ADDRESSES + 2,
        "a frame has 14 bytes at least"
    );
    let index = host.link(interface)?.index;
    host.run(|| -> Result<()> { Ok(PacketSocket::open(index)?.send(&put_on(frame, tags))?) })
        .with_context(|| format!("sending a tagged frame from {}", host.name()))
}

/// The frame with `tags` behind its addresses.
pub fn put_on(frame: &[u8], tags: &[Tag]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(ADDRESSES.min(frame.len()));
    [addresses, &on_wire(tags), rest].concat()
}

/// The frame without its tags, where those are exactly `tags`.
pub fn take_off(frame: &[u8], tags: &[Tag]) -> Option<Vec<u8>> {
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    let inner = rest.strip_prefix(&on_wire(tags)[..])?;
    Some([addresses, inner].concat())
}

/// Priority 0, not eligible to be dropped.
fn on_wire(tags: &[Tag]) -> Vec<u8> {
    let halves = tags.iter().flat_map(|tag| [tag.protocol, tag.id]);
    halves.flat_map(u16::to_be_bytes).collect()
}

/// Carries frames between the interface and the one below.
struct Pump {
    tap: File,
    socket: PacketSocket,
    tags: &'static [Tag],
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
}

impl Pump {
    fn run(mut self) -> Result<()> {
        /// How long until a stop is noticed, in milliseconds.
        const LOOK: u8 = 50;
        let mut frame = vec![0; 65_536];
        while !self.stop.load(Ordering::Relaxed) {
            let mut ready = [&self.tap.as_fd(), &self.socket.as_fd()]
                .map(|fd| PollFd::new(*fd, PollFlags::POLLIN));
            match poll(&mut ready, PollTimeout::from(LOOK)) {
                Ok(0) | Err(Errno::EINTR) => continue,
                result => result.context("waiting for a frame")?,
            };
            let [from_tap, from_wire] = ready.map(|one| one.any().unwrap_or(false));
            if from_tap {
                let length = self.tap.read(&mut frame).context("reading a frame")?;
                let tagged = put_on(&frame[..length], self.tags);
                self.socket
                    .send(&tagged)
                    .context("sending a tagged frame")?;
                self.counts.sent.fetch_add(1, Ordering::Relaxed);
            }
            if from_wire {
                let tagged = self.socket.receive().context("receiving a frame")?;
                if let Some(untagged) = take_off(&tagged, self.tags) {
                    self.tap.write_all(&untagged).context("writing a frame")?;
                    self.counts.received.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }
}

/// Called inside the namespace.
fn make(below: &str, tags: &[Tag]) -> Result<(File, PacketSocket)> {
    let link = netlink::link(below)?;
    let socket = PacketSocket::open(link.index)?;
    socket.ignore_outgoing()?;
    let tap = open_tap(TAGGED).context("making a TAP device")?;
    netlink::set_mac(TAGGED, link.mac)?;
    // A veth carries one tag more than its MTU says, not two.
    let room = u32::try_from(tags.len() * TAG)?;
    netlink::set_mtu(TAGGED, link.mtu - room)?;
    netlink::set_up(TAGGED, true)?;
    Ok((tap, socket))
}

/// A TAP device lives as long as its descriptor.
fn open_tap(name: &str) -> io::Result<File> {
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    // SAFETY: ifreq is plain old data, all zeroes is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes an ifreq, which outlives the call.
    let set = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    Errno::result(set)?;
    Ok(tap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_off_as_they_were_put_on() {
        let frame: Vec<u8> = (0..60).collect();
        let tagged = put_on(&frame, QINQ);
        assert_eq!(tagged[12..20], [0x88, 0xa8, 0, 100, 0x81, 0, 0, 7]);
        assert_eq!(take_off(&tagged, QINQ), Some(frame));
        assert_eq!(take_off(&tagged, DOT1Q), None);
        assert_eq!(take_off(&tagged[..14], QINQ), None);
    }
}

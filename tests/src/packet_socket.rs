//! A raw socket on one interface: frames as they are on the wire, with their tags.

use std::{
    io::IoSliceMut,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};
use socket2::{Domain, Protocol, Socket, Type};

const ETH_P_ALL: u16 = 0x0003;
/// Both Ethernet addresses.
const ADDRESSES: usize = 12;
/// As long as a frame can be that the kernel has merged.
const LONGEST: usize = 65_536 + 256;

/// The socket.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What the kernel says of a frame beside it: `struct tpacket_auxdata` of linux/if_packet.h.
#[derive(Clone, Copy, Debug)]
struct Beside {
    status: u32,
    vlan_tci: u16,
    vlan_protocol: u16,
}

impl PacketSocket {
    /// On the interface with this index in the calling thread's namespace.
    pub fn open(index: u32) -> Result<Self> {
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
        Errno::result(bound).context("bind")?;
        socket.set_recv_buffer_size(8 << 20)?;
        let socket = Self {
            socket,
            buffer: vec![0; LONGEST],
        };
        socket.switch_on(libc::PACKET_AUXDATA)?;
        Ok(socket)
    }

    /// Sees no more what the host itself sends.
    pub fn ignore_outgoing(&self) -> Result<()> {
        self.switch_on(libc::PACKET_IGNORE_OUTGOING)
    }

    /// How long [`Self::receive`] waits.
    pub fn set_patience(&self, patience: Duration) -> Result<()> {
        Ok(self.socket.set_read_timeout(Some(patience))?)
    }

    /// The next frame; `EAGAIN` where none comes.
    pub fn receive(&mut self) -> nix::Result<Vec<u8>> {
        let mut control = nix::cmsg_space!(libc::tpacket_auxdata);
        let fd = self.socket.as_raw_fd();
        let mut buffers = [IoSliceMut::new(&mut self.buffer)];
        let flags = MsgFlags::empty();
        let message = recvmsg::<()>(fd, &mut buffers, Some(&mut control), flags)?;
        let tag = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::Unknown(part) => Beside::parse(&part.data_bytes)?.tag(),
            _ => None,
        });
        let length = message.bytes;
        let (addresses, rest) = self.buffer[..length].split_at(ADDRESSES.min(length));
        // The kernel has taken the outer tag out of the frame: it belongs behind the addresses.
        Ok([addresses, tag.as_ref().map_or(&[], |tag| &tag[..]), rest].concat())
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> std::io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    fn switch_on(&self, option: libc::c_int) -> Result<()> {
        let on: libc::c_int = 1;
        let length = u32::try_from(size_of_val(&on))?;
        let fd = self.socket.as_raw_fd();
        // SAFETY: the value is a whole c_int, as both options want, and outlives the call.
        let set = unsafe {
            libc::setsockopt(fd, libc::SOL_PACKET, option, (&raw const on).cast(), length)
        };
        Errno::result(set).context("setsockopt")?;
        Ok(())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Beside {
    /// Lengths and offsets, in bytes 4 to 15, are for rings of packets.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        Some(Self {
            status: u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?),
            vlan_tci: half(16)?,
            vlan_protocol: half(18)?,
        })
    }

    /// The tag, where there is one.
    fn tag(self) -> Option<[u8; 4]> {
        let there = libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;
        let [a, b] = self.vlan_protocol.to_be_bytes();
        let [c, d] = self.vlan_tci.to_be_bytes();
        (self.status & there == there).then_some([a, b, c, d])
    }
}

const _: () = assert!(size_of::<libc::tpacket_auxdata>() == 20);

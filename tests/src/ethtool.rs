//! The ethtool settings that XDP between veths needs, by ioctl.

use std::{
    io,
    mem::{size_of, zeroed},
    os::fd::AsRawFd,
    ptr,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

// linux/ethtool.h
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;
const ETHTOOL_SCHANNELS: u32 = 0x3d;

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

const _: () = assert!(size_of::<EthtoolValue>() == 8);

/// `struct ethtool_channels` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct EthtoolChannels {
    command: u32,
    most: [u32; 4],
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

const _: () = assert!(size_of::<EthtoolChannels>() == 36);

/// Switches transmit checksum offload; called inside the namespace.
///
/// A veth hands unfinished checksums to its peer, and an XDP program there would rewrite them.
pub fn set_tx_checksum(interface: &str, on: bool) -> Result<()> {
    set(interface, ETHTOOL_STXCSUM, on).with_context(|| format!("ethtool -K {interface} tx"))
}

/// Switches generic receive offload; called inside the namespace.
///
/// A veth without GRO and without an XDP program has no NAPI: frames redirected to it are lost
/// silently.
pub fn set_gro(interface: &str, on: bool) -> Result<()> {
    set(interface, ETHTOOL_SGRO, on).with_context(|| format!("ethtool -K {interface} gro"))
}

/// Sets how many queues there are in each direction; called inside the namespace.
pub fn set_queues(interface: &str, queues: u32) -> Result<()> {
    let mut channels = EthtoolChannels {
        command: ETHTOOL_SCHANNELS,
        receive: queues,
        transmit: queues,
        ..EthtoolChannels::default()
    };
    ioctl_with(interface, &mut channels)
        .with_context(|| format!("ethtool -L {interface} rx {queues} tx {queues}"))
}

/// Whether transmit checksum offload and generic receive offload are on.
pub fn offloads(interface: &str) -> Result<(bool, bool)> {
    let tx = ioctl(interface, ETHTOOL_GTXCSUM, 0).context("reading tx")?;
    let gro = ioctl(interface, ETHTOOL_GGRO, 0).context("reading gro")?;
    Ok((tx != 0, gro != 0))
}

fn set(interface: &str, command: u32, on: bool) -> Result<()> {
    ioctl(interface, command, u32::from(on))?;
    Ok(())
}

fn ioctl(interface: &str, command: u32, data: u32) -> Result<u32> {
    let mut value = EthtoolValue { command, data };
    ioctl_with(interface, &mut value)?;
    Ok(value.data)
}

/// Passes the kernel one of its ethtool structs, which begins with its command.
fn ioctl_with<T>(interface: &str, value: &mut T) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: ifreq is plain old data, all zeroes is a valid one.
    let mut request: libc::ifreq = unsafe { zeroed() };
    ensure!(
        interface.len() < request.ifr_name.len(),
        "the name is too long"
    );
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = ptr::from_mut(value).cast();
    // SAFETY: SIOCETHTOOL reads the name and reads and writes the struct behind ifru_data, which is
    // as long as its command says and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(())
}

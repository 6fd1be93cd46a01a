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
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETHTOOL_SCHANNELS: u32 = 0x3d;
/// The set of strings that names features.
const ETH_SS_FEATURES: u32 = 4;
/// A string's length.
const ETH_GSTRING_LEN: usize = 32;
/// More features than any kernel has; 67 in 6.18.
const FEATURES: usize = 128;

/// Tags that the kernel would hand over beside the frame: 802.1Q, 802.1ad.
const TAG_OFFLOADS: [&str; 2] = ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"];

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

/// `struct ethtool_sset_info` of linux/ethtool.h, for one set.
#[repr(C)]
struct EthtoolSetInfo {
    command: u32,
    reserved: u32,
    sets: u64,
    length: u32,
}

/// `struct ethtool_gstrings` of linux/ethtool.h.
#[repr(C)]
struct EthtoolStrings {
    command: u32,
    set: u32,
    length: u32,
    strings: [[u8; ETH_GSTRING_LEN]; FEATURES],
}

/// `struct ethtool_sfeatures` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct EthtoolFeatures {
    command: u32,
    blocks: u32,
    features: [EthtoolFeatureBlock; FEATURES / 32],
}

/// A bit for each of 32 features: those to change, and what they shall be.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct EthtoolFeatureBlock {
    valid: u32,
    requested: u32,
}

const _: () = assert!(size_of::<EthtoolFeatures>() == 8 + FEATURES / 32 * 8);

/// Has VLAN tags written into frames; called inside the namespace.
///
/// A veth hands tags to its peer beside the frame, and an XDP program there would not see them.
pub fn write_tags_into_frames(interface: &str) -> Result<()> {
    let context = || format!("ethtool -K {interface} txvlan off");
    let names = feature_names(interface).with_context(context)?;
    let mut change = EthtoolFeatures {
        command: ETHTOOL_SFEATURES,
        blocks: u32::try_from(names.len().div_ceil(32))?,
        ..EthtoolFeatures::default()
    };
    for (n, _) in names
        .iter()
        .enumerate()
        .filter(|(_, name)| TAG_OFFLOADS.contains(&name.as_str()))
    {
        change.features[n / 32].valid |= 1 << (n % 32);
    }
    ioctl_with(interface, &mut change).with_context(context)
}

/// The kernel's names of features; a feature's number is its place.
fn feature_names(interface: &str) -> Result<Vec<String>> {
    let mut info = EthtoolSetInfo {
        command: ETHTOOL_GSSET_INFO,
        reserved: 0,
        sets: 1 << ETH_SS_FEATURES,
        length: 0,
    };
    ioctl_with(interface, &mut info)?;
    let count = usize::try_from(info.length)?;
    ensure!(count <= FEATURES, "the kernel has {count} features");
    let mut strings = EthtoolStrings {
        command: ETHTOOL_GSTRINGS,
        set: ETH_SS_FEATURES,
        length: info.length,
        strings: [[0; ETH_GSTRING_LEN]; FEATURES],
    };
    ioctl_with(interface, &mut strings)?;
    let text = |bytes: &[u8; ETH_GSTRING_LEN]| {
        let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    Ok(strings.strings[..count].iter().map(text).collect())
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

//! Links, addresses, routes and neighbours through rtnetlink.
//!
//! Every function acts on the namespace of the calling thread and blocks; `host` calls them inside.

mod address;
mod route;

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use anyhow::{Context, Result, anyhow};
use futures::TryStreamExt;
use rtnetlink::{
    Handle, LinkBond, LinkBridge, LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan,
    packet_route::{
        link::{
            InfoBridge, InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage, LinkXdp,
            MacVlanMode, XdpAttached,
        },
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourState},
    },
};
use tokio::runtime::Builder;

pub use self::{address::add_address, route::Route};
use crate::capture::Tag;

/// The prefix of every IPv4 address, with length 0: a default route.
pub const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What the kernel says of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface's index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// The longest IP packet that it sends, in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Up, and so is its peer.
    pub carrier: bool,
    /// Packets and bytes so far.
    pub counters: LinkCounters,
    /// The XDP program on it.
    pub xdp: Option<XdpProgram>,
}

/// An interface's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Received packets dropped.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// An attached XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// Kernel-wide id of the program; 0 where several are attached.
    pub id: u32,
    /// In the driver, not in the stack.
    pub native: bool,
}

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The index of its interface.
    pub interface: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its Ethernet address, once known.
    pub mac: Option<[u8; 6]>,
    /// Its state.
    pub state: NeighbourState,
    /// The kernel keeps it resolved (`NTF_EXT_MANAGED`).
    pub managed: bool,
}

/// Makes a veth pair: `name` here, `peer` in the namespace behind `peer_namespace`.
pub fn add_veth(name: &str, peer: &str, peer_namespace: BorrowedFd<'_>) -> Result<()> {
    let peer_message = LinkMessageBuilder::<LinkUnspec>::default()
        .name(peer)
        .setns_by_fd(peer_namespace.as_raw_fd())
        .build();
    let message = LinkVeth::new(name, peer)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer_message)))
        .build();
    with(async |handle| Ok(handle.link().add(message).execute().await?))
        .with_context(|| format!("adding the veth pair {name}, {peer}"))
}

/// Makes a bridge that forwards at once and sends nothing of its own.
pub fn add_bridge(name: &str) -> Result<()> {
    let message = LinkBridge::new(name)
        .set_info_data(InfoData::Bridge(vec![
            InfoBridge::MulticastSnooping(false),
            InfoBridge::ForwardDelay(0),
        ]))
        .build();
    with(async |handle| Ok(handle.link().add(message).execute().await?))
        .with_context(|| format!("adding the bridge {name}"))
}

/// Makes a macvlan in private mode above `parent`.
pub fn add_macvlan(name: &str, parent: &str) -> Result<()> {
    let parent = link(parent)?.index;
    let message = LinkMacVlan::new(name, parent, MacVlanMode::Private).build();
    with(async |handle| Ok(handle.link().add(message).execute().await?))
        .with_context(|| format!("adding the macvlan {name}"))
}

/// Makes a VLAN device, whose frames have `tag` on `parent`. Needs the module `8021q`.
pub fn add_vlan(name: &str, parent: &str, tag: Tag) -> Result<()> {
    let parent = link(parent)?.index;
    let message = LinkVlan::new(name, parent, tag.id)
        .protocol(tag.protocol.into())
        .build();
    with(async |handle| Ok(handle.link().add(message).execute().await?))
        .with_context(|| format!("adding the VLAN device {name}"))
}

/// Makes a bond device without members. Needs the module `bonding`.
pub fn add_bond(name: &str) -> Result<()> {
    let message = LinkBond::new(name).build();
    with(async |handle| Ok(handle.link().add(message).execute().await?))
        .with_context(|| format!("adding the bond device {name}"))
}

/// Makes `port` a port of `bridge`, a bridge or a bond device.
pub fn enslave(port: &str, bridge: &str) -> Result<()> {
    let (port, bridge) = (link(port)?.index, link(bridge)?.index);
    change(LinkUnspec::new_with_index(port).controller(bridge).build())
}

/// Removes an interface; a veth takes its peer along.
pub fn delete_link(name: &str) -> Result<()> {
    let index = link(name)?.index;
    with(async |handle| Ok(handle.link().del(index).execute().await?))
        .with_context(|| format!("removing the interface {name}"))
}

/// Gives an interface another Ethernet address.
pub fn set_mac(name: &str, mac: [u8; 6]) -> Result<()> {
    change(
        LinkUnspec::new_with_index(link(name)?.index)
            .address(mac.to_vec())
            .build(),
    )
    .with_context(|| format!("setting the Ethernet address of {name}"))
}

/// Sets an interface up or down.
pub fn set_up(name: &str, up: bool) -> Result<()> {
    let builder = LinkUnspec::new_with_index(link(name)?.index);
    change(if up { builder.up() } else { builder.down() }.build())
        .with_context(|| format!("setting {name} {}", if up { "up" } else { "down" }))
}

/// Sets an interface's MTU in bytes.
pub fn set_mtu(name: &str, mtu: u32) -> Result<()> {
    change(
        LinkUnspec::new_with_index(link(name)?.index)
            .mtu(mtu)
            .build(),
    )
    .with_context(|| format!("setting the MTU of {name} to {mtu}"))
}

/// Attaches the XDP program behind `program` as a plain attachment, not as a link.
pub fn attach_xdp(name: &str, program: BorrowedFd<'_>) -> Result<()> {
    let mut message = LinkUnspec::new_with_index(link(name)?.index).build();
    message
        .attributes
        .push(LinkAttribute::Xdp(vec![LinkXdp::Fd(program.as_raw_fd())]));
    change(message).with_context(|| format!("attaching an XDP program to {name}"))
}

/// Removes a plain attachment.
pub fn detach_xdp(name: &str) -> Result<()> {
    let mut message = LinkUnspec::new_with_index(link(name)?.index).build();
    message
        .attributes
        .push(LinkAttribute::Xdp(vec![LinkXdp::Fd(-1)]));
    change(message).with_context(|| format!("detaching the XDP program of {name}"))
}

/// Adds or replaces a permanent neighbour.
pub fn set_neighbour(interface: &str, address: IpAddr, mac: [u8; 6]) -> Result<()> {
    let index = link(interface)?.index;
    with(async |handle| {
        let request = handle
            .neighbours()
            .add(index, address)
            .link_layer_address(&mac)
            .replace();
        Ok(request.execute().await?)
    })
    .with_context(|| format!("adding the neighbour {address}"))
}

/// Forgets a neighbour; whether there was one.
pub fn forget_neighbour(interface: &str, address: IpAddr) -> Result<bool> {
    let index = link(interface)?.index;
    with(async |handle| {
        let all: Vec<_> = handle.neighbours().get().execute().try_collect().await?;
        for message in all {
            let same = message.attributes.iter().any(|attribute| {
                matches!(attribute, NeighbourAttribute::Destination(found)
                    if to_ip(found) == Some(address))
            });
            if same && message.header.ifindex == index {
                handle.neighbours().del(message).execute().await?;
                return Ok(true);
            }
        }
        Ok(false)
    })
    .with_context(|| format!("forgetting the neighbour {address}"))
}

/// The neighbour table, IPv4 and IPv6.
pub fn neighbours() -> Result<Vec<Neighbour>> {
    let messages: Vec<_> =
        with(async |handle| Ok(handle.neighbours().get().execute().try_collect().await?))?;
    let entry = |message: rtnetlink::packet_route::neighbour::NeighbourMessage| {
        let mut address = None;
        let mut mac = None;
        let mut managed = false;
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::ExtFlags(flags) => {
                    managed = flags.contains(NeighbourExtFlags::Managed);
                }
                NeighbourAttribute::Destination(found) => address = to_ip(found),
                NeighbourAttribute::LinkLayerAddress(found) => {
                    mac = found.as_slice().try_into().ok();
                }
                _ => {}
            }
        }
        Some(Neighbour {
            interface: message.header.ifindex,
            address: address?,
            mac,
            state: message.header.state,
            managed,
        })
    };
    Ok(messages.into_iter().filter_map(entry).collect())
}

/// What the kernel says of the interface `name`.
pub fn link(name: &str) -> Result<Link> {
    let message = with(async |handle| {
        let found = handle
            .link()
            .get()
            .match_name(name)
            .execute()
            .try_next()
            .await?;
        found.ok_or_else(|| anyhow!("it is not there"))
    })
    .with_context(|| format!("looking for the interface {name}"))?;
    Ok(describe(&message))
}

fn describe(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        counters: LinkCounters::default(),
        xdp: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                link.mac = bytes.as_slice().try_into().unwrap_or([0; 6])
            }
            LinkAttribute::Stats64(stats) => {
                link.counters = LinkCounters {
                    rx_packets: stats.rx_packets,
                    rx_bytes: stats.rx_bytes,
                    rx_dropped: stats.rx_dropped,
                    tx_packets: stats.tx_packets,
                    tx_bytes: stats.tx_bytes,
                };
            }
            LinkAttribute::Xdp(parts) => link.xdp = describe_xdp(parts),
            _ => {}
        }
    }
    link
}

fn describe_xdp(parts: &[LinkXdp]) -> Option<XdpProgram> {
    let attached = parts.iter().find_map(|part| match part {
        LinkXdp::Attached(attached) if *attached != XdpAttached::None => Some(attached),
        _ => None,
    })?;
    let id = parts.iter().find_map(|part| match part {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    });
    Some(XdpProgram {
        id: id.unwrap_or(0),
        native: *attached == XdpAttached::Driver,
    })
}

fn to_ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        NeighbourAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn change(message: LinkMessage) -> Result<()> {
    with(async |handle| Ok(handle.link().change(message).execute().await?))
}

/// Opens a netlink socket in the calling thread's namespace, and drives it for one operation.
fn with<T>(operation: impl AsyncFnOnce(Handle) -> Result<T>) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let driver = tokio::spawn(connection);
        let result = operation(handle).await;
        driver.abort();
        result
    })
}

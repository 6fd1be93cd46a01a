//! Next hops: which interface and which MAC address lead to a backend, as the kernel sees it.
//!
//! [`spawn`] starts one task that owns everything: it asks the kernel's routes, follows routes,
//! neighbours, links and addresses over netlink, and has the neighbours kept resolved. What changes
//! reaches the controller as [`Event`]s. `table` is the pure part (answers in, events out),
//! `parse` turns netlink messages into its types, `kernel` holds the sockets, `resolver` is
//! the task. Nothing in here knows of services or maps.
//!
//! XDP traffic never confirms a neighbour, so every next hop is installed as managed
//! (`NTF_EXT_MANAGED`, kernel 5.16): the kernel then probes it by itself. Such entries carry
//! [`PROTOCOL`], which lets [`forget_managed`] find them.

mod kernel;
mod parse;
mod resolver;
mod table;

use std::{collections::BTreeSet, fmt, io, net::IpAddr};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use self::{
    kernel::{Kernel, Session},
    resolver::Resolver,
};

/// `NDA_PROTOCOL` of the neighbour entries that Sluice had installed: "S".
pub const PROTOCOL: u8 = 0x53;

/// Something that the controller should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A watched address leads elsewhere now. The first one follows [`Handle::watch`].
    NextHop {
        /// The watched address.
        address: IpAddr,
        /// Where it leads.
        state: State,
    },
    /// An interface appeared, changed or went. The first ones tell of all that exist.
    Link {
        /// How it is now, or was at last.
        link: Link,
        /// It is gone.
        removed: bool,
    },
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Packets can be sent.
    Resolved {
        /// Out of this interface.
        ifindex: u32,
        /// To this station: the backend, or the gateway on the way to it.
        mac: [u8; 6],
        /// The kernel's own address on the way, where it has one.
        source: Option<IpAddr>,
        /// Bytes that an IP packet may have on the way; at most 65535.
        mtu: u32,
    },
    /// They cannot. After [`State::Resolved`] the last MAC address may still be the best guess.
    Unresolved {
        /// The interface of the route, if there is one.
        ifindex: Option<u32>,
        /// Short and in lower case.
        reason: String,
        /// The kernel is asking and has not given up: nothing is known to be amiss.
        asking: bool,
    },
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// `None`: not an Ethernet device.
    pub mac: Option<[u8; 6]>,
    /// Enabled and with a carrier.
    pub up: bool,
    /// In bytes, without the Ethernet header.
    pub mtu: u32,
    /// What kind of virtual device it is, as `ip -d link` names it: `vlan`, `bond`, `bridge`, ...
    pub kind: Option<String>,
    /// The interface that it stands on (the peer, for a veth), by number; `None` too where that is
    /// in another network namespace.
    pub parent: Option<u32>,
    /// The bond, bridge, ... that it is a member of, by number.
    pub controller: Option<u32>,
    /// The XDP program on it. Attaching through a link (`bpf_link`) sends no notification: ask
    /// [`links`] for the truth at a given moment.
    pub xdp: Option<AttachedXdp>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedXdp {
    /// Where in the packet's way.
    pub mode: AttachMode,
    /// The program's id; 0 where several are attached.
    pub program: u32,
}

/// Where in a packet's way an XDP program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the kernel's stack.
    Generic,
    /// On the network card.
    Offloaded,
    /// In more than one of them.
    Multiple,
}

/// Why the kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("opening a netlink socket: {0}")]
    Open(io::Error),
    /// The kernel says no.
    #[error(transparent)]
    Refused(io::Error),
    /// The socket broke.
    #[error("the netlink socket closed")]
    Closed,
    /// The kernel took too long.
    #[error("no answer over netlink")]
    NoAnswer,
    /// The kernel said something else than it was asked.
    #[error("unexpected answer over netlink: {0}")]
    Unexpected(String),
}

/// Results of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Steers the resolver; dropping it stops the task and leaves the kernel's entries in place.
#[derive(Debug)]
pub struct Handle {
    wanted: watch::Sender<BTreeSet<IpAddr>>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Makes `addresses` the ones of interest; entries of the others are no longer kept resolved.
    pub fn watch(&self, addresses: BTreeSet<IpAddr>) {
        self.wanted.send_replace(addresses);
    }

    /// The same of some addresses; the others stay what they are.
    pub fn change(&self, come: &[IpAddr], gone: &[IpAddr]) {
        if come.is_empty() && gone.is_empty() {
            return;
        }
        self.wanted.send_modify(|addresses| {
            addresses.extend(come);
            for address in gone {
                addresses.remove(address);
            }
        });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the resolver in this thread's network namespace.
///
/// # Errors
/// When no netlink socket can be had; later losses are mended by the task itself.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn(events: mpsc::Sender<Event>) -> Result<Handle> {
    let session = Session::open()?;
    let (wanted, wanted_out) = watch::channel(BTreeSet::new());
    let resolver = Resolver::new(events, wanted_out);
    Ok(Handle {
        wanted,
        task: tokio::spawn(resolver.run(session)),
    })
}

/// All interfaces of this network namespace, by number.
///
/// # Errors
/// When the kernel cannot be asked.
pub async fn links() -> Result<Vec<Link>> {
    let mut links = Kernel::open()?.links().await?;
    links.sort_by_key(|link| link.ifindex);
    Ok(links)
}

/// Deletes the neighbour entries of this network namespace that carry [`PROTOCOL`], save those
/// that somebody made permanent since; returns how many.
///
/// Drop the [`Handle`] first: a running resolver installs them anew.
///
/// # Errors
/// When the kernel cannot be asked, or refuses to delete.
pub async fn forget_managed() -> Result<usize> {
    Kernel::open()?.forget_managed().await
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offloaded => "offloaded",
            Self::Multiple => "multiple",
        })
    }
}

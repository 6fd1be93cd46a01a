//! The netlink sockets: one to ask, one to listen.
//!
//! They are apart because a listening socket can overrun, which would lose answers as well.

use std::{future::Future, io, net::IpAddr, time::Duration};

use futures::{StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver};
use nix::errno::Errno;
use rtnetlink::{
    MulticastGroup,
    packet_core::NetlinkMessage,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        neighbour::{
            NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags,
            NeighbourMessage, NeighbourState,
        },
        route::{RouteAttribute, RouteMessage, RouteProtocol},
    },
    sys::{AsyncSocket, SocketAddr},
};
use tokio::{task::JoinSet, time::timeout};

use super::{
    Error, Link, PROTOCOL, Result,
    parse::{self, Entry},
    table::{Hop, Owner, Reachability, Route},
};

/// More than any single answer takes, dumps of large tables included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Receive buffer of the listening socket in bytes; the kernel caps it at `net.core.rmem_max`.
const LISTEN_BUFFER: libc::c_int = 4 << 20;

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// A notification.
pub(super) type Message = NetlinkMessage<RouteNetlinkMessage>;

/// Both sockets.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) kernel: Kernel,
    pub(super) monitor: Monitor,
}

impl Session {
    /// Listens before it can ask, so that no change falls between.
    pub(super) fn open() -> Result<Self> {
        Ok(Self {
            monitor: Monitor::open()?,
            kernel: Kernel::open()?,
        })
    }
}

/// The socket to listen on.
#[derive(Debug)]
pub(super) struct Monitor {
    messages: UnboundedReceiver<(Message, SocketAddr)>,
    _connection: JoinSet<()>,
}

impl Monitor {
    fn open() -> Result<Self> {
        let (mut connection, _, messages) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(Error::Open)?;
        // A small buffer overruns sooner and is no other harm.
        if let Err(error) = connection
            .socket_mut()
            .socket_mut()
            .set_rx_buf_sz(LISTEN_BUFFER)
        {
            log::debug!("netlink receive buffer stays small: {error}");
        }
        let mut task = JoinSet::new();
        task.spawn(connection);
        Ok(Self {
            messages,
            _connection: task,
        })
    }

    /// The next notification; `None` when the socket closed.
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.messages.next().await.map(|(message, _)| message)
    }

    /// A notification that is there already.
    pub(super) fn ready(&mut self) -> Option<Message> {
        let (message, _) = self.messages.try_recv().ok()?;
        Some(message)
    }
}

/// The socket to ask on.
#[derive(Debug)]
pub(super) struct Kernel {
    handle: rtnetlink::Handle,
    _connection: JoinSet<()>,
}

impl Kernel {
    pub(super) fn open() -> Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Open)?;
        let mut task = JoinSet::new();
        task.spawn(connection);
        Ok(Self {
            handle,
            _connection: task,
        })
    }

    pub(super) async fn links(&self) -> Result<Vec<Link>> {
        let messages: Vec<_> = ask(self.handle.link().get().execute().try_collect()).await?;
        Ok(messages.iter().filter_map(parse::link).collect())
    }

    pub(super) async fn neighbours(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let request = self.handle.neighbours().get().set_address_family(family);
            let messages: Vec<_> = ask(request.execute().try_collect()).await?;
            entries.extend(messages.iter().filter_map(parse::entry));
        }
        Ok(entries)
    }

    /// Which way a packet to `address` would go.
    pub(super) async fn route(&self, address: IpAddr) -> Result<Route> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let destination = RouteAttribute::Destination(address.into());
        message.attributes.push(destination);
        let mut answers = Box::pin(self.handle.route().get(message).execute());
        match ask(answers.try_next()).await {
            Ok(Some(answer)) => Ok(parse::route(address, &answer)),
            Ok(None) => Err(Error::Closed),
            // The kernel refuses to look up what it would refuse to send.
            Err(Error::Refused(error)) => Ok(Route::Nowhere {
                ifindex: None,
                reason: format!("no route to {address}: {}", describe(&error)),
            }),
            Err(error) => Err(error),
        }
    }

    /// Has the kernel resolve a neighbour and keep it so.
    pub(super) async fn manage(&self, hop: Hop) -> Result<()> {
        let managed = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
        self.push(hop, NeighbourFlags::empty(), Some(managed)).await
    }

    /// Has the kernel resolve a neighbour once. A managed one is managed no more.
    pub(super) async fn use_once(&self, hop: Hop) -> Result<()> {
        self.push(hop, NeighbourFlags::Use, None).await
    }

    /// Deletes our entries, save those that somebody made permanent since.
    pub(super) async fn forget_managed(&self) -> Result<usize> {
        let mut count = 0;
        for Entry { hop, neighbour } in self.neighbours().await? {
            if neighbour.owner != Owner::Sluice || neighbour.reachability == Reachability::Fixed {
                continue;
            }
            let mut message = NeighbourMessage::default();
            message.header.family = family(hop.address);
            message.header.ifindex = hop.ifindex;
            let destination = NeighbourAttribute::Destination(destination(hop.address));
            message.attributes.push(destination);
            match ask(self.handle.neighbours().del(message).execute()).await {
                Ok(()) => count += 1,
                // Gone meanwhile, by itself or with its interface.
                Err(error) if is(&error, &[Errno::ENOENT, Errno::ENODEV]) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    async fn push(
        &self,
        hop: Hop,
        flags: NeighbourFlags,
        extra: Option<NeighbourAttribute>,
    ) -> Result<()> {
        let neighbours = self.handle.neighbours();
        // Without a state, the kernel keeps the one that the entry has.
        let mut request = neighbours
            .add(hop.ifindex, hop.address)
            .state(NeighbourState::None)
            .flags(flags)
            .replace();
        let attributes = &mut request.message_mut().attributes;
        attributes.push(NeighbourAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
        attributes.extend(extra);
        ask(request.execute()).await
    }
}

/// Whether the kernel refused for one of these reasons.
pub(super) fn is(error: &Error, reasons: &[Errno]) -> bool {
    let Error::Refused(error) = error else {
        return false;
    };
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|errno| reasons.contains(&errno))
}

async fn ask<T>(
    answer: impl Future<Output = std::result::Result<T, rtnetlink::Error>>,
) -> Result<T> {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(rtnetlink::Error::NetlinkError(error))) => Err(Error::Refused(error.to_io())),
        Ok(Err(rtnetlink::Error::RequestFailed)) => Err(Error::Closed),
        Ok(Err(error)) => Err(Error::Unexpected(error.to_string())),
        Err(_) => Err(Error::NoAnswer),
    }
}

fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => Errno::from_raw(errno).desc().to_lowercase(),
        None => error.to_string().to_lowercase(),
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn destination(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }
}

//! The task: keeps the table current, tells what changed, and has neighbours resolved.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use nix::errno::Errno;
use rtnetlink::{
    packet_core::NetlinkPayload,
    packet_route::{RouteNetlinkMessage, route::RouteFlags},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    Error, Event,
    kernel::{self, Kernel, Message, Session},
    parse::{self, Entry},
    table::{Action, Hop, Table},
};

/// Changes of routes come in bursts: one pass answers them all.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// A pass is followed by this many times its duration without one, however fast routes change.
const REST: u32 = 10;

/// How soon a neighbour is asked for again, and how soon a lost socket is opened again.
const RETRY: Duration = Duration::from_secs(1);

/// All routes are looked up again this often, whatever the notifications said: changes of next-hop
/// objects are silent where `net.ipv4.nexthop_compat_mode` is off.
const AUDIT: Duration = Duration::from_secs(60);

/// Notifications taken in before their effect is told.
const BATCH: usize = 1024;

/// What became stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stale {
    Nothing,
    /// The answers to route look-ups.
    Routes,
    /// Everything: notifications were lost.
    All,
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// Nobody wants to know any more.
    Stopped,
    /// The sockets are of no more use.
    Lost(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

/// The task's state.
#[derive(Debug)]
pub(super) struct Resolver {
    table: Table,
    events: mpsc::Sender<Event>,
    wanted: watch::Receiver<BTreeSet<IpAddr>>,
    /// When each hop was last asked for.
    asked: BTreeMap<Hop, Instant>,
    /// Hops that the kernel refused, each told of once.
    refused: BTreeSet<Hop>,
    /// Whether the kernel keeps neighbours resolved.
    manages: bool,
}

impl Resolver {
    pub(super) fn new(
        events: mpsc::Sender<Event>,
        wanted: watch::Receiver<BTreeSet<IpAddr>>,
    ) -> Self {
        Self {
            table: Table::default(),
            events,
            wanted,
            asked: BTreeMap::new(),
            refused: BTreeSet::new(),
            manages: true,
        }
    }

    /// Serves until the handle or the receiver of the events is dropped.
    pub(super) async fn run(mut self, session: Session) {
        let mut opened = Ok(session);
        loop {
            let end = match opened {
                Ok(session) => self.serve(session).await,
                Err(error) => Err(End::Lost(error)),
            };
            match end {
                Ok(()) | Err(End::Stopped) => return,
                Err(End::Lost(error)) => {
                    log::warn!("next hops: {error}; starting over in {RETRY:?}");
                }
            }
            sleep(RETRY).await;
            opened = Session::open();
        }
    }

    async fn serve(&mut self, session: Session) -> Result<(), End> {
        let Session {
            kernel,
            mut monitor,
        } = session;
        self.resync(&kernel).await?;
        let mut stale = Stale::Nothing;
        let mut due = Instant::now();
        let mut rested = due;
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut audit = interval(AUDIT);
        audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        audit.reset();
        loop {
            let mut found = Stale::Nothing;
            tokio::select! {
                wanted = self.wanted.changed() => {
                    wanted.map_err(|_| End::Stopped)?;
                    self.watch(&kernel).await?;
                }
                message = monitor.next() => {
                    let mut next = Some(message.ok_or(Error::Closed)?);
                    for _ in 0..BATCH {
                        let Some(message) = next else { break };
                        found = found.max(self.absorb(message));
                        next = monitor.ready();
                    }
                    if let Some(message) = next {
                        found = found.max(self.absorb(message));
                    }
                }
                () = sleep_until(due), if stale != Stale::Nothing => {
                    let begin = Instant::now();
                    match stale {
                        Stale::All => self.resync(&kernel).await?,
                        Stale::Routes | Stale::Nothing => self.reroute(&kernel).await?,
                    }
                    stale = Stale::Nothing;
                    rested = Instant::now() + begin.elapsed() * REST;
                }
                _ = retry.tick() => self.act(&kernel).await?,
                _ = audit.tick() => found = Stale::Routes,
            }
            if stale == Stale::Nothing && found != Stale::Nothing {
                due = rested.max(Instant::now() + DEBOUNCE);
            }
            stale = stale.max(found);
            self.tell(&kernel).await?;
        }
    }

    /// Learns everything anew.
    async fn resync(&mut self, kernel: &Kernel) -> Result<(), End> {
        self.manages = true;
        self.asked.clear();
        self.refused.clear();
        self.table.replace_links(kernel.links().await?);
        let entries = kernel.neighbours().await?;
        let neighbours = entries
            .into_iter()
            .map(|Entry { hop, neighbour }| (hop, neighbour));
        self.table.replace_neighbours(neighbours.collect());
        self.table.watch(&self.wanted.borrow_and_update());
        self.reroute(kernel).await?;
        self.tell(kernel).await
    }

    /// Looks all watched addresses up again.
    async fn reroute(&mut self, kernel: &Kernel) -> Result<(), End> {
        for address in self.table.watched() {
            self.table.set_route(address, kernel.route(address).await?);
        }
        Ok(())
    }

    /// Follows the handle; looks up only what is new.
    async fn watch(&mut self, kernel: &Kernel) -> Result<(), End> {
        let unknown = self.table.watch(&self.wanted.borrow_and_update());
        for address in unknown {
            self.table.set_route(address, kernel.route(address).await?);
        }
        Ok(())
    }

    /// Takes a notification in; returns what it made stale.
    fn absorb(&mut self, message: Message) -> Stale {
        let message = match message.payload {
            NetlinkPayload::InnerMessage(message) => message,
            NetlinkPayload::Overrun(_) => {
                log::warn!("next hops: notifications were lost, reading everything again");
                return Stale::All;
            }
            _ => return Stale::Nothing,
        };
        let routes = match message {
            RouteNetlinkMessage::NewNeighbour(message) => {
                if let Some(Entry { hop, neighbour }) = parse::entry(&message) {
                    self.table.set_neighbour(hop, Some(neighbour));
                }
                false
            }
            RouteNetlinkMessage::DelNeighbour(message) => {
                if let Some(Entry { hop, neighbour: _ }) = parse::entry(&message) {
                    self.table.set_neighbour(hop, None);
                }
                false
            }
            RouteNetlinkMessage::NewLink(message) => {
                parse::link(&message).is_some_and(|link| self.table.set_link(link))
            }
            RouteNetlinkMessage::DelLink(message) => {
                parse::link(&message).is_some_and(|link| self.table.remove_link(link.ifindex))
            }
            RouteNetlinkMessage::NewRoute(message) | RouteNetlinkMessage::DelRoute(message) => {
                !message.header.flags.contains(RouteFlags::Cloned)
                    && parse::prefix(&message)
                        .is_some_and(|prefix| self.table.concerns(prefix.address, prefix.length))
            }
            RouteNetlinkMessage::NewAddress(_)
            | RouteNetlinkMessage::DelAddress(_)
            | RouteNetlinkMessage::NewRule(_)
            | RouteNetlinkMessage::DelRule(_) => true,
            _ => false,
        };
        if routes {
            Stale::Routes
        } else {
            Stale::Nothing
        }
    }

    /// Sends what changed, and has the kernel do what follows from it.
    async fn tell(&mut self, kernel: &Kernel) -> Result<(), End> {
        if !self.table.is_changed() {
            return Ok(());
        }
        for event in self.table.changes() {
            self.events.send(event).await.map_err(|_| End::Stopped)?;
        }
        self.act(kernel).await
    }

    async fn act(&mut self, kernel: &Kernel) -> Result<(), End> {
        let now = Instant::now();
        // An entry that comes and goes must not be installed in a tight loop.
        self.asked.retain(|_, at| now.duration_since(*at) < RETRY);
        for action in self.table.actions(self.manages) {
            let (hop, done) = match action {
                Action::Release(hop) => (hop, kernel.use_once(hop).await),
                Action::Manage(hop) | Action::Use(hop) if self.asked.contains_key(&hop) => continue,
                Action::Manage(hop) => (hop, self.manage(kernel, hop).await),
                Action::Use(hop) => (hop, kernel.use_once(hop).await),
            };
            if !matches!(action, Action::Release(_)) {
                self.asked.insert(hop, now);
            }
            match done {
                Ok(()) => {
                    self.refused.remove(&hop);
                }
                Err(Error::Refused(error)) => {
                    let level = if self.refused.insert(hop) {
                        log::Level::Warn
                    } else {
                        log::Level::Debug
                    };
                    let Hop { ifindex, address } = hop;
                    log::log!(
                        level,
                        "neighbour {address} on interface {ifindex} not installed: {error}"
                    );
                }
                Err(error) => return Err(End::Lost(error)),
            }
        }
        Ok(())
    }

    async fn manage(&mut self, kernel: &Kernel, hop: Hop) -> super::Result<()> {
        match kernel.manage(hop).await {
            Ok(()) => {
                self.table.installed(hop);
                Ok(())
            }
            Err(error) if kernel::is(&error, &[Errno::EINVAL, Errno::EOPNOTSUPP]) => {
                log::warn!("the kernel refuses managed neighbours ({error}): pushing them instead");
                self.manages = false;
                kernel.use_once(hop).await
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;

//! The backend's side of tunnels: attaches a program that takes outer headers off, keeps it attached, and
//! counts. It needs no configuration file, and no load balancer on the same host.
//!
//! `report` is what was counted, for people and programs.

mod report;
mod watch;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

pub use self::report::Report;
use crate::{
    config,
    dataplane::{self, Decap, DecapOptions},
    interfaces::{self, Configured},
    model::{Interface, XdpMode},
    neighbor::{self, AttachedXdp, Link},
    prefix::Prefix,
};

/// How often the kernel is asked what is attached: attaching through a `bpf_link` sends no notification.
const LOOK: Duration = Duration::from_secs(5);

/// What `sluice decap` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names the pins.
    pub instance: String,
    /// Where the BPF file system is mounted.
    pub bpffs: PathBuf,
    /// Where tunnels' packets come in.
    pub interfaces: BTreeSet<String>,
    /// How to attach.
    pub xdp: XdpMode,
    /// The load balancers.
    pub sources: BTreeSet<Prefix>,
    /// UDP destination port of GUE.
    pub gue_port: u16,
}

/// Why it cannot run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to attach to.
    #[error(transparent)]
    Interface(#[from] interfaces::Error),
    /// The pinned link holds an interface of the same number elsewhere.
    #[error(
        "interface {name} did not get the program: instance `{instance}` is attached in another network \
         namespace; use another --instance here"
    )]
    NotAttached {
        /// As named.
        name: String,
        /// The instance.
        instance: String,
    },
    /// The kernel refuses.
    #[error(transparent)]
    Dataplane(#[from] dataplane::Error),
    /// Netlink refuses.
    #[error("asking the kernel for links: {0}")]
    Neighbor(#[from] neighbor::Error),
    /// Signals cannot be heard.
    #[error("listening for signals: {0}")]
    Signals(std::io::Error),
}

/// A prefix that tunnels may come from.
///
/// # Errors
/// Why `text` is none, for people.
pub fn source(text: &str) -> Result<Prefix, String> {
    let prefix: Prefix = text.parse().map_err(|error| format!("{error}"))?;
    let address = prefix.address();
    if prefix.length() == 0 {
        return Err(format!(
            "{prefix} is every address, and whoever can send from a listed one can put packets of any \
             source into this host; name the load balancers alone"
        ));
    }
    if let Some(why) = config::why_no_unicast(address) {
        return Err(format!(
            "{address} {why}; name the load balancers' addresses"
        ));
    }
    Ok(prefix)
}

/// Takes tunnels off until SIGTERM, SIGINT or SIGHUP, then detaches.
///
/// # Errors
/// Any [`Error`] of starting; nothing is left attached or pinned then. Later troubles are logged.
pub async fn run(options: Options) -> Result<(), Error> {
    dataplane::check_host_for_decap()?;
    let wanted: Vec<_> = options
        .interfaces
        .iter()
        .map(|name| named(name, options.xdp))
        .collect();
    let links = neighbor::links().await?;
    let devices = interfaces::find(&wanted, &links)?;
    let mut stop = Stop::listen().map_err(Error::Signals)?;
    let mut decap = Decap::open(DecapOptions {
        bpffs: &options.bpffs,
        instance: &options.instance,
        gue_port: options.gue_port,
        sources: &options.sources,
    })?;
    if let Err(error) = bring_up(&mut decap, &devices, &links, &options).await {
        // The reason matters more than what comes after it.
        if let Err(error) = decap.remove() {
            log::error!("cleaning up: {error}");
        }
        return Err(error);
    }
    announce(&options);

    let mut watch = watch::Watch::new(wanted);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.told() => break,
            _ = look.tick() => watch.look(&mut decap).await,
        }
    }
    match decap.counts() {
        Ok(counts) => log::info!("stopping; {}", Report::new(&options.instance, &counts)),
        Err(error) => log::error!("reading the counters: {error}"),
    }
    Ok(decap.remove()?)
}

/// Attaches to every interface, and sees that it holds.
async fn bring_up(
    decap: &mut Decap,
    devices: &[Configured],
    links: &[Link],
    options: &Options,
) -> Result<(), Error> {
    for Configured { device, mode } in devices {
        let link = links.iter().find(|link| link.ifindex == device.ifindex);
        let running = link.and_then(|link| link.xdp);
        // Left by a process that was killed: its link keeps the mode that it was made with.
        if running.is_some_and(|xdp| !interfaces::fits(*mode, xdp.mode)) {
            decap.detach(&device.name)?;
        }
        let attached = decap.attach(device, *mode);
        attached.map_err(|error| named_owner(error, running, &options.bpffs))?;
    }
    decap.detach_others()?;
    let links = neighbor::links().await?;
    for Configured { device, .. } in devices {
        let ours = decap.held(&device.name).map(|(_, program)| program);
        let link = links.iter().find(|link| link.name == device.name);
        let runs = link.and_then(|link| Some(link.xdp?.program));
        if runs.is_none() || runs != ours {
            return Err(Error::NotAttached {
                name: device.name.clone(),
                instance: options.instance.clone(),
            });
        }
    }
    Ok(())
}

/// Says whose program is on an interface that is busy, where that is another instance's.
fn named_owner(
    error: dataplane::Error,
    running: Option<AttachedXdp>,
    bpffs: &Path,
) -> dataplane::Error {
    let dataplane::Error::InterfaceBusy { name } = error else {
        return error;
    };
    match running.and_then(|xdp| dataplane::decap_owner(bpffs, xdp.program)) {
        Some(instance) => dataplane::Error::InterfaceTaken { name, instance },
        None => dataplane::Error::InterfaceBusy { name },
    }
}

/// Says that packets are taken, to the log and to systemd.
fn announce(options: &Options) {
    let Options {
        instance,
        bpffs: _,
        interfaces,
        xdp: _,
        sources,
        gue_port,
    } = options;
    log::info!(
        "instance {instance} ready: takes IPIP and GUE (port {gue_port}) off on {}, from {}",
        listed(interfaces),
        listed(sources)
    );
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        log::debug!("telling systemd: {error}");
    }
}

fn listed<T: ToString>(items: &BTreeSet<T>) -> String {
    let items: Vec<_> = items.iter().map(T::to_string).collect();
    items.join(", ")
}

fn named(name: &str, xdp: XdpMode) -> Interface {
    Interface {
        name: name.to_owned(),
        xdp,
        // Looked behind in any case.
        vlan: true,
    }
}

/// The signals that end it.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prefixes_that_are_somebodys_are_sources() {
        for text in ["10.0.0.1", "10.64.0.1/16", "fd00:64::1/64", "192.0.2.0/31"] {
            assert!(source(text).is_ok(), "{text}");
        }
        for (text, words) in [
            ("0.0.0.0/0", "every address"),
            ("::/0", "every address"),
            ("10.0.0.1/0", "name the load balancers alone"),
            (
                "224.0.0.1",
                "is a multicast address; name the load balancers'",
            ),
            ("ff02::1", "is a multicast address"),
            ("0.0.0.0", "is the unspecified address"),
            ("127.0.0.1", "is a loopback address"),
            ("lb1", "no address"),
        ] {
            let why = source(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}

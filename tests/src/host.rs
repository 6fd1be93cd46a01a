//! A host: a named network namespace, and ways to run code and programs in it.
//!
//! What a host does on the network (links, addresses, routes) are the same-named functions of
//! `netlink`, run inside.

use std::{
    fs,
    net::IpAddr,
    path::Path,
    process::Command,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::{runtime::Builder, sync::oneshot};

use crate::{
    cli::stderr,
    ethtool,
    netlink::{self, Link, Neighbour, Route},
    netns::NetNs,
    process,
};

/// A host; it goes with its last clone.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: Arc<NetNs>,
}

impl Host {
    /// Makes a host named `name`, with `lo` up and nothing that talks unasked.
    pub fn new(name: &str) -> Result<Self> {
        let host = Self {
            namespace: Arc::new(NetNs::create(name)?),
        };
        host.run(|| -> Result<()> {
            write_all(QUIET)?;
            netlink::set_up("lo", true)
        })
        .with_context(|| format!("setting up the host {name}"))?;
        Ok(host)
    }

    /// The name for `ip netns exec`.
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Joins two hosts by a veth pair, both ends up, with the offloads that XDP between veths needs.
    pub fn join(&self, interface: &str, other: &Self, other_interface: &str) -> Result<()> {
        self.run(|| netlink::add_veth(interface, other_interface, other.namespace.fd()))?;
        let ends = [(self, interface), (other, other_interface)];
        for (host, name) in ends {
            host.run(|| -> Result<()> {
                ethtool::set_tx_checksum(name, false)?;
                ethtool::write_tags_into_frames(name)?;
                netlink::set_up(name, true)
            })?;
        }
        // Only once both ends are up: the kernel allows redirecting to an end when its peer's GRO is
        // switched on, or when it comes up and finds it on. Otherwise every frame is dropped.
        for (host, name) in ends {
            host.run(|| ethtool::set_gro(name, true))?;
        }
        Ok(())
    }

    /// Makes a bridge, up.
    pub fn bridge(&self, name: &str) -> Result<()> {
        self.run(|| {
            netlink::add_bridge(name)?;
            netlink::set_up(name, true)
        })
    }

    /// Makes `port` a port of `bridge`.
    pub fn enslave(&self, port: &str, bridge: &str) -> Result<()> {
        self.run(|| netlink::enslave(port, bridge))
    }

    /// Adds an address.
    pub fn address(&self, interface: &str, address: impl Into<IpAddr>, prefix: u8) -> Result<()> {
        let address = address.into();
        self.run(|| netlink::add_address(interface, address, prefix))
    }

    /// Adds a route through a gateway.
    pub fn route(
        &self,
        destination: impl Into<IpAddr>,
        prefix: u8,
        gateway: impl Into<IpAddr>,
    ) -> Result<()> {
        self.add_route(Route::new(destination.into(), prefix, gateway.into()))
    }

    /// Adds a route of any kind.
    pub fn add_route(&self, route: Route<'_>) -> Result<()> {
        self.run(|| route.add())
    }

    /// Puts a route through a gateway in the place of one that is there.
    pub fn reroute(
        &self,
        destination: impl Into<IpAddr>,
        prefix: u8,
        gateway: impl Into<IpAddr>,
    ) -> Result<()> {
        let route = Route::new(destination.into(), prefix, gateway.into());
        self.run(|| route.replace())
    }

    /// Removes an interface, its addresses and its routes; a veth takes its peer along.
    pub fn delete_link(&self, interface: &str) -> Result<()> {
        self.run(|| netlink::delete_link(interface))
    }

    /// Gives an interface another Ethernet address.
    pub fn set_mac(&self, interface: &str, mac: [u8; 6]) -> Result<()> {
        self.run(|| netlink::set_mac(interface, mac))
    }

    /// Lets the kernel notice within about two seconds that a neighbour is silent.
    pub fn hasten_neighbours(&self, interface: &str) -> Result<()> {
        let families: &[_] = if has_ipv6() {
            &["ipv4", "ipv6"]
        } else {
            &["ipv4"]
        };
        for family in families {
            for (key, value) in HASTY {
                self.sysctl(&format!("net/{family}/neigh/{interface}/{key}"), value)?;
            }
        }
        Ok(())
    }

    /// Sets an interface up or down.
    pub fn set_up(&self, interface: &str, up: bool) -> Result<()> {
        self.run(|| netlink::set_up(interface, up))
    }

    /// Sets how many queues an interface has in each direction.
    pub fn set_queues(&self, interface: &str, queues: u32) -> Result<()> {
        self.run(|| ethtool::set_queues(interface, queues))
    }

    /// Sets an interface's MTU in bytes.
    pub fn set_mtu(&self, interface: &str, mtu: u32) -> Result<()> {
        self.run(|| netlink::set_mtu(interface, mtu))
    }

    /// What the kernel says of an interface, its counters too.
    pub fn link(&self, interface: &str) -> Result<Link> {
        self.run(|| netlink::link(interface))
    }

    /// The neighbour table.
    pub fn neighbours(&self) -> Result<Vec<Neighbour>> {
        self.run(netlink::neighbours)
    }

    /// Sets a permanent neighbour.
    pub fn set_neighbour(
        &self,
        interface: &str,
        address: impl Into<IpAddr>,
        mac: [u8; 6],
    ) -> Result<()> {
        let address = address.into();
        self.run(|| netlink::set_neighbour(interface, address, mac))
    }

    /// Forgets a neighbour; whether there was one.
    pub fn forget_neighbour(&self, interface: &str, address: impl Into<IpAddr>) -> Result<bool> {
        let address = address.into();
        self.run(|| netlink::forget_neighbour(interface, address))
    }

    /// Writes a setting below `/proc/sys`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.run(|| write_sysctl(key, value))
    }

    /// Lets the host forward packets, without sending redirects for them.
    pub fn forward(&self) -> Result<()> {
        self.run(|| write_all(FORWARDING))
    }

    /// Keeps IPv6 off interfaces made later: the kernel reports the groups that it listens to, unasked
    /// and to everybody (RFC 3810).
    pub fn leave_ipv6_off(&self) -> Result<()> {
        self.run(|| write_all(IPV4_ONLY))
    }

    /// Gives the host an address on `lo` that it tells nobody about: ARP neither answers for it nor
    /// asks in its name. IPv6 does neither for an address of another interface, unasked.
    pub fn own_silently(&self, address: impl Into<IpAddr>) -> Result<()> {
        let address = address.into();
        if address.is_ipv4() {
            self.run(|| write_all(SILENT))?;
        }
        self.address("lo", address, if address.is_ipv4() { 32 } else { 128 })
    }

    /// Runs `ip` of iproute2, for what rtnetlink lacks.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("ip");
        let output = command.args(arguments).output();
        let output = output.context("running ip, of Debian's package iproute2")?;
        ensure!(
            output.status.success(),
            "ip {}: {}",
            arguments.join(" "),
            stderr(&output)
        );
        Ok(())
    }

    /// Runs `work` on a thread inside the host, and gives back what it gives.
    ///
    /// # Panics
    /// Where `work` does, or the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.namespace.enter().expect("entering the namespace");
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread inside the host.
    pub fn spawn_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let host = self.clone();
        thread::spawn(move || {
            host.namespace.enter().expect("entering the namespace");
            work()
        })
    }

    /// Runs a future on a single-threaded runtime inside the host: its sockets are the host's.
    pub fn block_on<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        self.run(|| {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(work())
        })
    }

    /// Starts a future on a thread inside the host; it is dropped with the guard.
    pub fn spawn<F: Future<Output = ()>>(&self, work: impl FnOnce() -> F + Send + 'static) -> Task {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = self.spawn_thread(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = work() => {}
                    _ = stopped => {}
                }
            });
        });
        Task {
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A command that will run inside the host. It sees the same files: only its network is another.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let fd = self
            .namespace
            .fd()
            .try_clone_to_owned()
            .expect("duplicating a descriptor");
        process::enter_before_exec(&mut command, fd);
        command
    }
}

/// A future running inside a host; dropping it stops it and waits for its end.
#[derive(Debug)]
pub struct Task {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Task {
    /// Stops it; fails where it panicked.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// Waits until it ends by itself; fails where it panicked.
    pub fn wait(mut self) -> Result<()> {
        let result = self.thread.take().map(JoinHandle::join);
        result
            .transpose()
            .map(drop)
            .map_err(|_| anyhow!("a task in a host panicked"))
    }

    fn end(&mut self) -> Result<()> {
        drop(self.stop.take());
        let result = self.thread.take().map(JoinHandle::join);
        result
            .transpose()
            .map(drop)
            .map_err(|_| anyhow!("a task in a host panicked"))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Whether the kernel knows IPv6.
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Settings of a new namespace. Those of `default` reach the interfaces made later.
const QUIET: &[(&str, &str)] = &[
    // Nobody listens to routers, so nobody solicits them.
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/autoconf", "0"),
    // 1: the kernel makes up no link-local address, whose use would have to be waited for.
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    // As IPv4 has it: what is set down and up again still has its addresses.
    ("net/ipv6/conf/all/keep_addr_on_down", "1"),
    ("net/ipv6/conf/default/keep_addr_on_down", "1"),
    ("net/ipv6/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    // Ping sockets for every group.
    ("net/ipv4/ping_group_range", "0 2147483647"),
];

/// A host that forwards packets.
const FORWARDING: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
];

/// A host whose interfaces know nothing of IPv6.
const IPV4_ONLY: &[(&str, &str)] = &[("net/ipv6/conf/default/disable_ipv6", "1")];

/// A host that keeps silent about addresses on `lo`.
const SILENT: &[(&str, &str)] = &[
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/all/arp_announce", "2"),
];

/// A neighbour is believed for a second, and asked twice. What is managed is looked at every 5 s: that
/// interval belongs to the whole host.
const HASTY: &[(&str, &str)] = &[
    ("delay_first_probe_time", "1"),
    ("retrans_time_ms", "100"),
    ("ucast_solicit", "1"),
    ("mcast_solicit", "1"),
    ("base_reachable_time_ms", "1000"),
];

/// Those of IPv6 only where the kernel knows it.
fn write_all(settings: &[(&str, &str)]) -> Result<()> {
    let ipv6 = has_ipv6();
    settings
        .iter()
        .filter(|(key, _)| ipv6 || !key.starts_with("net/ipv6"))
        .try_for_each(|(key, value)| write_sysctl(key, value))
}

/// `/proc/sys/net` shows the namespace of the thread that opens it.
fn write_sysctl(key: &str, value: &str) -> Result<()> {
    fs::write(Path::new("/proc/sys").join(key), value)
        .with_context(|| format!("setting {key} to {value}"))
}

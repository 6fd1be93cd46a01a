//! The network that the playground and the tests run on.
//!
//! ```text
//! client .10 ---+                                      +--- b1 .11
//!               | front 10.77.1.0/24   back 10.77.2.0/24 |
//!               +--[ router: a bridge each, .254 ]--------+--- b2 .12 ...
//!               |                                      |
//!               +--- front .1 [ lb ] back .1 -----------+
//! ```
//!
//! The client reaches the VIP's network and the back network through the load balancer, the
//! backends everything. One-armed, the load balancer has only `back`, and the router sends it what
//! is for the VIP. For `dsr` the backends have the VIP on `lo`, and their way back leads through the
//! router: the load balancer sees requests alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result};

use crate::{host::Host, mode::Forward, netlink::ANYWHERE, server::Server, sweep};

/// The service.
pub const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 80), 80);
/// The client.
pub const CLIENT: Ipv4Addr = front(10);
/// The load balancer's interface `front`.
pub const LB_FRONT: Ipv4Addr = front(1);
/// The load balancer's interface `back`.
pub const LB_BACK: Ipv4Addr = back(1);
/// The router on the front network.
pub const ROUTER_FRONT: Ipv4Addr = front(254);
/// The router on the back network.
pub const ROUTER_BACK: Ipv4Addr = back(254);
/// The gateway to the far network, on the back network.
pub const GATEWAY: Ipv4Addr = back(253);

const VIP_NET: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 0);
const FRONT_NET: Ipv4Addr = front(0);
const BACK_NET: Ipv4Addr = back(0);
const FAR_NET: Ipv4Addr = far(0);
const GATEWAY_FAR: Ipv4Addr = far(254);
const PREFIX: u8 = 24;

const fn front(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, host)
}

const fn back(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 2, host)
}

const fn far(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 3, host)
}

/// What to build.
#[derive(Clone, Debug)]
pub struct TopologyBuilder {
    prefix: Option<String>,
    backends: u8,
    far_backend: bool,
    one_armed: bool,
    bridged: bool,
    forward: Forward,
}

/// The hosts, with a server on each backend. Dropping it removes everything.
#[derive(Debug)]
pub struct Topology {
    /// b1, b2, ...; a far one is the last.
    pub backends: Vec<Backend>,
    /// Sends requests; interface `eth0`.
    pub client: Host,
    /// The load balancer; interfaces `front` and `back`, one-armed only `back`.
    pub lb: Host,
    /// Bridges `front` and `back`; ports `client`, `lb-front`, `lb-back`, `b1`, ...
    pub router: Host,
    /// Interfaces `back` and `far`; there where a backend is behind it.
    pub gateway: Option<Host>,
    /// What the backends' way back is made for.
    pub forward: Forward,
    one_armed: bool,
    bridged: bool,
}

/// A backend: a host, its server on port 80, and its plug in the switch.
#[derive(Debug)]
pub struct Backend {
    /// `b1`, ...: what its server answers.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its server.
    pub server: Server,
    /// Interface `eth0`.
    pub host: Host,
    switch: Host,
    port: String,
}

/// Ways for a backend to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process is killed: connections are refused.
    Killed,
    /// The process is stopped: connections are accepted and nothing is answered.
    Stopped,
    /// The link is down: nothing comes back.
    Unplugged,
}

impl TopologyBuilder {
    /// How many backends there are on the back network; 3 unless said otherwise.
    pub fn backends(mut self, backends: u8) -> Self {
        self.backends = backends;
        self
    }

    /// One more backend, on the far network 10.77.3.0/24 behind a gateway.
    pub fn far_backend(mut self) -> Self {
        self.far_backend = true;
        self
    }

    /// A load balancer with one interface, `back`.
    pub fn one_armed(mut self) -> Self {
        self.one_armed = true;
        self
    }

    /// A load balancer whose interfaces are bridges, each with one port, `front-port` and so on.
    pub fn bridged(mut self) -> Self {
        self.bridged = true;
        self
    }

    /// Backends that answer as `forward` has it; as `dnat` unless said otherwise.
    pub fn forward(mut self, forward: Forward) -> Self {
        self.forward = forward;
        self
    }

    /// Host names `prefix-client` and so on, instead of unique ones.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// Builds it; the backends listen when this returns.
    pub fn build(&self) -> Result<Topology> {
        let prefix = self.prefix.clone().unwrap_or_else(sweep::unique_name);
        let host = |name: &str| Host::new(&format!("{prefix}-{name}"));

        let router = host("router")?;
        for (bridge, address) in [("front", ROUTER_FRONT), ("back", ROUTER_BACK)] {
            router.bridge(bridge)?;
            address_both(&router, bridge, address)?;
        }
        router.forward()?;

        let mut topology = Topology {
            backends: Vec::new(),
            client: host("client")?,
            lb: host("lb")?,
            router,
            gateway: None,
            forward: self.forward,
            one_armed: self.one_armed,
            bridged: self.bridged,
        };
        topology
            .connect_client_and_lb()
            .context("connecting client and load balancer")?;
        for n in 1..=self.backends {
            topology.add_backend(&host(&format!("b{n}"))?, n)?;
        }
        if self.far_backend {
            let n = self.backends + 1;
            topology.add_far_backend(&host("gateway")?, &host(&format!("b{n}"))?, n)?;
        }
        Ok(topology)
    }
}

impl Topology {
    /// Three backends, two interfaces, unique names, unless said otherwise.
    pub fn builder() -> TopologyBuilder {
        TopologyBuilder {
            prefix: None,
            backends: 3,
            far_backend: false,
            one_armed: false,
            bridged: false,
            forward: Forward::default(),
        }
    }

    /// The load balancer's interfaces that packets come from and go to.
    pub fn lb_interfaces(&self) -> &'static [&'static str] {
        if self.one_armed {
            &["back"]
        } else {
            &["front", "back"]
        }
    }

    /// The backend named `name`.
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// The backend named `name`, to kill or revive it.
    pub fn backend_mut(&mut self, name: &str) -> Option<&mut Backend> {
        self.backends
            .iter_mut()
            .find(|backend| backend.name == name)
    }

    /// HTTP requests that all backends answered.
    pub fn requests(&self) -> u64 {
        self.backends
            .iter()
            .map(|backend| backend.server.requests())
            .sum()
    }

    fn connect_client_and_lb(&self) -> Result<()> {
        let Self {
            client,
            lb,
            router,
            one_armed,
            ..
        } = self;
        plug(client, "eth0", CLIENT, router, "client", "front")?;
        self.plug_lb("back")?;
        lb.forward()?;
        if *one_armed {
            lb.route(FRONT_NET, PREFIX, ROUTER_BACK)?;
            router.route(VIP_NET, PREFIX, LB_BACK)?;
        } else {
            self.plug_lb("front")?;
        }
        client.route(VIP_NET, PREFIX, self.way_in())?;
        client.route(BACK_NET, PREFIX, self.way_in())
    }

    /// Gives the load balancer its interface `front` or `back`: at first, or again after it was
    /// removed.
    pub fn plug_lb(&self, name: &str) -> Result<()> {
        let Self { lb, router, .. } = self;
        let address = if name == "back" { LB_BACK } else { LB_FRONT };
        let port = format!("lb-{name}");
        if !self.bridged {
            return plug(lb, name, address, router, &port, name);
        }
        let inner = format!("{name}-port");
        lb.join(&inner, router, &port)?;
        router.enslave(&port, name)?;
        lb.bridge(name)?;
        lb.enslave(&inner, name)?;
        address_both(lb, name, address)
    }

    /// The client's first hop towards the load balancer.
    fn way_in(&self) -> Ipv4Addr {
        if self.one_armed {
            ROUTER_FRONT
        } else {
            LB_FRONT
        }
    }

    fn add_backend(&mut self, host: &Host, n: u8) -> Result<()> {
        let (name, address) = (format!("b{n}"), back(10 + n));
        plug(host, "eth0", address, &self.router, &name, "back")?;
        let mut listen = vec![SocketAddr::from((address, VIP.port()))];
        match self.forward {
            Forward::Dnat => host.route(ANYWHERE, 0, LB_BACK)?,
            Forward::Dsr => {
                host.own_silently(*VIP.ip())?;
                host.route(ANYWHERE, 0, ROUTER_BACK)?;
                listen.push(VIP.into());
            }
        }
        let switch = self.router.clone();
        self.backends
            .push(Backend::start(&name, &listen, host, switch, &name)?);
        Ok(())
    }

    fn add_far_backend(&mut self, gateway: &Host, host: &Host, n: u8) -> Result<()> {
        let (name, address) = (format!("b{n}"), far(10 + n));
        plug(gateway, "back", GATEWAY, &self.router, "gateway", "back")?;
        gateway.forward()?;
        gateway.route(ANYWHERE, 0, LB_BACK)?;
        gateway.join("far", host, "eth0")?;
        address_both(gateway, "far", GATEWAY_FAR)?;
        address_both(host, "eth0", address)?;
        host.route(ANYWHERE, 0, GATEWAY_FAR)?;
        self.lb.route(FAR_NET, PREFIX, GATEWAY)?;
        self.client.route(FAR_NET, PREFIX, self.way_in())?;
        self.gateway = Some(gateway.clone());
        let listen = [SocketAddr::from((address, VIP.port()))];
        self.backends.push(Backend::start(
            &name,
            &listen,
            host,
            gateway.clone(),
            "far",
        )?);
        Ok(())
    }
}

impl Backend {
    /// Lets it die.
    pub fn die(&mut self, death: Death) -> Result<()> {
        match death {
            Death::Killed => self.server.kill(),
            Death::Stopped => self.server.stop(),
            Death::Unplugged => self.switch.set_up(&self.port, false)?,
        }
        Ok(())
    }

    /// Brings it back, however it died.
    pub fn revive(&mut self) -> Result<()> {
        self.switch.set_up(&self.port, true)?;
        self.server.revive()
    }

    /// Its own address is the first of `listen`.
    fn start(
        name: &str,
        listen: &[SocketAddr],
        host: &Host,
        switch: Host,
        port: &str,
    ) -> Result<Self> {
        let (name, port) = (name.to_owned(), port.to_owned());
        let server = Server::start(host, &name, listen)?;
        let address = *listen.first().context("a backend needs an address")?;
        Ok(Self {
            name,
            address,
            server,
            host: host.clone(),
            switch,
            port,
        })
    }
}

/// Joins `host` to a bridge of `router`, by its `port`, and gives it its addresses.
pub fn plug(
    host: &Host,
    interface: &str,
    address: Ipv4Addr,
    router: &Host,
    port: &str,
    bridge: &str,
) -> Result<()> {
    host.join(interface, router, port)?;
    router.enslave(port, bridge)?;
    address_both(host, interface, address)
}

/// 10.77.N.X and fd77:N::X, with X written alike.
fn address_both(host: &Host, interface: &str, address: Ipv4Addr) -> Result<()> {
    host.address(interface, address, PREFIX)?;
    match ipv6_beside(address) {
        Some(v6) if std::path::Path::new("/proc/sys/net/ipv6").exists() => {
            host.address(interface, IpAddr::V6(v6), 64)
        }
        _ => Ok(()),
    }
}

fn ipv6_beside(address: Ipv4Addr) -> Option<Ipv6Addr> {
    let [_, _, network, host] = address.octets();
    format!("fd77:{network}::{host}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ipv6_address_reads_like_the_ipv4_one() {
        assert_eq!(ipv6_beside(CLIENT), "fd77:1::10".parse().ok());
        assert_eq!(ipv6_beside(ROUTER_BACK), "fd77:2::254".parse().ok());
    }
}

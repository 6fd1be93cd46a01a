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
//! By IPv6 the same with fd77:1::/64 and fd77:2::/64: see [`addresses`].
//!
//! The client reaches the VIP's network and the back network through the load balancer, the
//! backends everything. One-armed, the load balancer has only `back`, and the router sends it what
//! is for the VIP. For `dsr` and tunnels the backends have the VIP on `lo`, and their way back leads
//! through the router: the load balancer sees requests alone.

pub mod addresses;
mod backend;
mod builder;
mod vlan;

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};

use self::{
    addresses::{BACK_NET, FAR_NET, FRONT_NET, GATEWAY_FAR, VIP_NET, back, far, link_local},
    backend::Plug,
};
pub use self::{
    addresses::{
        CLIENT, CLIENT6, GATEWAY, LB_BACK, LB_FRONT, ROUTER_BACK, ROUTER_FRONT, VIP, VIP6,
    },
    backend::{Backend, Death},
    builder::TopologyBuilder,
};
use crate::{
    capture::Tag,
    decap::Decap,
    host::Host,
    kernel_tunnels,
    mode::{Family, Forward},
    netlink::Route,
};

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
    /// The tags of the VLAN in which everything happens, if it does in one.
    pub vlan: &'static [Tag],
    one_armed: bool,
    bridged: bool,
    mtu: u32,
    tags: usize,
    tunnel_sources: Vec<String>,
    kernel_tunnels: bool,
}

/// Bytes that the longest tunnel adds to a packet: IPv6 and UDP.
const TUNNEL: u32 = 40 + 8;
/// The length of a VLAN tag.
const TAG: u32 = 4;
/// The length of a TCP header without options.
const TCP: u32 = 20;

impl Topology {
    /// Three backends, two interfaces, unique names, unless said otherwise.
    pub fn builder() -> TopologyBuilder {
        TopologyBuilder::default()
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

    /// Where packets in tunnels may come from, addresses and prefixes.
    pub fn tunnel_sources(&self) -> &[String] {
        &self.tunnel_sources
    }

    /// HTTP requests that all backends answered.
    pub fn requests(&self) -> u64 {
        self.backends
            .iter()
            .map(|backend| backend.server.requests())
            .sum()
    }

    /// Sets the MTU of one link, at both of its ends: the router's `port`, and what is plugged in there.
    pub fn set_link_mtu(&self, port: &str, mtu: u32) -> Result<()> {
        let (host, interface) = match port {
            "client" => (&self.client, "eth0".to_owned()),
            "lb-front" | "lb-back" => (&self.lb, self.lb_device(&port["lb-".len()..])),
            _ => {
                let backend = self.backend(port);
                let backend = backend.with_context(|| format!("the router has no port {port}"))?;
                (&backend.host, "eth0".to_owned())
            }
        };
        set_mtu([(host, &interface), (&self.router, port)], mtu)
    }

    /// Gives the load balancer its interface `front` or `back`: at first, or again after it was
    /// removed.
    pub fn plug_lb(&self, name: &str) -> Result<()> {
        let Self { lb, router, .. } = self;
        let address = if name == "back" { LB_BACK } else { LB_FRONT };
        let port = format!("lb-{name}");
        let device = self.lb_device(name);
        lb.join(&device, router, &port)?;
        set_mtu([(lb, &device), (router, &port)], self.mtu)?;
        router.enslave(&port, name)?;
        if self.bridged {
            lb.bridge(name)?;
            lb.enslave(&device, name)?;
        }
        self.address(lb, name, address)
    }

    fn set_up_router(&self) -> Result<()> {
        let router = &self.router;
        for (bridge, address) in [("front", ROUTER_FRONT), ("back", ROUTER_BACK)] {
            router.bridge(bridge)?;
            self.address(router, bridge, address)?;
        }
        router.forward()
    }

    fn connect_client_and_lb(&self) -> Result<()> {
        let Self {
            client,
            lb,
            router,
            one_armed,
            ..
        } = self;
        self.plug(client, "eth0", CLIENT, "client", "front")?;
        self.plug_lb("back")?;
        lb.forward()?;
        if *one_armed {
            route_both(lb, FRONT_NET, ROUTER_BACK)?;
            route_both(router, VIP_NET, LB_BACK)?;
        } else {
            self.plug_lb("front")?;
        }
        route_both(client, VIP_NET, self.way_in())?;
        route_both(client, BACK_NET, self.way_in())
    }

    fn add_backend(&mut self, host: &Host, n: u8) -> Result<()> {
        let (name, address) = (format!("b{n}"), back(10 + n));
        self.plug(host, "eth0", address, &name, "back")?;
        let plug = Plug {
            switch: self.router.clone(),
            port: name,
        };
        self.start_backend(host, address, self.way_back(), plug)
    }

    fn add_far_backend(&mut self, gateway: &Host, host: &Host, n: u8) -> Result<()> {
        let address = far(10 + n);
        self.plug(gateway, "back", GATEWAY, "gateway", "back")?;
        gateway.forward()?;
        default_both(gateway, self.way_back(), None)?;
        gateway.join("far", host, "eth0")?;
        set_mtu([(gateway, "far"), (host, "eth0")], self.mtu)?;
        address_both(gateway, "far", GATEWAY_FAR)?;
        address_both(host, "eth0", address)?;
        route_both(&self.lb, FAR_NET, GATEWAY)?;
        route_both(&self.client, FAR_NET, self.way_in())?;
        self.gateway = Some(gateway.clone());
        let plug = Plug {
            switch: gateway.clone(),
            port: "far".to_owned(),
        };
        self.start_backend(host, address, GATEWAY_FAR, plug)
    }

    fn start_backend(
        &mut self,
        host: &Host,
        address: Ipv4Addr,
        way_back: Ipv4Addr,
        plug: Plug,
    ) -> Result<()> {
        let forward = self.forward;
        // Clients fill whole packets as they are told, and the tunnel needs its part.
        let around = TUNNEL + TAG * u32::try_from(self.tags)?;
        let packet = forward.is_tunnel().then(|| self.mtu - around);
        default_both(host, way_back, packet)?;
        if forward.answers_directly() {
            for family in Family::known() {
                host.own_silently(family.vip().ip())?;
            }
        }
        let name = format!("b{}", self.backends.len() + 1);
        let mut backend = Backend::start(&name, address, host, plug, forward.answers_directly())?;
        if forward.is_tunnel() && self.kernel_tunnels {
            kernel_tunnels::start(&backend)?;
        } else if forward.is_tunnel() {
            backend.decap = Some(Decap::start(host, "eth0", &self.tunnel_sources)?);
        }
        self.backends.push(backend);
        Ok(())
    }

    /// Plugs `host` into a bridge of the router.
    fn plug(
        &self,
        host: &Host,
        interface: &str,
        address: Ipv4Addr,
        port: &str,
        bridge: &str,
    ) -> Result<()> {
        cable(host, interface, &self.router, port, bridge)?;
        set_mtu([(host, interface), (&self.router, port)], self.mtu)?;
        self.address(host, interface, address)
    }

    /// Gives `host` its addresses on `interface`, in a VLAN on the device above that.
    fn address(&self, host: &Host, interface: &str, address: Ipv4Addr) -> Result<()> {
        let device = vlan::above(host, interface, self.vlan)?;
        address_both(host, &device, address)
    }

    /// The load balancer's device with a cable in it.
    fn lb_device(&self, name: &str) -> String {
        let port = if self.bridged { "-port" } else { "" };
        format!("{name}{port}")
    }

    /// The client's first hop towards the load balancer.
    fn way_in(&self) -> Ipv4Addr {
        if self.one_armed {
            ROUTER_FRONT
        } else {
            LB_FRONT
        }
    }

    /// The first hop of answers on the back network.
    fn way_back(&self) -> Ipv4Addr {
        if self.forward.answers_directly() {
            ROUTER_BACK
        } else {
            LB_BACK
        }
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
    cable(host, interface, router, port, bridge)?;
    address_both(host, interface, address)
}

fn cable(host: &Host, interface: &str, router: &Host, port: &str, bridge: &str) -> Result<()> {
    host.join(interface, router, port)?;
    router.enslave(port, bridge)
}

/// A link has two ends, and each drops what is longer than its own MTU.
fn set_mtu(ends: [(&Host, &str); 2], mtu: u32) -> Result<()> {
    ends.into_iter()
        .try_for_each(|(host, interface)| host.set_mtu(interface, mtu))
}

/// With a link-local address, in whose name a host that forwards asks for neighbours.
fn address_both(host: &Host, interface: &str, address: Ipv4Addr) -> Result<()> {
    for family in Family::known() {
        host.address(interface, family.at(address.into()), family.network())?;
        if family == Family::Ipv6 {
            host.address(interface, link_local(address), family.network())?;
        }
    }
    Ok(())
}

fn route_both(host: &Host, network: Ipv4Addr, gateway: Ipv4Addr) -> Result<()> {
    Family::known().try_for_each(|family| {
        let [network, gateway] = [network, gateway].map(|one| family.at(one.into()));
        host.route(network, family.network(), gateway)
    })
}

/// A default route; whoever opens a TCP connection from there is told to send packets of at most
/// `packet` bytes.
fn default_both(host: &Host, gateway: Ipv4Addr, packet: Option<u32>) -> Result<()> {
    Family::known().try_for_each(|family| {
        let mut route = Route::new(family.anywhere(), 0, family.at(IpAddr::from(gateway)));
        if let Some(packet) = packet {
            route = route.advertising(packet - family.header() - TCP);
        }
        host.add_route(route)
    })
}

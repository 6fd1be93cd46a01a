//! What to build, and in which order.

use anyhow::{Context, Result, ensure};

use super::{
    Topology,
    addresses::{LB_BACK, beside},
};
use crate::{capture::Tag, host::Host, mode::Forward, sweep};

/// What to build.
#[derive(Clone, Debug)]
pub struct TopologyBuilder {
    prefix: Option<String>,
    backends: u8,
    far_backend: bool,
    one_armed: bool,
    bridged: bool,
    forward: Forward,
    mtu: u32,
    tags: usize,
    vlan: &'static [Tag],
    tunnel_sources: Vec<String>,
    kernel_tunnels: bool,
}

impl Default for TopologyBuilder {
    fn default() -> Self {
        Self {
            prefix: None,
            backends: 3,
            far_backend: false,
            one_armed: false,
            bridged: false,
            forward: Forward::default(),
            mtu: 1500,
            tags: 0,
            vlan: &[],
            tunnel_sources: vec![LB_BACK.to_string(), beside(LB_BACK).to_string()],
            kernel_tunnels: false,
        }
    }
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

    /// Backends that answer as `forward` has it; as `dnat` unless said otherwise. Those for a tunnel
    /// take packets out of both kinds, and serve `dsr` as well.
    pub fn forward(mut self, forward: Forward) -> Self {
        self.forward = forward;
        self
    }

    /// The MTU of every link in bytes, 9000 for jumbo frames; 1500 unless said otherwise.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Packets in tunnels leave room for so many VLAN tags beside the tunnel.
    pub fn tags(mut self, tags: usize) -> Self {
        self.tags = tags;
        self
    }

    /// Everything happens in a VLAN of these tags: every host has a VLAN device of the kernel's, or one
    /// above the other, and its addresses there. Needs the module `8021q`.
    pub fn vlan(mut self, tags: &'static [Tag]) -> Self {
        self.vlan = tags;
        self.tags(tags.len())
    }

    /// Where packets in tunnels may come from, addresses or prefixes; from the load balancer's
    /// addresses on the back network unless said otherwise.
    pub fn tunnel_sources(mut self, sources: &[&str]) -> Self {
        self.tunnel_sources = sources.iter().map(ToString::to_string).collect();
        self
    }

    /// Backends whose kernels take packets out of tunnels, and not `sluice decap`: see
    /// [`crate::kernel_tunnels`].
    pub fn kernel_tunnels(mut self) -> Self {
        self.kernel_tunnels = true;
        self
    }

    /// Host names `prefix-client` and so on, instead of unique ones.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// Builds it; the backends listen when this returns.
    pub fn build(&self) -> Result<Topology> {
        ensure!(
            !(self.far_backend && self.forward == Forward::Dsr),
            "dsr reaches no backend behind a gateway"
        );
        let prefix = self.prefix.clone().unwrap_or_else(sweep::unique_name);
        let host = |name: &str| Host::new(&format!("{prefix}-{name}"));

        let mut topology = Topology {
            backends: Vec::new(),
            client: host("client")?,
            lb: host("lb")?,
            router: host("router")?,
            gateway: None,
            forward: self.forward,
            one_armed: self.one_armed,
            bridged: self.bridged,
            mtu: self.mtu,
            tags: self.tags,
            vlan: self.vlan,
            tunnel_sources: self.tunnel_sources.clone(),
            kernel_tunnels: self.kernel_tunnels,
        };
        topology.set_up_router()?;
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

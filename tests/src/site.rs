//! The whole site: the network, the daemon, and a client that asks the VIP.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{
    config::Config,
    daemon::{Daemon, START},
    host::Host,
    http::{self, Reply, Timeouts},
    load::{Load, Report},
    status::Status,
    sweep,
    topology::{Topology, TopologyBuilder, VIP},
};

/// A SYN that is lost is sent again after a second: less than that means none was.
pub const NO_RETRANSMISSION: Duration = Duration::from_millis(900);

/// A network with a running daemon, every backend up.
#[derive(Debug)]
pub struct Site {
    /// The load balancer; goes before its network does.
    pub daemon: Daemon,
    /// Its network.
    pub topology: Topology,
}

impl Site {
    /// Three backends, two interfaces. `None`: skipped, see [`sweep::ready`].
    pub fn start() -> Result<Option<Self>> {
        Self::build(&Topology::builder(), |_| {})
    }

    /// The same with another network or configuration.
    pub fn build(
        network: &TopologyBuilder,
        change: impl FnOnce(&mut Config),
    ) -> Result<Option<Self>> {
        Self::build_until(network, change, Status::all_up)
    }

    /// The same, ready once `ready` holds of the status: for services without health checks.
    pub fn build_until(
        network: &TopologyBuilder,
        change: impl FnOnce(&mut Config),
        ready: impl FnMut(&Status) -> bool,
    ) -> Result<Option<Self>> {
        let Some((topology, config)) = Self::prepare(network, change)? else {
            return Ok(None);
        };
        Self::run_until(topology, config, ready).map(Some)
    }

    /// What was prepared, with a daemon, every backend up.
    pub fn run(topology: Topology, config: Config) -> Result<Self> {
        Self::run_until(topology, config, Status::all_up)
    }

    fn run_until(
        topology: Topology,
        config: Config,
        ready: impl FnMut(&Status) -> bool,
    ) -> Result<Self> {
        let daemon = Daemon::start(&topology.lb, config)?;
        daemon.wait_until("the services to be ready", START, ready)?;
        Ok(Self { daemon, topology })
    }

    /// Only the network, and a configuration that would do.
    pub fn prepare(
        network: &TopologyBuilder,
        change: impl FnOnce(&mut Config),
    ) -> Result<Option<(Topology, Config)>> {
        if !sweep::ready() {
            return Ok(None);
        }
        let topology = network.build()?;
        let mut config = Config::new(&sweep::unique_name(), &topology);
        change(&mut config);
        Ok(Some((topology, config)))
    }

    /// Where requests come from.
    pub fn client(&self) -> &Host {
        &self.topology.client
    }

    /// One request to the VIP.
    pub fn get(&self) -> Result<Reply> {
        let reply = self
            .client()
            .block_on(|| http::get(VIP.into(), Timeouts::default()));
        reply.with_context(|| self.daemon.log_tail())
    }

    /// `count` requests to the VIP, one after the other; the answers by backend. The first failure
    /// ends it, and so does a SYN that had to be sent twice.
    pub fn get_many(&self, count: usize) -> Result<Report> {
        let mut report = Report::default();
        let requests = async || -> Result<()> {
            for n in 1..=count {
                let reply = http::get(VIP.into(), Timeouts::default()).await;
                let reply = reply.with_context(|| format!("request {n} of {count}"))?;
                anyhow::ensure!(
                    reply.connect < NO_RETRANSMISSION,
                    "request {n} of {count}: connecting took {:?}",
                    reply.connect
                );
                *report
                    .answered
                    .entry(reply.backend().to_owned())
                    .or_default() += 1;
            }
            Ok(())
        };
        self.client()
            .block_on(requests)
            .with_context(|| self.daemon.log_tail())?;
        Ok(report)
    }

    /// Requests to the VIP in the background, a hundred a second.
    pub fn load(&self) -> Load {
        Load::start(
            self.client(),
            VIP.into(),
            Duration::from_millis(10),
            Timeouts::default(),
        )
    }

    /// The ids of the XDP programs on the load balancer's interfaces.
    pub fn programs(&self) -> Result<Vec<Option<u32>>> {
        programs(&self.topology)
    }
}

/// The ids of the XDP programs on the load balancer's interfaces.
pub fn programs(topology: &Topology) -> Result<Vec<Option<u32>>> {
    let interfaces = topology.lb_interfaces().iter();
    interfaces
        .map(|name| Ok(topology.lb.link(name)?.xdp.map(|program| program.id)))
        .collect()
}

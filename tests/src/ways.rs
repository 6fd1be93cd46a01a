//! The ways from clients to backends, each a service of its own: a mode, the IP of client and VIP, and
//! the IP by which packets reach the backends. Real clients go each of them.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    config::{Backend, Config, Service},
    http::{self, Timeouts},
    mode::{
        Family::{self, Ipv4, Ipv6},
        Forward::{self, Dnat, Dsr, Gue, Ipip},
    },
    server::Server,
    site::{NO_RETRANSMISSION, Site},
    status::Status,
    topology::TopologyBuilder,
    transfer::{LARGE, TransferServer, transfer},
    udp,
};

const SOON: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests by HTTP, and as many by UDP, in a round of [`Ways::ask`].
pub const REQUESTS: usize = 20;

/// Ways by which answers come back through the load balancer.
pub const REWRITTEN: &[Way] = &[way(Dnat, Ipv4, Ipv4), way(Dnat, Ipv6, Ipv6)];

/// Ways by which backends answer themselves.
pub const DIRECT: &[Way] = &[
    way(Dsr, Ipv4, Ipv4),
    way(Dsr, Ipv6, Ipv6),
    way(Ipip, Ipv4, Ipv4),
    way(Ipip, Ipv4, Ipv6),
    way(Ipip, Ipv6, Ipv4),
    way(Ipip, Ipv6, Ipv6),
    way(Gue, Ipv4, Ipv4),
    way(Gue, Ipv4, Ipv6),
    way(Gue, Ipv6, Ipv4),
    way(Gue, Ipv6, Ipv6),
];

/// A way from client to backend: a service, at ports of the VIP that are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// How packets reach backends.
    pub forward: Forward,
    /// The IP of client and VIP.
    pub vip: Family,
    /// The IP by which packets reach backends.
    pub backends: Family,
}

/// Some ways, all of the same kind: the network, the daemon, and servers on all backends.
#[derive(Debug)]
pub struct Ways {
    /// Network and daemon.
    pub site: Site,
    transfers: Vec<TransferServer>,
    _servers: Vec<Server>,
}

const fn way(forward: Forward, vip: Family, backends: Family) -> Way {
    Way {
        forward,
        vip,
        backends,
    }
}

impl Way {
    /// `gue-6in4` is IPv6 by way of IPv4; the name of its service.
    pub fn name(self) -> String {
        let number = |family| if family == Ipv4 { 4 } else { 6 };
        let (inner, outer) = (number(self.vip), number(self.backends));
        format!("{}-{inner}in{outer}", self.forward.word())
    }

    /// Where it answers HTTP and UDP.
    pub fn vip(self) -> SocketAddr {
        SocketAddr::new(self.vip.vip().ip(), 8000 + self.number())
    }

    /// Where it takes transfers.
    fn transfers(self) -> SocketAddr {
        SocketAddr::new(self.vip.vip().ip(), 9000 + self.number())
    }

    fn number(self) -> u16 {
        let mut all = REWRITTEN.iter().chain(DIRECT);
        let number = all.position(|one| *one == self).expect("it is one of them");
        u16::try_from(number).expect("they are few")
    }

    /// Every port is the listener's, and nobody's health is asked.
    fn service(self, web: &Service) -> Service {
        let (vip, transfers) = (self.vip(), self.transfers());
        let backends = web.backends.iter().map(|backend| {
            let address = backend.address.trim_end_matches(":80");
            Backend::new(&backend.name, address)
        });
        let mut service = Service {
            name: self.name(),
            listen: vec![
                format!("tcp://{vip}"),
                format!("udp://{vip}"),
                format!("tcp://{transfers}"),
            ],
            forward: self.forward.word(),
            health: Vec::new(),
            backends: backends.collect(),
            ..web.clone()
        };
        service.reach_by(self.backends);
        service
    }
}

impl Ways {
    /// Serves `ways` on a network that suits them. `None`: skipped.
    pub fn start(
        network: TopologyBuilder,
        ways: &[Way],
        change: impl FnOnce(&mut Config),
    ) -> Result<Option<Self>> {
        // Backends that take packets out of tunnels leave others alone.
        let direct = ways.iter().all(|way| way.forward.answers_directly());
        let network = network.forward(if direct { Gue } else { Dnat });
        let services = |config: &mut Config| {
            change(config);
            let web = config.web().clone();
            config.services = ways.iter().map(|way| way.service(&web)).collect();
        };
        let ready = |status: &Status| {
            let mut backends = status.services.iter().flat_map(|service| &service.backends);
            backends.all(|backend| backend.slots > 0)
        };
        let Some(site) = Site::build_until(&network, services, ready)? else {
            return Ok(None);
        };
        let (mut servers, mut transfers) = (Vec::new(), Vec::new());
        for backend in &site.topology.backends {
            let at = |vip: SocketAddr| backend.receives_at(Family::of(vip.ip()), vip.port());
            let listen: Vec<_> = ways.iter().map(|way| at(way.vip())).collect();
            servers.push(Server::start(&backend.host, &backend.name, &listen)?);
            for way in ways {
                let server = TransferServer::start(&backend.host, at(way.transfers()))?;
                transfers.push(server);
            }
        }
        Ok(Some(Self {
            site,
            transfers,
            _servers: servers,
        }))
    }

    /// [`REQUESTS`] by HTTP and as many by UDP are answered by the VIP, some by each backend, and none
    /// had to be sent twice.
    pub fn ask(&self, way: Way) -> Result<()> {
        let vip = way.vip();
        let (mut by_http, mut by_udp) = (BTreeSet::new(), BTreeSet::new());
        let asked = self.site.client().block_on(async || -> Result<()> {
            for n in 1..=REQUESTS {
                let reply = http::get(vip, Timeouts::default()).await;
                let reply = reply.with_context(|| format!("request {n}"))?;
                ensure!(reply.connect < NO_RETRANSMISSION, "request {n}: {reply:?}");
                by_http.insert(reply.backend().to_owned());
                let answer = udp::ask(vip, 0, SOON).await;
                by_udp.insert(answer.with_context(|| format!("question {n}"))?.backend);
            }
            Ok(())
        });
        asked.with_context(|| self.about(way))?;
        let backends = self.site.topology.backends.len();
        ensure!(
            by_http.len() == backends && by_udp.len() == backends,
            "{}: {by_http:?} by HTTP and {by_udp:?} by UDP answered",
            way.name()
        );
        Ok(())
    }

    /// [`LARGE`] bytes there and as many back are intact.
    pub fn transfer(&self, way: Way) -> Result<()> {
        self.transfer_bytes(way, LARGE)
    }

    /// The same with so many bytes.
    pub fn transfer_bytes(&self, way: Way, bytes: u64) -> Result<()> {
        let intact = || {
            self.transfers
                .iter()
                .map(TransferServer::intact)
                .sum::<u64>()
        };
        let before = intact();
        transfer(self.site.client(), way.transfers(), bytes, PATIENCE)
            .with_context(|| self.about(way))?;
        ensure!(intact() == before + 1, "{}: not intact there", way.name());
        Ok(())
    }

    fn about(&self, way: Way) -> String {
        format!("{}\n{}", way.name(), self.site.daemon.log_tail())
    }
}

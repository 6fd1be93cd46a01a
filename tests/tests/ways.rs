//! Real clients by every way that packets can take: each mode, both families and tunnels of one
//! through the other, in the driver and in the stack, with frames of 1500 bytes and of 9000.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use testbed::{
    capture::{Capture, Frame},
    config::{Backend, Config, Service},
    http::{self, Timeouts},
    mode::{
        Family::{self, Ipv4, Ipv6},
        Forward::{self, Dnat, Dsr, Gue, Ipip},
        XdpMode::{self, Generic, Native},
    },
    server::Server,
    site::{NO_RETRANSMISSION, Site},
    status::Status,
    topology::{LB_BACK, Topology},
    transfer::{LARGE, TransferServer, transfer},
    udp,
};

const SOON: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
const ETHERNET_MTU: u32 = 1500;
const JUMBO: u32 = 9000;
const GUE_PORT: u16 = 6080;

/// Requests of each kind by each way.
const REQUESTS: usize = 20;
/// More frames than neighbours and routers exchange, and fewer than answers to requests have.
const FEW: u64 = 150;

/// A way from client to backend: a service of its own, at its own port of the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    forward: Forward,
    vip: Family,
    backends: Family,
}

const REWRITTEN: &[Way] = &[way(Dnat, Ipv4, Ipv4), way(Dnat, Ipv6, Ipv6)];

/// Where backends answer themselves.
const DIRECT: &[Way] = &[
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

const fn way(forward: Forward, vip: Family, backends: Family) -> Way {
    Way {
        forward,
        vip,
        backends,
    }
}

impl Way {
    fn name(self) -> String {
        let number = |family| if family == Ipv4 { 4 } else { 6 };
        let (inner, outer) = (number(self.vip), number(self.backends));
        format!("{}-{inner}in{outer}", self.forward.word())
    }

    /// The ports for HTTP and UDP, and for transfers.
    fn ports(self) -> (u16, u16) {
        let all = [REWRITTEN, DIRECT].concat();
        let number = all.iter().position(|one| *one == self);
        let number = u16::try_from(number.expect("it is one of them")).expect("they are few");
        (8000 + number, 9000 + number)
    }

    /// Every port is the listener's, and nobody's health is asked.
    fn service(self, web: &Service) -> Service {
        let vip = self.vip.vip().ip();
        let at = |protocol, port| format!("{protocol}://{}", std::net::SocketAddr::new(vip, port));
        let (port, transfers) = self.ports();
        let backends = web.backends.iter().map(|backend| {
            let address = backend.address.trim_end_matches(":80");
            Backend::new(&backend.name, address)
        });
        let mut service = Service {
            name: self.name(),
            listen: vec![at("tcp", port), at("udp", port), at("tcp", transfers)],
            forward: self.forward.word(),
            health: Vec::new(),
            backends: backends.collect(),
            ..web.clone()
        };
        service.reach_by(self.backends);
        service
    }
}

/// The network, the daemon, and all backends' servers.
struct Ways {
    ways: &'static [Way],
    site: Site,
    transfers: Vec<TransferServer>,
    _servers: Vec<Server>,
}

impl Ways {
    fn start(ways: &'static [Way], xdp: XdpMode, mtu: u32) -> Result<Option<Self>> {
        // What takes packets out of tunnels leaves others alone.
        let forward = if ways[0].forward == Dnat { Dnat } else { Gue };
        let network = Topology::builder().backends(2).forward(forward).mtu(mtu);
        let services = |config: &mut Config| {
            config.attach_as(xdp);
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
        let status = site.daemon.status()?;
        let attached = status.interfaces.iter().all(|one| one.xdp == xdp.word());
        ensure!(attached, "{:?}", status.interfaces);
        let (mut servers, mut transfers) = (Vec::new(), Vec::new());
        for backend in &site.topology.backends {
            let mut listen = Vec::new();
            for way in ways {
                let (port, transfer) = way.ports();
                listen.push(backend.receives_at(way.vip, port));
                let address = backend.receives_at(way.vip, transfer);
                transfers.push(TransferServer::start(&backend.host, address)?);
            }
            servers.push(Server::start(&backend.host, &backend.name, &listen)?);
        }
        Ok(Some(Self {
            ways,
            site,
            transfers,
            _servers: servers,
        }))
    }

    /// Requests by HTTP and UDP reach both backends, and are answered by the VIP without a packet lost.
    fn answer(&self, way: Way) -> Result<()> {
        let mut vip = way.vip.vip();
        vip.set_port(way.ports().0);
        let (mut by_http, mut by_udp) = (BTreeSet::new(), BTreeSet::new());
        self.site.client().block_on(async || -> Result<()> {
            for n in 1..=REQUESTS {
                let reply = http::get(vip, Timeouts::default()).await;
                let reply = reply.with_context(|| format!("request {n}"))?;
                ensure!(reply.connect < NO_RETRANSMISSION, "request {n}: {reply:?}");
                by_http.insert(reply.backend().to_owned());
                let answer = udp::ask(vip, 0, SOON).await;
                by_udp.insert(answer.with_context(|| format!("question {n}"))?.backend);
            }
            Ok(())
        })?;
        ensure!(
            by_http.len() == 2 && by_udp.len() == 2,
            "{by_http:?} {by_udp:?}"
        );
        Ok(())
    }

    fn transfer(&self, way: Way) -> Result<()> {
        let mut vip = way.vip.vip();
        vip.set_port(way.ports().1);
        let intact = || {
            self.transfers
                .iter()
                .map(TransferServer::intact)
                .sum::<u64>()
        };
        let before = intact();
        transfer(self.site.client(), vip, LARGE, PATIENCE)?;
        ensure!(intact() == before + 1, "{} arrived", intact() - before);
        Ok(())
    }

    /// What leaves the load balancer towards the client, and what reaches it from the backends.
    fn answers_at_the_load_balancer(&self) -> Result<u64> {
        let router = &self.site.topology.router;
        let to_client = router.link("lb-front")?.counters.rx_packets;
        Ok(to_client + router.link("lb-back")?.counters.tx_packets)
    }

    /// Requests as they are on their way between load balancer and backend.
    fn check_frames(&self, way: Way, frames: &[Frame]) -> Result<()> {
        let mut vip = way.vip.vip();
        vip.set_port(way.ports().0);
        let lb = way.backends.at(LB_BACK.into());
        let backends = self.site.topology.backends.iter();
        let backends: Vec<IpAddr> = backends.map(|one| one.at(way.backends).ip()).collect();
        let inner = |frame: &Frame| {
            let ip = frame
                .ip()
                .filter(|ip| way.forward.is_tunnel() && ip.source == lb);
            match ip {
                Some(ip) if backends.contains(&ip.destination) => frame.inner(GUE_PORT),
                _ if way.forward.is_tunnel() => None,
                _ => Some(frame.clone()),
            }
        };
        let flows = frames.iter().filter_map(inner);
        let flows: Vec<_> = flows.filter_map(|frame| frame.flow()).collect();
        // SYN, ACK, request and FIN at least, and a question. Sent with 64, and one hop away.
        let requests = flows
            .iter()
            .filter(|flow| flow.destination == vip && flow.ttl == 63);
        let requests = requests.count();
        ensure!(
            requests >= 5 * REQUESTS,
            "{requests} requests of {flows:#?}"
        );
        Ok(())
    }

    fn check_no_answers(frames: &[Frame]) -> Result<()> {
        let vips = Family::ALL.map(|family| family.vip().ip());
        let from_vip = |frame: &&Frame| {
            let source = |frame: &Frame| frame.ip().is_some_and(|ip| vips.contains(&ip.source));
            source(frame) || frame.inner(GUE_PORT).is_some_and(|inner| source(&inner))
        };
        let found = frames.iter().find(from_vip);
        ensure!(
            found.is_none(),
            "an answer reached the load balancer: {found:02x?}"
        );
        Ok(())
    }
}

fn everything_arrives(ways: &'static [Way], xdp: XdpMode, mtu: u32) -> Result<()> {
    let Some(all) = Ways::start(ways, xdp, mtu)? else {
        return Ok(());
    };
    let log = || all.site.daemon.log_tail();
    let router = &all.site.topology.router;
    let before = all.answers_at_the_load_balancer()?;
    for &way in all.ways {
        let links = ["lb-front", "lb-back"].map(|port| Capture::start(router, port));
        all.answer(way)
            .with_context(|| format!("{}\n{}", way.name(), log()))?;
        let [front, back] = links.map(|link| link.and_then(Capture::finish));
        let (front, back) = (front?, back?);
        if way.forward.answers_directly() {
            all.check_frames(way, &back).context(way.name())?;
            Ways::check_no_answers(&[front, back].concat()).context(way.name())?;
        }
        all.transfer(way)
            .with_context(|| format!("{}\n{}", way.name(), log()))?;
    }
    let answers = all.answers_at_the_load_balancer()? - before;
    let status = all.site.daemon.status()?;
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    for &way in all.ways {
        let service = status.service(&way.name());
        assert_eq!(service.new_flows, REQUESTS as u64 + 1, "{service:#?}");
        // The half of these packets are nothing but acknowledgements, and do not count for length.
        let long = service.bytes > service.packets * u64::from(ETHERNET_MTU);
        assert_eq!(long, mtu == JUMBO, "{service:#?}");
        if way.forward.answers_directly() {
            assert!(answers < FEW, "{answers} frames were answers");
        }
    }
    Ok(())
}

#[test]
fn rewritten_in_the_driver() -> Result<()> {
    everything_arrives(REWRITTEN, Native, ETHERNET_MTU)
}

#[test]
fn rewritten_in_the_stack() -> Result<()> {
    everything_arrives(REWRITTEN, Generic, ETHERNET_MTU)
}

#[test]
fn rewritten_in_jumbo_frames_in_the_driver() -> Result<()> {
    everything_arrives(REWRITTEN, Native, JUMBO)
}

#[test]
fn rewritten_in_jumbo_frames_in_the_stack() -> Result<()> {
    everything_arrives(REWRITTEN, Generic, JUMBO)
}

#[test]
fn answered_by_backends_in_the_driver() -> Result<()> {
    everything_arrives(DIRECT, Native, ETHERNET_MTU)
}

#[test]
fn answered_by_backends_in_the_stack() -> Result<()> {
    everything_arrives(DIRECT, Generic, ETHERNET_MTU)
}

#[test]
fn answered_by_backends_in_jumbo_frames_in_the_driver() -> Result<()> {
    everything_arrives(DIRECT, Native, JUMBO)
}

#[test]
fn answered_by_backends_in_jumbo_frames_in_the_stack() -> Result<()> {
    everything_arrives(DIRECT, Generic, JUMBO)
}

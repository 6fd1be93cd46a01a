//! Several load balancers for one VIP, behind a router that spreads connections over them.
//!
//! ```text
//!                       +-- 10.77.11.0/24 -- lb1 --+
//! client --- router ----+                          +-- back 10.77.2.0/24 --- b1 .11, b2 .12 ...
//!    .10   |            +-- 10.77.12.0/24 -- lb2 --+          |
//!          +---------------------- .254 ----------------------+
//! ```
//!
//! The mode is `dsr`: backends answer through the router, so that the way back has nothing to do with
//! which load balancer lives. With `dnat` the backends' own route would have to move as well when one
//! dies, and that is not what is looked at here.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;

use crate::{
    config::{Backend, Config, Connections, Health, Service},
    host::Host,
    mode::Forward,
    netlink::ANYWHERE,
    stream::server::StreamServer,
    sweep,
    topology::{CLIENT, ROUTER_BACK, ROUTER_FRONT, VIP, plug},
};

const PREFIX: u8 = 24;

/// The shortest that there is.
const WINDOW: Duration = Duration::from_secs(1);

/// The id of the group of next hops; theirs count from 1.
const GROUP: &str = "100";

/// How the router chooses a load balancer, by addresses and ports of a packet either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// A route with a next hop for each: the kernel's hash thresholds.
    Ecmp,
    /// A resilient group of next hops: a bucket stays with its next hop while that lives.
    Resilient,
}

/// The network, with a server on each backend; dropping it removes everything.
#[derive(Debug)]
pub struct Several {
    /// Answer streams and health checks at the VIP's port, for the VIP and their own address.
    pub backends: Vec<StreamServer>,
    /// `lb1`, `lb2`, ...; interfaces `front` and `back`.
    pub balancers: Vec<Balancer>,
    /// Interface `eth0`.
    pub client: Host,
    /// Interfaces `client`, `lb1`, `lb2`, ..., and the bridge `back`.
    pub router: Host,
}

/// A load balancer's host.
#[derive(Debug)]
pub struct Balancer {
    /// `lb1`, ...: also the router's interface that leads to it.
    pub name: String,
    /// The host.
    pub host: Host,
    /// Its address on `front`, the router's next hop.
    pub front: Ipv4Addr,
}

impl Several {
    /// Builds it; backends listen when this returns, and nothing is routed to the VIP yet.
    pub fn build(balancers: u8, backends: u8) -> Result<Self> {
        let prefix = sweep::unique_name();
        let host = |name: &str| Host::new(&format!("{prefix}-{name}"));
        let mut several = Self {
            backends: Vec::new(),
            balancers: Vec::new(),
            client: host("client")?,
            router: host("router")?,
        };
        several.connect_client()?;
        for n in 1..=balancers {
            several.add_balancer(&host(&format!("lb{n}"))?, n)?;
        }
        for n in 1..=backends {
            several.add_backend(&host(&format!("b{n}"))?, n)?;
        }
        Ok(several)
    }

    /// The service `web` on the VIP with all backends, for a load balancer's instance of its own.
    pub fn config(&self) -> Config {
        let backends = self.backends.iter();
        let web = Service {
            forward: Forward::Dsr.word(),
            // Backends come up one after the other at the start, and slots move for it: what is
            // looked at is slots that rest again.
            connections: Connections {
                transition_window: Some(WINDOW),
                flow_idle: Some(WINDOW),
                ..Connections::default()
            },
            health: vec![Health::quick_http("/", &[200])],
            backends: backends
                .map(|one| Backend::new(one.name(), one.address().ip()))
                .collect(),
            ..Service::new("web", &format!("tcp://{VIP}"))
        };
        Config::serving(&sweep::unique_name(), &["front", "back"], web)
    }

    /// Routes the VIP over all load balancers.
    pub fn route(&self, spread: Spread) -> Result<()> {
        self.router
            .sysctl("net/ipv4/fib_multipath_hash_policy", "1")?;
        let vip = VIP.ip().to_string();
        let mut route = vec!["route", "add", &vip];
        let hops: Vec<_> = self
            .balancers
            .iter()
            .enumerate()
            .map(|(n, one)| (format!("{}", n + 1), one.front.to_string(), &one.name))
            .collect();
        match spread {
            Spread::Ecmp => {
                for (_, front, link) in &hops {
                    route.extend(["nexthop", "via", front, "dev", link]);
                }
                self.router.ip(&route)
            }
            Spread::Resilient => {
                for (id, front, link) in &hops {
                    self.router
                        .ip(&["nexthop", "add", "id", id, "via", front, "dev", link])?;
                }
                let ids: Vec<_> = hops.iter().map(|(id, ..)| id.as_str()).collect();
                let ids = ids.join("/");
                let group = ["nexthop", "add", "id", GROUP, "group", &ids];
                self.router
                    .ip(&[&group[..], &["type", "resilient", "buckets", "128"]].concat())?;
                route.extend(["nhid", GROUP]);
                self.router.ip(&route)
            }
        }
    }

    /// Takes down the router's link to a load balancer.
    pub fn unplug(&self, balancer: &Balancer) -> Result<()> {
        self.router.set_up(&balancer.name, false)
    }

    fn connect_client(&self) -> Result<()> {
        let Self { client, router, .. } = self;
        client.join("eth0", router, "client")?;
        client.address("eth0", CLIENT, PREFIX)?;
        client.route(ANYWHERE, 0, ROUTER_FRONT)?;
        router.address("client", ROUTER_FRONT, PREFIX)?;
        router.bridge("back")?;
        router.address("back", ROUTER_BACK, PREFIX)?;
        router.forward()
    }

    fn add_balancer(&mut self, host: &Host, n: u8) -> Result<()> {
        let name = format!("lb{n}");
        let front = Ipv4Addr::new(10, 77, 10 + n, 1);
        host.join("front", &self.router, &name)?;
        host.address("front", front, PREFIX)?;
        self.router
            .address(&name, Ipv4Addr::new(10, 77, 10 + n, 254), PREFIX)?;
        let back = Ipv4Addr::new(10, 77, 2, n);
        plug(
            host,
            "back",
            back,
            &self.router,
            &format!("{name}-back"),
            "back",
        )?;
        host.forward()?;
        self.balancers.push(Balancer {
            name,
            host: host.clone(),
            front,
        });
        Ok(())
    }

    fn add_backend(&mut self, host: &Host, n: u8) -> Result<()> {
        let name = format!("b{n}");
        let own = Ipv4Addr::new(10, 77, 2, 10 + n);
        plug(host, "eth0", own, &self.router, &name, "back")?;
        host.own_silently(*VIP.ip())?;
        host.route(ANYWHERE, 0, ROUTER_BACK)?;
        let own = SocketAddr::from((own, VIP.port()));
        self.backends
            .push(StreamServer::start_on_all_addresses(host, &name, own)?);
        Ok(())
    }
}

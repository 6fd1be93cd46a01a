//! Where fixtures run: the program on filled maps, on a host whose links lead nowhere.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context, Result};
use aya::{TestRun as _, TestRunOptions};
use lb_common::abi::{
    backend::NextHop,
    counters::{BackendCounters, Counter, DropReason},
    flow::FlowEntry,
};
use lb_userspace::{
    config,
    dataplane::{Dataplane, Device, DryRun, IpVersion, Options, Table, Walked},
    model::{BackendKey, Health, Limits, Model},
    plan::{self, Desired, FlowKey, Image, Phase, Plan, Seed, View, Write},
};

use crate::{host::Host, sweep};

/// A `dnat` service of one backend, `b1`.
pub const WEB: &str = r#"
[[service]]
name = "web"
listen = ["tcp://10.77.0.80:80"]
[[service.backend]]
name = "b1"
address = "10.77.2.11:8080"
"#;

/// The client's MAC, on the front network.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 10];

/// The MAC of the backend with this last octet in its address.
pub const fn backend_mac(octet: u8) -> [u8; 6] {
    [2, 0, 0, 0, 2, octet]
}

/// An interface of the load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// 10.77.1.0/24: clients.
    Front,
    /// 10.77.2.0/24: backends.
    Back,
}

/// What became of a packet, but for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `XDP_PASS`.
    Pass,
    /// `XDP_TX`.
    Transmit,
    /// `XDP_REDIRECT`.
    Redirect,
    /// `XDP_DROP`, for this reason.
    Drop(DropReason),
    /// `XDP_DROP`, handed to the daemon.
    Punt,
}

/// All that a run left behind.
#[derive(Debug)]
pub struct Ran {
    /// The program's return code.
    pub action: u32,
    /// The frame after it.
    pub frame: Vec<u8>,
    /// Counters that changed, by how much.
    pub counters: BTreeMap<Counter, u64>,
    /// Backends' counters that changed, by how much; by the backend's name.
    pub backends: BTreeMap<String, BackendCounters>,
}

/// The program, its maps and a host around it; all gone when dropped.
pub struct Bed {
    host: Host,
    _peer: Host,
    model: Model,
    views: BTreeMap<BackendKey, View>,
    seed: Seed,
    devices: BTreeMap<Side, Device>,
    image: Image,
    // Taken out only to be removed.
    dataplane: Option<Dataplane>,
}

impl Bed {
    /// Loads the program for the services in `services` (the `[[service]]` part of a
    /// configuration). Backends are healthy and resolved. `None`: skipped, and said why.
    pub fn new(services: &str) -> Result<Option<Self>> {
        if !sweep::ready() {
            return Ok(None);
        }
        let name = sweep::unique_name();
        let host = Host::new(&format!("{name}-lb"))?;
        let peer = Host::new(&format!("{name}-peer"))?;
        let mut devices = BTreeMap::new();
        for side in [Side::Front, Side::Back] {
            host.join(side.name(), &peer, side.name())?;
            host.address(side.name(), side.network(1), 24)?;
            let link = host.link(side.name())?;
            let device = Device {
                name: link.name,
                ifindex: link.index,
                mac: link.mac,
            };
            devices.insert(side, device);
        }
        host.forward()?;
        host.set_neighbour("front", Side::Front.network(10), CLIENT_MAC)?;

        let text = format!(
            "[daemon]\ninstance = \"{name}\"\nseed = \"fixtures\"\n[[interface]]\nname = \
             \"front\"\n[[interface]]\nname = \"back\"\n{services}"
        );
        let mut model = config::parse("fixture", &text)?.model;
        model.limits = Limits {
            services: 16,
            backends: 64,
            slots: 1 << 16,
            flows_ipv4: 1 << 12,
            flows_ipv6: 1 << 10,
        };
        let seed = Seed::derive(model.daemon.seed.as_deref());
        let options = Options {
            bpffs: &model.daemon.bpffs,
            instance: &name,
            limits: model.limits,
            settings: plan::settings(&model),
        };
        let (mut dataplane, image) = Dataplane::open(options)?;
        for device in devices.values() {
            // Inside: the device map takes the index for one of the caller's namespace.
            host.run(|| dataplane.assign_port(device))?;
        }
        let mut bed = Self {
            host,
            _peer: peer,
            views: BTreeMap::new(),
            model,
            seed,
            devices,
            image,
            dataplane: Some(dataplane),
        };
        bed.views = bed.everything_well();
        bed.apply()?;
        Ok(Some(bed))
    }

    /// The MAC of the load balancer's interface.
    pub fn mac(&self, side: Side) -> [u8; 6] {
        self.devices[&side].mac
    }

    /// The host, to change its routes and neighbours.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The loaded program and its maps.
    ///
    /// # Panics
    /// Never: it is only taken when the bed goes.
    pub fn dataplane(&mut self) -> &mut Dataplane {
        self.dataplane.as_mut().expect("taken only in drop")
    }

    /// Takes every backend of the configuration as failed, or as healthy again.
    pub fn set_health(&mut self, health: Health) -> Result<()> {
        self.views
            .values_mut()
            .for_each(|view| view.health = health);
        self.apply()
    }

    /// Writes a backend's next hop past every plan, for states that no plan leads to.
    pub fn force_next_hop(&mut self, backend: &str, next_hop: NextHop) -> Result<()> {
        let index = self.index(backend)?;
        let plan = Plan::of(vec![Phase(vec![Write::NextHop { index, next_hop }])]);
        self.write(&plan)
    }

    /// Writes into the maps past every plan, and past the image: it keeps what was planned.
    pub fn force(&mut self, writes: Vec<Write>) -> Result<()> {
        let plan = Plan::of(vec![Phase(writes)]);
        let mut image = self.image.clone();
        Ok(self.dataplane().apply(&plan, &mut image)?)
    }

    /// What was planned.
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// Where a backend of the configuration has its entry.
    pub fn index(&self, backend: &str) -> Result<plan::BackendIndex> {
        let indices = self.image.backend_indices(&self.model);
        self.model
            .services
            .iter()
            .flat_map(|service| service.backends.iter().map(move |b| (service.key(b), b)))
            .find(|(_, b)| *b.name == *backend)
            .and_then(|(key, _)| indices.get(&key).copied())
            .with_context(|| format!("no backend {backend}"))
    }

    /// Asks what would become of a packet that came in on `side`.
    pub fn dry_run(&mut self, side: Side, frame: &[u8]) -> Result<DryRun> {
        let ifindex = self.devices[&side].ifindex;
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        Ok(self.host.run(|| dataplane.dry_run(frame, ifindex))?)
    }

    /// Every entry of a flow table.
    pub fn flows(&self, table: Table) -> Result<BTreeMap<FlowKey, FlowEntry>> {
        let dataplane = self.dataplane.as_ref().context("taken only in drop")?;
        let mut flows = BTreeMap::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let walked = Walked { table, version };
            let mut from = None;
            loop {
                let batch = dataplane.flows(walked, from, 256)?;
                flows.extend(batch.entries);
                from = batch.next;
                if from.is_none() {
                    break;
                }
            }
        }
        Ok(flows)
    }

    /// Runs one packet that came in on `side`.
    pub fn run(&mut self, side: Side, frame: &[u8]) -> Result<Ran> {
        let ifindex = self.devices[&side].ifindex;
        let (before, backends_before) = (self.counters()?, self.backends()?);
        let context = xdp_md(frame.len() as u32, ifindex);
        let mut out = vec![0; frame.len() + 256];
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        let result = self.host.run(|| {
            dataplane
                .program()?
                .test_run(TestRunOptions {
                    data_in: Some(frame),
                    data_out: Some(&mut out),
                    ctx_in: Some(&context),
                    ..TestRunOptions::default()
                })
                .context("BPF_PROG_TEST_RUN")
        })?;
        out.truncate(result.data_size_out as usize);
        let (after, backends_after) = (self.counters()?, self.backends()?);
        let counters = after
            .into_iter()
            .map(|(counter, value)| (counter, value - before[&counter]))
            .filter(|(_, change)| *change != 0)
            .collect();
        let backends = backends_after
            .into_iter()
            .map(|(name, now)| {
                let then = backends_before[&name];
                let change = BackendCounters {
                    packets: now.packets - then.packets,
                    bytes: now.bytes - then.bytes,
                    new_flows: now.new_flows - then.new_flows,
                };
                (name, change)
            })
            .filter(|(_, change)| *change != BackendCounters::default())
            .collect();
        Ok(Ran {
            action: result.return_value,
            frame: out,
            counters,
            backends,
        })
    }

    /// Every backend healthy and on the back network, or the front one if its address says so.
    fn everything_well(&self) -> BTreeMap<BackendKey, View> {
        let mut views = BTreeMap::new();
        for service in &self.model.services {
            for backend in &service.backends {
                let IpAddr::V4(address) = backend.address else {
                    continue;
                };
                let [_, _, network, octet] = address.octets();
                let side = if network == 1 {
                    Side::Front
                } else {
                    Side::Back
                };
                let port = self
                    .dataplane
                    .as_ref()
                    .and_then(|dataplane| dataplane.port(self.devices[&side].ifindex))
                    .unwrap_or_default();
                let next_hop = Some(NextHop::new(backend_mac(octet), port));
                let view = View {
                    health: Health::Up,
                    next_hop,
                    source: None,
                    mtu: None,
                };
                views.insert(service.key(backend), view);
            }
        }
        views
    }

    fn apply(&mut self) -> Result<()> {
        let desired = Desired {
            model: &self.model,
            views: &self.views,
            overrides: &BTreeMap::new(),
            seed: &self.seed,
            progress: plan::Progress::none(),
            scope: plan::Scope::All,
        };
        let plan = plan::reconcile(&desired, &self.image)?;
        self.write(&plan)?;
        let facing = self
            .views
            .values()
            .filter_map(|v| Some(v.next_hop?.port() as u16))
            .collect();
        self.dataplane().face_backends(&facing);
        Ok(())
    }

    fn write(&mut self, plan: &Plan) -> Result<()> {
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        Ok(dataplane.apply(plan, &mut self.image)?)
    }

    /// Every counter of verdicts and drops.
    pub fn counters(&self) -> Result<BTreeMap<Counter, u64>> {
        let dataplane = self.dataplane.as_ref().context("taken only in drop")?;
        Counter::all()
            .map(|counter| Ok((counter, dataplane.counter(counter)?)))
            .collect()
    }

    /// Every backend's counters, by its name.
    pub fn backends(&self) -> Result<BTreeMap<String, BackendCounters>> {
        let dataplane = self.dataplane.as_ref().context("taken only in drop")?;
        let names = self
            .model
            .services
            .iter()
            .flat_map(|service| &service.backends);
        names
            .map(|backend| {
                let counters = dataplane.backend_counters(self.index(&backend.name)?)?;
                Ok((backend.name.to_string(), counters))
            })
            .collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.dataplane.take().map(Dataplane::remove) {
            eprintln!("a packet bed was not removed: {error}");
        }
    }
}

impl Side {
    /// The interface's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
        }
    }

    /// An address of the network that it faces.
    pub const fn network(self, octet: u8) -> Ipv4Addr {
        match self {
            Self::Front => Ipv4Addr::new(10, 77, 1, octet),
            Self::Back => Ipv4Addr::new(10, 77, 2, octet),
        }
    }
}

/// The kernel's `struct xdp_md`: the frame from 0 to `length`, come in on `ifindex`.
fn xdp_md(length: u32, ifindex: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&length.to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

//! Where fixtures run: the program on filled maps, on a host whose links lead nowhere.

mod run;
mod setup;
mod side;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lb_common::{
    abi::{
        backend::NextHop,
        flow::FlowEntry,
        service::{ServiceId, ServiceRecord},
    },
    hash::FlowHash,
};
use lb_userspace::{
    dataplane::{Dataplane, Device, IpVersion, Options, Table, Walked},
    model::{BackendKey, Health, Model},
    plan::{self, Desired, FlowKey, Image, Phase, Plan, Range, Seed, View, Write},
};

pub use self::{
    run::{Outcome, Ran},
    setup::{Setup, WEB},
    side::{CLIENT_MAC, Side, backend_mac},
};
use super::Segment;
use crate::{host, host::Host, mode::Family, sweep};

/// The program, its maps and a host around it; all gone when dropped.
pub struct Bed {
    host: Host,
    _peer: Host,
    model: Model,
    views: BTreeMap<BackendKey, View>,
    seed: Seed,
    devices: BTreeMap<Side, Device>,
    image: Image,
    frags: bool,
    // Taken out only to be removed.
    dataplane: Option<Dataplane>,
}

impl Bed {
    /// Loads the program for the services in `services` (the `[[service]]` part of a
    /// configuration). Backends are healthy and resolved. `None`: skipped, and said why.
    pub fn new(services: &str) -> Result<Option<Self>> {
        Self::with(&Setup {
            services,
            ..Setup::PLAIN
        })
    }

    /// Loads the program for a setup. `None`: skipped, and said why.
    pub fn with(setup: &Setup<'_>) -> Result<Option<Self>> {
        if !sweep::ready() {
            return Ok(None);
        }
        let name = sweep::unique_name();
        let (host, peer, devices) = network(&name)?;
        let model = setup.model(&name)?;
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
            frags: setup.frags,
            dataplane: Some(dataplane),
        };
        bed.views = bed.everything_well(setup);
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
        self.change_views(|view| view.health = health)
    }

    /// Says how many bytes an IP packet may have on the way to every backend.
    pub fn set_mtu(&mut self, mtu: u32) -> Result<()> {
        self.change_views(|view| view.mtu = Some(mtu))
    }

    fn change_views(&mut self, change: impl FnMut(&mut View)) -> Result<()> {
        self.views.values_mut().for_each(change);
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

    /// The service that a client's segment is for, and its record in force.
    pub fn service(&self, segment: &Segment) -> Result<(ServiceId, ServiceRecord)> {
        let (vip, protocol) = (segment.destination, segment.protocol());
        let id = self.image.service_at(vip, protocol);
        let id = id.with_context(|| format!("no service at {vip}"))?;
        let held = self.image.service(id).context("not published")?;
        Ok((id, held.record))
    }

    /// The flow hash of a client's segment.
    pub fn hash(&self, segment: &Segment) -> Result<FlowHash> {
        let (_, record) = self.service(segment)?;
        let key = FlowKey::new(segment.source, segment.destination, segment.protocol());
        Ok(key.context("two families")?.hash(record.hashing()))
    }

    /// The backend that a client's segment goes to while all slots are at rest.
    pub fn chosen(&self, segment: &Segment) -> Result<&str> {
        let (id, record) = self.service(segment)?;
        let slots = self.image.service(id).context("not published")?.slots;
        let slot = self.hash(segment)?.slot(record.slots_count);
        let local = slots.get(slot as usize).context("no slot")?.current();
        let index = Range::backends(&record).backend(local);
        let indices = self.image.backend_indices(&self.model);
        self.model
            .services
            .iter()
            .flat_map(|service| service.backends.iter().map(move |b| (service.key(b), b)))
            .find(|(key, _)| indices.get(key).copied() == index)
            .map(|(_, backend)| &*backend.name)
            .context("the slot names no backend")
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

    /// Every backend healthy and on the back network, or the front one if its address says so.
    fn everything_well(&self, setup: &Setup<'_>) -> BTreeMap<BackendKey, View> {
        let mut views = BTreeMap::new();
        for service in &self.model.services {
            for backend in &service.backends {
                let (side, number) = Side::of(backend.address);
                let port = self
                    .dataplane
                    .as_ref()
                    .and_then(|dataplane| dataplane.port(self.devices[&side].ifindex))
                    .unwrap_or_default();
                let source = side.address(Family::of(backend.address), 1);
                let view = View {
                    health: Health::Up,
                    next_hop: Some(NextHop::new(backend_mac(number), port)),
                    source: setup.knows_source.then_some(source),
                    mtu: setup.mtu,
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
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.dataplane.take().map(Dataplane::remove) {
            eprintln!("a packet bed was not removed: {error}");
        }
    }
}

/// The load balancer, who is at the other end of its links, and its interfaces. The client is known as a
/// neighbour.
fn network(name: &str) -> Result<(Host, Host, BTreeMap<Side, Device>)> {
    let lb = Host::new(&format!("{name}-lb"))?;
    let peer = Host::new(&format!("{name}-peer"))?;
    let families = match host::has_ipv6() {
        true => &[Family::Ipv4, Family::Ipv6][..],
        false => &[Family::Ipv4],
    };
    let mut devices = BTreeMap::new();
    for side in Side::ALL {
        lb.join(side.name(), &peer, side.name())?;
        for family in families {
            lb.address(side.name(), side.address(*family, 1), family.network())?;
        }
        let link = lb.link(side.name())?;
        let device = Device {
            name: link.name,
            ifindex: link.index,
            mac: link.mac,
        };
        devices.insert(side, device);
    }
    lb.forward()?;
    for family in families {
        let client = Side::Front.address(*family, 10);
        lb.set_neighbour("front", client, CLIENT_MAC)?;
    }
    Ok((lb, peer, devices))
}

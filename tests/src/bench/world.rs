//! A load balancer to measure: a host, the program loaded on maps that a plan filled as the daemon
//! does it, backends that are healthy and resolved.
//!
//! Every configuration has a world of its own, so that all of them can be measured in turns.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
};

use anyhow::{Context as _, Result, bail};
use lb_common::{
    abi::{backend::NextHop, settings::feature, slot::Slot},
    endian::{Be16, Be32},
    hash::FlowHash,
};
use lb_userspace::{
    config,
    dataplane::{Dataplane, Device, Options},
    model::{Health, Limits, Model, XdpMode},
    plan::{self, Desired, Image, Seed, View},
};
use testbed::{
    host::Host,
    packets::{CLIENT_MAC, Side, backend_mac},
    sweep,
};

/// The VIP of the first service; the others follow.
pub(crate) const FIRST_VIP: u32 = 0x0a50_0001;
/// The port of every VIP.
pub(crate) const VIP_PORT: u16 = 80;
/// The first client; there may be 2^20.
pub(crate) const FIRST_CLIENT: u32 = 0x0a60_0000;
/// Backends of each service.
pub(crate) const BACKENDS: u8 = 10;
/// The last octet of a service's first backend.
const FIRST_BACKEND: u8 = 11;
/// The port of the first service's backends; each service has its own.
const FIRST_PORT: u16 = 10_000;
const TABLE_SIZE: u32 = 16_381;
const SEED: &str = "bench";

/// What to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    /// Number of services.
    pub(crate) services: u32,
    /// One interface only: packets leave by the one they came in by.
    pub(crate) one_port: bool,
    /// Every switch of the program is on, used or not.
    pub(crate) all_features: bool,
}

/// The program with all that it needs; gone when dropped.
pub(crate) struct World {
    host: Host,
    peer: Host,
    seed: Seed,
    devices: BTreeMap<Side, Device>,
    image: Image,
    // Taken out only to be removed.
    dataplane: Option<Dataplane>,
}

impl World {
    /// Builds it; `queues` for each interface.
    pub(crate) fn build(shape: Shape, queues: u32) -> Result<Self> {
        let name = sweep::unique_name();
        let host = Host::new(&format!("{name}-lb"))?;
        let peer = Host::new(&format!("{name}-peer"))?;
        let sides: &[Side] = if shape.one_port {
            &[Side::Back]
        } else {
            &[Side::Front, Side::Back]
        };
        let mut devices = BTreeMap::new();
        for side in sides.iter().copied() {
            host.join(side.name(), &peer, side.name())?;
            if queues > 1 {
                host.set_queues(side.name(), queues)?;
                peer.set_queues(side.name(), queues)?;
            }
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
        if !shape.one_port {
            let gateway = Side::Front.network(10);
            host.set_neighbour("front", gateway, CLIENT_MAC)?;
            host.route(Ipv4Addr::from(FIRST_CLIENT), 12, gateway)?;
        }
        let model = model(&name, shape, sides)?;
        let seed = Seed::derive(Some(SEED));
        let mut settings = plan::settings(&model, &seed);
        if shape.all_features {
            settings.features = feature::ALL.iter().fold(0, |all, (bit, _)| all | bit);
        }
        let (dataplane, image) = Dataplane::open(Options {
            bpffs: &model.daemon.bpffs,
            instance: &name,
            limits: model.limits,
            settings,
        })?;
        let mut world = Self {
            host,
            peer,
            seed,
            devices,
            image,
            dataplane: Some(dataplane),
        };
        world.fill(&model)?;
        Ok(world)
    }

    /// The load balancer.
    pub(crate) const fn host(&self) -> &Host {
        &self.host
    }

    /// What is at the other ends of its interfaces; they have the same names.
    pub(crate) const fn peer(&self) -> &Host {
        &self.peer
    }

    /// The program and its maps.
    pub(crate) fn dataplane(&mut self) -> &mut Dataplane {
        self.dataplane.as_mut().expect("taken only in drop")
    }

    /// One of its interfaces.
    pub(crate) fn device(&self, side: Side) -> Result<&Device> {
        self.devices
            .get(&side)
            .with_context(|| format!("the load balancer has no interface {}", side.name()))
    }

    /// Attaches the program to every interface, in the driver.
    pub(crate) fn attach(&mut self) -> Result<()> {
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        for device in self.devices.values() {
            let port = dataplane
                .port(device.ifindex)
                .context("assigned when it was built")?;
            self.host
                .run(|| dataplane.attach(device, port, XdpMode::Native))?;
        }
        Ok(())
    }

    /// Where a client's packet has to go: computed from what was planned, apart from the program.
    pub(crate) fn backend_of(
        &self,
        client: SocketAddrV4,
        vip: SocketAddrV4,
    ) -> Result<SocketAddrV4> {
        let id = self
            .image
            .vips()
            .iter()
            .find(|(key, _)| Ipv4Addr::from(key.address) == *vip.ip())
            .map(|(_, id)| *id)
            .with_context(|| format!("{vip} is no VIP"))?;
        let held = self
            .image
            .service(id)
            .context("the service is not published")?;
        let hash = FlowHash::ipv4(
            self.seed.flow,
            Be32::from(*client.ip()),
            Be32::from(*vip.ip()),
            Be16::new(client.port()),
            Be16::new(vip.port()),
            6,
        );
        let slot: Slot = held.slots[hash.slot(held.record.slots_count) as usize];
        let index = held.record.backends_first + u32::from(slot.current()) - 1;
        let entry = self
            .image
            .backend(plan::BackendIndex(index))
            .context("the slot names no backend")?;
        let [address, ..] = entry.address;
        Ok(SocketAddrV4::new(Ipv4Addr::from(address), entry.port.get()))
    }

    fn fill(&mut self, model: &Model) -> Result<()> {
        let devices: Vec<_> = self.devices.values().cloned().collect();
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        // The device map takes interfaces of the caller's namespace.
        self.host.run(|| -> Result<()> {
            for device in &devices {
                dataplane.assign_port(device)?;
            }
            Ok(())
        })?;
        let back = self.device(Side::Back)?.ifindex;
        let port = self
            .dataplane()
            .port(back)
            .context("no port was assigned")?;
        let mut views = BTreeMap::new();
        for service in &model.services {
            for backend in &service.backends {
                let IpAddr::V4(address) = backend.address else {
                    bail!("the benchmark's backends have IPv4 addresses");
                };
                let next_hop = Some(NextHop::new(backend_mac(address.octets()[3]), port));
                let health = Health::Up;
                views.insert(service.key(backend), View { health, next_hop });
            }
        }
        let desired = Desired {
            model,
            views: &views,
            seed: &self.seed,
        };
        let plan = plan::reconcile(&desired, &self.image)?;
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        dataplane.apply(&plan, &mut self.image)?;
        dataplane.face_backends(&[port].into());
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.dataplane.take().map(Dataplane::remove) {
            eprintln!("the benchmark's maps were not removed: {error}");
        }
    }
}

/// The address and port of a service's first backend.
pub(crate) fn first_backend(service: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Side::Back.network(FIRST_BACKEND), FIRST_PORT + service)
}

fn model(instance: &str, shape: Shape, sides: &[Side]) -> Result<Model> {
    let limits = Limits::default();
    let mut text = format!(
        "[daemon]\ninstance = \"{instance}\"\nseed = \"{SEED}\"\n[limits]\nservices = {}\nbackends \
         = {}\nslots = {}\n",
        limits.services.max(shape.services),
        limits.backends.max(shape.services * u32::from(BACKENDS)),
        limits
            .slots
            .max(shape.services * TABLE_SIZE.next_multiple_of(64)),
    );
    for side in sides {
        text += &format!("[[interface]]\nname = \"{}\"\n", side.name());
    }
    for service in 0..shape.services {
        let vip = Ipv4Addr::from(FIRST_VIP + service);
        text += &format!(
            "[[service]]\nname = \"s{service}\"\nlisten = [\"tcp://{vip}:{VIP_PORT}\"]\nforward = \
             \"dnat\"\ntable_size = {TABLE_SIZE}\n"
        );
        for backend in 0..BACKENDS {
            let address = Side::Back.network(FIRST_BACKEND + backend);
            let port = u32::from(FIRST_PORT) + service;
            text += &format!("[[service.backend]]\naddress = \"{address}:{port}\"\n");
        }
    }
    Ok(config::parse("bench", &text)?.model)
}

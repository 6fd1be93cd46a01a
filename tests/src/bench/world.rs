//! A load balancer to measure: a host, the program loaded on maps that a plan filled as the daemon
//! does it, backends that are healthy and resolved.
//!
//! Every configuration has a world of its own, so that all of them can be measured in turns.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context as _, Result};
use lb_common::abi::{
    backend::NextHop,
    flow::FlowEntry,
    service::{ServiceRecord, tracking},
    settings::feature,
    slot::{LocalBackend, Slot},
};
use lb_userspace::{
    config,
    dataplane::{Dataplane, Device, Options, Table},
    model::{BackendKey, Health, Limits, Model, XdpMode},
    plan::{
        self, BackendIndex, Desired, Endpoint, FlowKey, Image, Phase, Plan, Seed, SlotIndex, View,
        Write,
    },
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
/// The last octet of a service's first backend.
const FIRST_BACKEND: u8 = 11;
/// The port of the first service's backends; each service has its own.
const FIRST_PORT: u16 = 10_000;
pub(crate) const TABLE_SIZE: u32 = 16_381;
pub(crate) const SEED: &str = "bench";

/// What to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    /// Number of services.
    pub(crate) services: u32,
    /// Backends of each.
    pub(crate) backends: u8,
    /// One interface only: packets leave by the one they came in by.
    pub(crate) one_port: bool,
    /// The mode; all but `dnat` need a service alone.
    pub(crate) forward: &'static str,
    /// Clients and VIPs are IPv6, and outside of tunnels the backends.
    pub(crate) ipv6: bool,
    /// Tunnels end at IPv6 addresses.
    pub(crate) outer_ipv6: bool,
    /// `tcp` or `udp`.
    pub(crate) protocol: &'static str,
    /// What every slot is in.
    pub(crate) slots: Slots,
    /// Every switch of the program is on, used or not.
    pub(crate) all_features: bool,
}

/// What state every slot is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slots {
    /// At rest.
    Stable,
    /// Just moved to the next backend; as many entries as the default limits allow, and as many
    /// inserts.
    Moved,
    /// The same, and every flow has an entry, of the backend that the slot had before.
    Remembered,
    /// Moved long ago: entries are looked for, and there are none.
    Tracked,
    /// Of a service that is always tracked; every flow has an entry.
    Always,
}

impl Shape {
    fn sides(self) -> &'static [Side] {
        if self.one_port {
            &[Side::Back]
        } else {
            &[Side::Front, Side::Back]
        }
    }
}

/// The load balancer's host and what its interfaces lead to.
pub(crate) struct Net {
    /// A name that nobody else has.
    pub(crate) name: String,
    /// The load balancer.
    pub(crate) host: Host,
    /// What is at the other ends of its interfaces; they have the same names.
    pub(crate) peer: Host,
    devices: BTreeMap<Side, Device>,
}

impl Net {
    /// Builds it; `queues` for each interface.
    pub(crate) fn build(shape: Shape, queues: u32) -> Result<Self> {
        let name = sweep::unique_name();
        let host = Host::new(&format!("{name}-lb"))?;
        let peer = Host::new(&format!("{name}-peer"))?;
        if !(shape.ipv6 || shape.outer_ipv6) {
            // No frame but the generator's reaches the sink.
            host.leave_ipv6_off()?;
            peer.leave_ipv6_off()?;
        }
        let mut devices = BTreeMap::new();
        for side in shape.sides() {
            let interface = side.name();
            host.join(interface, &peer, interface)?;
            if queues > 1 {
                host.set_queues(interface, queues)?;
                peer.set_queues(interface, queues)?;
            }
            host.address(interface, side.network(1), 24)?;
            let link = host.link(interface)?;
            let device = Device {
                name: link.name,
                ifindex: link.index,
                mac: link.mac,
            };
            devices.insert(*side, device);
        }
        host.forward()?;
        if !shape.one_port && shape.ipv6 {
            let gateway = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 10);
            let own = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 1);
            host.address(Side::Front.name(), own, 64)?;
            host.set_neighbour(Side::Front.name(), gateway, CLIENT_MAC)?;
            host.route(address(true, FIRST_CLIENT), 108, gateway)?;
        } else if !shape.one_port {
            let gateway = Side::Front.network(10);
            host.set_neighbour(Side::Front.name(), gateway, CLIENT_MAC)?;
            host.route(Ipv4Addr::from(FIRST_CLIENT), 12, gateway)?;
        }
        Ok(Self {
            name,
            host,
            peer,
            devices,
        })
    }

    /// One of the load balancer's interfaces.
    pub(crate) fn device(&self, side: Side) -> Result<&Device> {
        self.devices
            .get(&side)
            .with_context(|| format!("the load balancer has no interface {}", side.name()))
    }

    /// Gives every interface its port. Returns that of the backends.
    pub(crate) fn assign_ports(&self, dataplane: &mut Dataplane) -> Result<u16> {
        // The device map takes interfaces of the caller's namespace.
        self.host.run(|| -> Result<()> {
            for device in self.devices.values() {
                dataplane.assign_port(device)?;
            }
            Ok(())
        })?;
        let back = self.device(Side::Back)?.ifindex;
        dataplane.port(back).context("no port was assigned")
    }
}

/// The program with all that it needs; gone when dropped.
pub(crate) struct World {
    /// Its network.
    pub(crate) net: Net,
    shape: Shape,
    seed: Seed,
    image: Image,
    // Taken out only to be removed.
    dataplane: Option<Dataplane>,
}

impl World {
    /// Builds it; `queues` for each interface.
    pub(crate) fn build(shape: Shape, queues: u32) -> Result<Self> {
        let net = Net::build(shape, queues)?;
        let model = config::parse("bench", &text(&net.name, shape))?.model;
        let seed = Seed::derive(Some(SEED));
        let mut settings = plan::settings(&model);
        if shape.all_features {
            settings.features = feature::ALL.iter().fold(0, |all, (bit, _)| all | bit);
        }
        if shape.slots == Slots::Always {
            settings.features |= feature::ALWAYS;
        }
        let (dataplane, image) = Dataplane::open(Options {
            bpffs: &model.daemon.bpffs,
            instance: &net.name,
            limits: model.limits,
            settings,
        })?;
        let mut world = Self {
            net,
            shape,
            seed,
            image,
            dataplane: Some(dataplane),
        };
        world.fill(&model)?;
        world.move_slots(shape)?;
        Ok(world)
    }

    /// The program and its maps.
    pub(crate) fn dataplane(&mut self) -> &mut Dataplane {
        self.dataplane.as_mut().expect("taken only in drop")
    }

    /// Attaches the program to every interface, in the driver.
    pub(crate) fn attach(&mut self) -> Result<()> {
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        for device in self.net.devices.values() {
            self.net
                .host
                .run(|| dataplane.attach(device, XdpMode::Native))?;
        }
        Ok(())
    }

    /// Gives every one of these flows an entry: of the backend that its packets have to go to.
    pub(crate) fn remember(&mut self, flows: impl Iterator<Item = FlowKey>) -> Result<()> {
        let table = match self.shape.slots {
            Slots::Always => Table::Always,
            _ => Table::Transition,
        };
        for key in flows {
            let (index, record) = self.index_of(&key, true)?;
            let backend = self.image.backend(index).context("no such backend")?;
            let local = LocalBackend::try_from(index.0 + 1 - record.backends_first)?;
            let now = Dataplane::now_ticks();
            let entry = FlowEntry::new(local, backend.generation, FlowEntry::ESTABLISHED, now);
            let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
            dataplane.put_flow_back(table, &key, entry)?;
        }
        Ok(())
    }

    /// Where a client's packet has to go: computed from what was planned, apart from the program.
    /// `known`: it is not a flow's first.
    pub(crate) fn backend_of(
        &self,
        client: SocketAddr,
        vip: SocketAddr,
        known: bool,
    ) -> Result<SocketAddr> {
        let (index, _) = self.index_of(&self.key(client, vip)?, known)?;
        let entry = self
            .image
            .backend(index)
            .context("the slot names no backend")?;
        let Endpoint { address, port } = Endpoint::of_entry(entry);
        Ok(SocketAddr::new(address, port.unwrap_or(vip.port())))
    }

    /// The bits of a flow's hash that tunnels use.
    pub(crate) fn entropy(&self, client: SocketAddr, vip: SocketAddr) -> Result<u32> {
        let key = self.key(client, vip)?;
        let (_, record) = self.index_of(&key, true)?;
        Ok(key.hash(record.hashing()).secondary())
    }

    /// The key of a client's flow.
    pub(crate) fn key(&self, client: SocketAddr, vip: SocketAddr) -> Result<FlowKey> {
        let protocol = if self.shape.protocol == "udp" { 17 } else { 6 };
        FlowKey::new(client, vip, protocol).context("a flow of two families")
    }

    fn index_of(&self, flow: &FlowKey, known: bool) -> Result<(BackendIndex, ServiceRecord)> {
        let id = self
            .image
            .vips()
            .iter()
            .find(|(key, _)| key.address() == flow.vip().ip())
            .map(|(_, id)| *id)
            .context("no VIP")?;
        let held = self
            .image
            .service(id)
            .context("the service is not published")?;
        let hash = flow.hash(held.record.hashing());
        let slot: Slot = held.slots[hash.slot(held.record.slots_count) as usize];
        let local = if known { slot.owner() } else { slot.current() };
        let index = held.record.backends_first + u32::from(local) - 1;
        Ok((BackendIndex(index), held.record))
    }

    /// Puts every slot into the state that the shape asks for, past every plan.
    fn move_slots(&mut self, shape: Shape) -> Result<()> {
        let id = self.image.service_ids().next().context("no service")?;
        let held = self.image.service(id).context("not published")?;
        let mut record = held.record;
        let state = |slot: &Slot| {
            let here = slot.current();
            let next = here % LocalBackend::from(shape.backends) + 1;
            match shape.slots {
                Slots::Stable => *slot,
                Slots::Moved | Slots::Remembered => Slot::transition(next, here),
                Slots::Tracked | Slots::Always => Slot::tracked(here),
            }
        };
        if shape.slots == Slots::Always {
            record.tracking = tracking::ALWAYS;
        }
        let plan = Plan::of(vec![Phase(vec![
            Write::Slots {
                first: SlotIndex(record.slots_first),
                slots: held.slots.iter().map(state).collect(),
            },
            Write::Record {
                index: held.record_index,
                record,
            },
        ])]);
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        Ok(dataplane.apply(&plan, &mut self.image)?)
    }

    fn fill(&mut self, model: &Model) -> Result<()> {
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        let port = self.net.assign_ports(dataplane)?;
        let views = views(model, port)?;
        let desired = Desired {
            model,
            views: &views,
            overrides: &BTreeMap::new(),
            seed: &self.seed,
            progress: plan::Progress::none(),
            scope: plan::Scope::All,
        };
        let plan = plan::reconcile(&desired, &self.image)?;
        dataplane.apply(&plan, &mut self.image)?;
        dataplane.face_backends(&[port].into());
        Ok(())
    }
}

/// Every backend healthy, reached by `port`.
pub(crate) fn views(model: &Model, port: u16) -> Result<BTreeMap<BackendKey, View>> {
    let mut views = BTreeMap::new();
    for service in &model.services {
        for backend in &service.backends {
            let next_hop = Some(NextHop::new(backend_mac(last_octet(backend.address)), port));
            let view = View {
                health: Health::Unchecked,
                next_hop,
                source: Some(tunnel_source(backend.address.is_ipv6())),
                mtu: Some(1500),
            };
            views.insert(service.key(backend), view);
        }
    }
    Ok(views)
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.dataplane.take().map(Dataplane::remove) {
            eprintln!("the benchmark's maps were not removed: {error}");
        }
    }
}

/// The address of a client or VIP with this number: all of an IPv4 address, the last part of an IPv6 one.
pub(crate) fn address(ipv6: bool, number: u32) -> IpAddr {
    if ipv6 {
        Ipv6Addr::from(0xfd77_0064_u128 << 96 | u128::from(number)).into()
    } else {
        Ipv4Addr::from(number).into()
    }
}

/// The last octet of a backend's address, by which its MAC is known.
pub(crate) fn last_octet(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    }
}

/// Where tunnels begin.
pub(crate) fn tunnel_source(ipv6: bool) -> IpAddr {
    back(ipv6, 1)
}

/// The address and port of a service's first backend.
pub(crate) fn first_backend(shape: Shape, service: u16) -> SocketAddr {
    let address = back(has_ipv6_backends(shape), FIRST_BACKEND);
    SocketAddr::new(address, FIRST_PORT + service)
}

/// The addresses of every service's backends.
pub(crate) fn backend_addresses(shape: Shape) -> impl Iterator<Item = IpAddr> {
    let ipv6 = has_ipv6_backends(shape);
    (0..shape.backends).map(move |backend| back(ipv6, FIRST_BACKEND + backend))
}

/// Whether packets go on in a tunnel.
pub(crate) fn is_tunnel(shape: Shape) -> bool {
    matches!(shape.forward, "ipip" | "gue")
}

fn has_ipv6_backends(shape: Shape) -> bool {
    if is_tunnel(shape) {
        shape.outer_ipv6
    } else {
        shape.ipv6
    }
}

/// A station of the backends' network.
fn back(ipv6: bool, octet: u8) -> IpAddr {
    if ipv6 {
        Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, octet.into()).into()
    } else {
        Side::Back.network(octet).into()
    }
}

/// The configuration file.
pub(crate) fn text(instance: &str, shape: Shape) -> String {
    let limits = Limits::default();
    let flows = match shape.slots {
        Slots::Stable | Slots::Moved | Slots::Tracked => limits.flows_ipv4,
        // Twice the flows there are: an LRU gives entries up before it is full.
        Slots::Remembered | Slots::Always => 1 << 21,
    };
    let mut text = format!(
        "[daemon]\ninstance = \"{instance}\"\nseed = \"{SEED}\"\n[limits]\nflows_ipv4 = \
         {flows}\nservices = {}\nbackends = {}\nslots = {}\n",
        limits.services.max(shape.services),
        limits
            .backends
            // Each service's range is rounded up to a power of two.
            .max(shape.services * u32::from(shape.backends).next_power_of_two()),
        limits
            .slots
            .max(shape.services * TABLE_SIZE.next_multiple_of(64)),
    );
    for side in shape.sides() {
        text += &format!("[[interface]]\nname = \"{}\"\n", side.name());
    }
    for service in 0..shape.services {
        let vip = SocketAddr::new(address(shape.ipv6, FIRST_VIP + service), VIP_PORT);
        text += &format!(
            "[[service]]\nname = \"s{service}\"\nlisten = \
             [\"{}://{vip}\"]\nforward = \"{}\"\ntable_size = {TABLE_SIZE}\n",
            shape.protocol, shape.forward
        );
        for address in backend_addresses(shape) {
            let backend = match shape.forward {
                "dnat" => SocketAddr::new(address, FIRST_PORT + service as u16).to_string(),
                // The listener's port is kept.
                _ => address.to_string(),
            };
            text += &format!("[[service.backend]]\naddress = \"{backend}\"\nweight = 1\n");
        }
    }
    text
}

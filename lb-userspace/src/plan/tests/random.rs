//! Random sequences of models and views.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use lb_common::abi::backend::NextHop;
use proptest::{collection::vec, prelude::*};

use super::{
    fixture::{listener, model},
    world::World,
};
use crate::{
    model::{
        Admin, Backend, BackendKey, Connections, FlowHash, Forward, Health, Listener, Model,
        Override, Service, Tracking, TunnelSource,
    },
    plan::{PlanError, Progress, Scope, Seed, View, widen},
};

/// VIPs with the same ports each: services may not have a port twice in one family, since replies
/// tell the VIP by it.
const VIPS: [&str; 9] = [
    "10.9.0.1:80",
    "10.9.0.1:81",
    "10.9.0.1:82",
    "10.9.0.2:80",
    "10.9.0.2:81",
    "10.9.0.2:82",
    "[fd09::1]:80",
    "[fd09::1]:81",
    "[fd09::2]:80",
];
const SIZES: [u32; 4] = [7, 31, 61, 127];
const BACKENDS: usize = 26;
/// Owners above are nobody.
const SERVICES: u8 = 3;

#[derive(Clone, Debug)]
struct Step {
    vip_owners: Vec<u8>,
    sizes: Vec<u8>,
    backends: Vec<AnyBackend>,
    reversed: bool,
    tracking: Vec<Tracking>,
    ways: Vec<Way>,
    /// Whether tunnels have a source of the operator's choice.
    chosen_source: bool,
    drains: bool,
    /// Before the step all windows end, and all drains.
    waits: bool,
    /// Which seed: most steps have the first.
    seed: u8,
    /// Of the plan's writes, how many are made before the daemon dies; above 100: it lives.
    per_cent: u8,
}

/// How a service forwards and hashes.
#[derive(Clone, Copy, Debug)]
struct Way {
    forward: Forward,
    hash: FlowHash,
    /// With `dnat`: of which family listeners and backends are.
    ipv6: bool,
}

#[derive(Clone, Debug)]
struct AnyBackend {
    owner: u8,
    weight: u16,
    health: Health,
    resolved: u8,
    /// 0: not known.
    source: u8,
    /// 0: not known.
    mtu: u8,
    fixed_port: bool,
    admin: Admin,
}

fn way() -> impl Strategy<Value = Way> {
    let forward = prop_oneof![
        4 => Just(Forward::Dnat),
        1 => Just(Forward::Dsr),
        2 => Just(Forward::Ipip),
        1 => Just(Forward::Gue { port: 6080 }),
        1 => Just(Forward::Gue { port: 6081 }),
    ];
    let hash = prop_oneof![
        4 => Just(FlowHash::FiveTuple),
        1 => (1_u8..=32, 1_u8..=128).prop_map(|(prefix_ipv4, prefix_ipv6)| FlowHash::Source {
            prefix_ipv4,
            prefix_ipv6,
        }),
    ];
    (forward, hash, proptest::bool::weighted(0.3)).prop_map(|(forward, hash, ipv6)| Way {
        forward,
        hash,
        ipv6,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let backend = (
        0..SERVICES + 2,
        prop_oneof![4 => 1_u16..4, 1 => Just(0)],
        prop_oneof![
            4 => Just(Health::Up),
            1 => Just(Health::Down),
            1 => Just(Health::Unknown),
        ],
        (0_u8..4, 0_u8..4, 0_u8..4),
        proptest::bool::weighted(0.8),
        prop_oneof![
            6 => Just(Admin::Enabled),
            1 => Just(Admin::Draining),
            1 => Just(Admin::Disabled),
        ],
    )
        .prop_map(
            |(owner, weight, health, (resolved, source, mtu), fixed_port, admin)| AnyBackend {
                owner,
                weight,
                health,
                resolved,
                source,
                mtu,
                fixed_port,
                admin,
            },
        );
    let tracking = prop_oneof![
        4 => Just(Tracking::Transition),
        1 => Just(Tracking::Always),
        1 => Just(Tracking::Never),
    ];
    (
        vec(0..SERVICES + 1, VIPS.len()),
        vec(0..SIZES.len() as u8, usize::from(SERVICES)),
        vec(backend, 0..=BACKENDS),
        any::<[bool; 4]>(),
        vec(tracking, usize::from(SERVICES)),
        vec(way(), usize::from(SERVICES)),
        prop_oneof![2 => Just(0_u8), 1 => 1_u8..3],
        0_u8..250,
    )
        .prop_map(
            |(vip_owners, sizes, backends, flags, tracking, ways, seed, per_cent)| {
                let [reversed, drains, waits, chosen_source] = flags;
                Step {
                    vip_owners,
                    sizes,
                    backends,
                    reversed,
                    tracking,
                    ways,
                    chosen_source,
                    drains,
                    waits,
                    seed,
                    per_cent,
                }
            },
        )
}

/// What of another step comes into a step: no listener, no table, no seed.
#[derive(Clone, Debug)]
struct Change {
    from: Step,
    /// Which backends become what they are there.
    backends: Vec<bool>,
    /// Of which services the tracking becomes what it is there.
    tracking: Vec<bool>,
    reorders: bool,
}

fn change() -> impl Strategy<Value = Change> {
    (
        step(),
        vec(proptest::bool::weighted(0.2), BACKENDS),
        vec(proptest::bool::weighted(0.1), usize::from(SERVICES)),
        any::<bool>(),
    )
        .prop_map(|(from, backends, tracking, reorders)| Change {
            from,
            backends,
            tracking,
            reorders,
        })
}

/// A step that differs from the last one in a few places only.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec((step(), any::<u8>()), 1..7).prop_map(|steps| {
        let mut last: Option<Step> = None;
        let mut out = Vec::new();
        for (mut step, keep) in steps {
            if let Some(last) = &last {
                if keep & 1 != 0 {
                    step.vip_owners.clone_from(&last.vip_owners);
                }
                if keep & 2 != 0 {
                    step.sizes.clone_from(&last.sizes);
                    step.tracking.clone_from(&last.tracking);
                }
                if keep & 0x30 != 0 {
                    step.ways.clone_from(&last.ways);
                }
                if keep & 4 != 0 {
                    for (new, old) in step.backends.iter_mut().zip(&last.backends) {
                        (new.owner, new.fixed_port) = (old.owner, old.fixed_port);
                    }
                }
            }
            last = Some(step.clone());
            out.push(step);
        }
        out
    })
}

impl Step {
    fn changed(&self, change: &Change) -> Self {
        let mut changed = self.clone();
        let from = &change.from;
        let backends = changed.backends.iter_mut().zip(&from.backends);
        for ((to, from), _) in backends.zip(&change.backends).filter(|(_, is)| **is) {
            to.clone_from(from);
        }
        let tracking = changed.tracking.iter_mut().zip(&from.tracking);
        for ((to, from), _) in tracking.zip(&change.tracking).filter(|(_, is)| **is) {
            *to = *from;
        }
        changed
    }

    fn model(&self) -> Model {
        let mut services: Vec<Service> = (0..SERVICES).map(|n| self.service(n)).collect();
        services.retain(|service| !service.listeners.is_empty());
        if self.reversed {
            services.reverse();
        }
        let mut model = model(services);
        if self.chosen_source {
            model.daemon.tunnel_source_ipv4 = Some(TunnelSource {
                address: Ipv4Addr::new(10, 64, 0, 1),
                prefix: 16,
            });
        }
        model
    }

    fn service(&self, number: u8) -> Service {
        let way = self.ways[usize::from(number)];
        let is_dnat = way.forward == Forward::Dnat;
        let mut listeners: Vec<Listener> = Vec::new();
        for (vip, owner) in VIPS.iter().zip(&self.vip_owners) {
            let vip = listener(vip);
            let (port, is_ipv6) = (vip.address.port(), vip.address.is_ipv6());
            let is_like = |l: &Listener| l.address.port() == port && l.address.is_ipv6() == is_ipv6;
            if *owner == number
                && (!is_dnat || is_ipv6 == way.ipv6)
                && !listeners.iter().any(is_like)
            {
                listeners.push(vip);
            }
        }
        let single = listeners.len() == 1 && is_dnat;
        Service {
            name: format!("s{number}").into(),
            forward: way.forward,
            table_size: SIZES[usize::from(self.sizes[usize::from(number)])],
            hash: way.hash,
            connections: Connections {
                tracking: self.tracking[usize::from(number)],
                drain_timeout: Duration::from_secs(u64::from(self.drains)),
                slow_start: Duration::from_secs(u64::from(self.reversed)),
                ..Connections::default()
            },
            health: None,
            backends: self
                .backends
                .iter()
                .enumerate()
                .filter(|(_, backend)| backend.owner == number)
                .map(|(n, backend)| {
                    let is_ipv6 = if is_dnat { way.ipv6 } else { n % 2 == 1 };
                    backend.at(n, is_ipv6, single)
                })
                .collect(),
            listeners,
        }
    }

    fn seed(&self) -> Seed {
        Seed::derive(Some(&format!("seed {}", self.seed)))
    }

    fn overrides(&self, model: &Model) -> BTreeMap<BackendKey, Override> {
        let mut overrides = BTreeMap::new();
        for service in &model.services {
            for backend in &service.backends {
                let IpIndex(n) = IpIndex::of(backend);
                let wish = Override {
                    admin: self.backends[n].admin,
                    weight: None,
                };
                overrides.insert(service.key(backend), wish);
            }
        }
        overrides
    }

    fn views(&self, model: &Model) -> BTreeMap<BackendKey, View> {
        let mut views = BTreeMap::new();
        for service in &model.services {
            for backend in &service.backends {
                let IpIndex(n) = IpIndex::of(backend);
                let AnyBackend {
                    health,
                    resolved,
                    source,
                    mtu,
                    ..
                } = self.backends[n];
                let next_hop = (resolved > 0)
                    .then(|| NextHop::new([2, 0, 0, 0, resolved, 1], u16::from(resolved)));
                let source = (source > 0).then(|| match backend.address {
                    IpAddr::V4(_) => Ipv4Addr::new(10, 0, 1, source).into(),
                    IpAddr::V6(_) => ipv6(1, u16::from(source)).into(),
                });
                let mtu = (mtu > 0).then(|| 1000 * u32::from(mtu));
                views.insert(
                    service.key(backend),
                    View {
                        health,
                        next_hop,
                        source,
                        mtu,
                    },
                );
            }
        }
        views
    }
}

impl AnyBackend {
    fn at(&self, n: usize, is_ipv6: bool, single: bool) -> Backend {
        let address: IpAddr = if is_ipv6 {
            ipv6(0, n as u16).into()
        } else {
            Ipv4Addr::new(10, 0, 0, n as u8).into()
        };
        Backend {
            name: address.to_string().into(),
            address,
            port: (self.fixed_port && single).then_some(8080),
            weight: self.weight,
        }
    }
}

fn ipv6(network: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, network, 0, 0, 0, host)
}

struct IpIndex(usize);

impl IpIndex {
    fn of(backend: &Backend) -> Self {
        Self(match backend.address {
            IpAddr::V4(address) => usize::from(address.octets()[3]),
            IpAddr::V6(address) => usize::from(address.segments()[7]),
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_change_keeps_every_packet_right_after_every_write(steps in steps()) {
        let mut world = World::new(&model(Vec::new()));
        for step in steps {
            let model = step.model();
            let views = step.views(&model);
            world.overrides = step.overrides(&model);
            world.seed = step.seed();
            if step.waits {
                world.wait_for_everything(&model);
            }
            match world.plan(&model, &views) {
                Ok(plan) => {
                    world.apply(&plan, usize::MAX);
                    world.progress = Progress::default();
                    world.check_reached(&model, &views);
                    prop_assert_eq!(plan.is_empty(), plan.phases.is_empty());
                }
                Err(error) => prop_assert!(matches!(error, PlanError::Full { .. }), "{}", error),
            }
        }
    }

    #[test]
    fn a_daemon_that_dies_anywhere_is_taken_over(steps in steps()) {
        let mut world = World::new(&model(Vec::new()));
        for step in steps {
            let model = step.model();
            let views = step.views(&model);
            world.overrides = step.overrides(&model);
            world.seed = step.seed();
            if step.waits {
                world.wait_for_everything(&model);
            }
            let Ok(plan) = world.plan(&model, &views) else { continue };
            let writes = plan.summary().writes;
            world.apply(&plan, writes * usize::from(step.per_cent) / 100);
            if step.per_cent < 200 {
                world.image = world.read_back();
                world.was_adopted = true;
                world.barrier();
            }
            world.progress = Progress::default();
            if let Ok(plan) = world.plan(&model, &views) {
                world.apply(&plan, usize::MAX);
                world.check_reached(&model, &views);
            }
        }
    }
    #[test]
    fn a_plan_for_the_services_that_changed_leaves_what_a_plan_for_all_leaves(
        steps in steps(),
        change in change(),
    ) {
        let mut world = World::new(&model(Vec::new()));
        let mut last = None;
        for step in steps {
            let model = step.model();
            world.overrides = step.overrides(&model);
            world.seed = step.seed();
            if let Ok(plan) = world.plan(&model, &step.views(&model)) {
                world.apply(&plan, usize::MAX);
                last = Some(step);
            }
        }
        prop_assume!(last.is_some());
        let before = last.unwrap();
        let after = before.changed(&change);
        let (old, mut new) = (before.model(), after.model());
        let (old_views, views) = (before.views(&old), after.views(&new));
        let old_overrides = before.overrides(&old);
        world.overrides = after.overrides(&new);
        world.seed = after.seed();
        if change.reorders {
            new.services.reverse();
        }
        if change.from.waits {
            world.wait_for_everything(&new);
        }

        let concerned = |service: &&Service| {
            let is_same = |key: &BackendKey| {
                old_views.get(key) == views.get(key)
                    && old_overrides.get(key) == world.overrides.get(key)
            };
            let same = old.services.iter().any(|old| old == *service)
                && (service.backends.iter()).all(|b| is_same(&service.key(b)));
            let id = world.image.service_id(service).unwrap();
            let progress = world.progress.services.get(&id);
            !same || progress.is_some_and(|new| !new.is_empty())
        };
        let names = new.services.iter().filter(concerned);
        let mut names: BTreeSet<Arc<str>> = names.map(|s| Arc::clone(&s.name)).collect();
        widen(&mut names, &new, &world.seed, &world.image);

        let whole = world.plan(&new, &views);
        let part = world.plan_for(Scope::Services(&names), &new, &views);
        prop_assert_eq!(whole.is_err(), part.is_err(), "{:?}, {:?}", whole, part);
        if let (Ok(whole), Ok(part)) = (whole, part) {
            let mut image = world.image.clone();
            whole.writes().for_each(|write| image.apply(write));
            world.apply(&part, usize::MAX);
            prop_assert_eq!(&world.image, &image);
            world.progress = Progress::default();
            world.check_reached(&new, &views);
        }
    }
}

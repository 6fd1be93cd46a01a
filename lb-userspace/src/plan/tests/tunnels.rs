//! Services whose packets get an outer header: what backends need for that, and services of both families.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::{
    abi::{
        backend::{Backend as Entry, family},
        service::forward,
    },
    endian::{Be16, Be128},
};

use super::{
    fixture::{all_up, key, model, service, view},
    world::World,
};
use crate::{
    model::{BackendKey, Forward, Health, Model, TunnelSource},
    plan::{Endpoint, Plan, View, VipKey, Write},
};

const BACKENDS: [&str; 2] = ["10.0.0.1", "fd00::1"];

/// A service of both families with a backend of each.
fn tunnel(forward: Forward) -> Model {
    let listeners = ["10.9.0.1:80", "[fd09::1]:80"];
    let mut service = service("web", &listeners, &BACKENDS);
    service.forward = forward;
    model(vec![service])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reached(source: &str, mtu: u32) -> View {
    View {
        source: Some(ip(source)),
        mtu: Some(mtu),
        ..view(Health::Up)
    }
}

/// Both backends reached, with room for 1500 bytes.
fn ways() -> BTreeMap<BackendKey, View> {
    BTreeMap::from([
        (key("web", BACKENDS[0]), reached("10.0.0.254", 1500)),
        (key("web", BACKENDS[1]), reached("fd00::254", 1500)),
    ])
}

fn entry(world: &World, model: &Model, address: &str) -> Entry {
    let status = world.image.status(&model.services[0]).unwrap();
    let endpoint = Endpoint {
        address: ip(address),
        port: None,
    };
    *world
        .image
        .backend(status.backends[&endpoint].index)
        .unwrap()
}

fn slots(world: &World, model: &Model, address: &str) -> u32 {
    let status = world.image.status(&model.services[0]).unwrap();
    let found = status.backends.iter();
    found
        .filter(|(endpoint, _)| endpoint.address == ip(address))
        .map(|(_, backend)| backend.slots)
        .sum()
}

fn kinds(plan: &Plan) -> Vec<&'static str> {
    let kind = |write: &Write| match write {
        Write::Tunnel { .. } => "tunnel",
        Write::Slots { .. } => "slots",
        Write::Record { .. } => "record",
        Write::Publish { .. } => "publish",
        Write::InsertReply { .. } => "+reply",
        Write::DeleteReply { .. } => "-reply",
        _ => "other",
    };
    let mut kinds: Vec<_> = plan.writes().map(kind).collect();
    kinds.dedup();
    kinds
}

#[test]
fn an_entry_has_what_its_outer_header_needs() {
    let model = tunnel(Forward::Gue { port: 6080 });
    let mut world = World::new(&model);
    world.reach(&model, &ways());
    let record = world.image.status(&model.services[0]).unwrap().record;
    assert_eq!(
        (record.forward, record.gue_port),
        (forward::GUE, Be16::new(6080))
    );
    for listener in &model.services[0].listeners {
        let address = listener.address;
        let vip = VipKey::new(address.ip(), address.port(), 6);
        assert!(world.image.vips().contains_key(&vip));
    }
    assert!(world.image.replies().is_empty());

    let ipv4 = entry(&world, &model, BACKENDS[0]);
    let source = |text: &str| match ip(text) {
        IpAddr::V4(address) => Be128::from_leading(address.into()),
        IpAddr::V6(address) => address.into(),
    };
    assert_eq!(ipv4.family, family::IPV4);
    assert_eq!((ipv4.source, ipv4.mtu), (source("10.0.0.254"), 1500));
    let ipv6 = entry(&world, &model, BACKENDS[1]);
    assert_eq!(ipv6.family, family::IPV6);
    assert_eq!((ipv6.source, ipv6.mtu), (source("fd00::254"), 1500));
}

#[test]
fn a_backend_gets_no_slot_before_source_and_room_are_known_and_keeps_the_last_of_them() {
    let model = tunnel(Forward::Ipip);
    let mut world = World::new(&model);
    let mut views = ways();
    let unknown: [fn(&mut View); 3] = [
        |view| view.source = None,
        |view| view.mtu = None,
        |view| view.next_hop = None,
    ];
    for forget in unknown {
        let mut views = ways();
        forget(views.get_mut(&key("web", BACKENDS[1])).unwrap());
        world.reach(&model, &views);
        assert_eq!(slots(&world, &model, BACKENDS[0]), 61);
        world = World::new(&model);
    }
    world.reach(&model, &views);
    let before = entry(&world, &model, BACKENDS[1]);
    let both = [BACKENDS[0], BACKENDS[1]].map(|address| slots(&world, &model, address));
    assert!(both[0] > 0 && both[1] > 0, "{both:?}");
    for forget in unknown {
        forget(views.get_mut(&key("web", BACKENDS[1])).unwrap());
    }
    assert!(world.plan(&model, &views).unwrap().is_empty());
    assert_eq!(entry(&world, &model, BACKENDS[1]), before);
}

#[test]
fn another_source_or_less_room_is_one_write() {
    let model = tunnel(Forward::Ipip);
    let mut world = World::new(&model);
    let mut views = ways();
    world.reach(&model, &views);
    views.insert(key("web", BACKENDS[1]), reached("fd00::253", 1500));
    let plan = world.reach(&model, &views);
    assert_eq!((kinds(&plan), plan.summary().writes), (vec!["tunnel"], 1));
    views.insert(key("web", BACKENDS[0]), reached("10.0.0.254", 1400));
    let plan = world.reach(&model, &views);
    assert_eq!((kinds(&plan), plan.summary().writes), (vec!["tunnel"], 1));
    assert_eq!(entry(&world, &model, BACKENDS[0]).mtu, 1400);
}

#[test]
fn the_operators_source_wins_and_is_all_that_is_needed() {
    let mut model = tunnel(Forward::Ipip);
    model.daemon.tunnel_source_ipv4 = Some(TunnelSource {
        address: "10.64.0.1".parse().unwrap(),
        prefix: 16,
    });
    let mut world = World::new(&model);
    let mut views = ways();
    views.get_mut(&key("web", BACKENDS[0])).unwrap().source = None;
    world.reach(&model, &views);
    let source = Be128::from_leading("10.64.0.1".parse::<std::net::Ipv4Addr>().unwrap().into());
    assert_eq!(entry(&world, &model, BACKENDS[0]).source, source);
    assert!(slots(&world, &model, BACKENDS[0]) > 0);
    // The other family's backend has the kernel's.
    let kernels: std::net::Ipv6Addr = "fd00::254".parse().unwrap();
    assert_eq!(entry(&world, &model, BACKENDS[1]).source, kernels.into());
}

#[test]
fn other_modes_ask_for_neither_and_leave_what_was_there() {
    let mut model = tunnel(Forward::Dsr);
    let mut world = World::new(&model);
    world.reach(&model, &all_up(&model));
    let empty = entry(&world, &model, BACKENDS[0]);
    assert_eq!((empty.source, empty.mtu), (Be128::default(), 0));
    // Packets of the mode before may still be on their way when the mode changes.
    model.services[0].forward = Forward::Ipip;
    let plan = world.reach(&model, &ways());
    assert_eq!(kinds(&plan), ["tunnel", "record", "publish", "record"]);
    model.services[0].forward = Forward::Dsr;
    let plan = world.reach(&model, &ways());
    assert!(!kinds(&plan).contains(&"tunnel"));
    assert_eq!(entry(&world, &model, BACKENDS[0]).mtu, 1500);
}

#[test]
fn dnat_works_for_ipv6_as_for_ipv4() {
    let ipv6 = ["[fd00::1]:80", "[fd00::2]:80"];
    let model = model(vec![service("web", &["[fd09::1]:80"], &ipv6)]);
    let mut world = World::new(&model);
    world.reach(&model, &all_up(&model));
    assert_eq!(world.image.replies().len(), 2);
    for (key, reply) in world.image.replies() {
        assert!(reply.fits(key));
        assert_eq!(reply.vip(), model.services[0].listeners[0].address);
    }
    assert_eq!(world.read_back(), world.image);
}

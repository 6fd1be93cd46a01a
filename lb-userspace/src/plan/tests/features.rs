//! What the program is loaded with: for a model, and for what the maps hold.

use lb_common::abi::settings::feature;

use super::{
    fixture::{all_up, model, service, view},
    world::World,
};
use crate::{
    model::{FlowHash, Forward, Health, Interface, Model, Tracking, TunnelSource, XdpMode},
    plan::{View, settings},
};

const SOURCE: FlowHash = FlowHash::Source {
    prefix_ipv4: 24,
    prefix_ipv6: 64,
};

fn web(listen: &str, backend: &str, forward: Forward) -> Model {
    let mut service = service("web", &[listen], &[backend]);
    service.forward = forward;
    service.connections.tracking = Tracking::Never;
    model(vec![service])
}

fn features(model: &Model) -> u32 {
    settings(model).features
}

#[test]
fn each_use_switches_its_feature_on() {
    let (v4, v6) = ("10.9.0.1:80", "[fd09::1]:80");
    assert_eq!(
        features(&web(v4, "10.0.0.1:80", Forward::Dnat)),
        feature::DNAT
    );
    assert_eq!(
        features(&web(v6, "[fd00::1]:80", Forward::Dnat)),
        feature::DNAT | feature::IPV6
    );
    assert_eq!(
        features(&web(v4, "fd00::1", Forward::Ipip)),
        feature::IPIP | feature::OUTER_IPV6
    );
    assert_eq!(
        features(&web(v6, "10.0.0.1", Forward::Gue { port: 6080 })),
        feature::GUE | feature::OUTER_IPV4 | feature::IPV6
    );
    let mut model = web(v4, "10.0.0.1", Forward::Dsr);
    model.services[0].hash = SOURCE;
    assert_eq!(features(&model), feature::DSR | feature::HASH_SOURCE);
    let interface = |name: &str, vlan| Interface {
        name: name.to_owned(),
        xdp: XdpMode::Auto,
        vlan,
    };
    model.interfaces = vec![interface("a", false), interface("b", true)];
    assert_eq!(
        features(&model),
        feature::DSR | feature::HASH_SOURCE | feature::REDIRECT | feature::VLAN
    );
}

#[test]
fn the_bits_behind_a_sources_prefix_come_from_the_hash_at_most_32() {
    let entropy = |ipv4: Option<u8>, ipv6: Option<u8>| {
        let mut model = model(Vec::new());
        model.daemon.tunnel_source_ipv4 = ipv4.map(|prefix| TunnelSource {
            address: "10.64.0.1".parse().unwrap(),
            prefix,
        });
        model.daemon.tunnel_source_ipv6 = ipv6.map(|prefix| TunnelSource {
            address: "fd00:64::1".parse().unwrap(),
            prefix,
        });
        let settings = settings(&model);
        (settings.source_entropy_ipv4, settings.source_entropy_ipv6)
    };
    assert_eq!(entropy(None, None), (0, 0));
    assert_eq!(entropy(Some(32), Some(128)), (0, 0));
    assert_eq!(entropy(Some(16), Some(112)), (0xffff, 0xffff));
    assert_eq!(entropy(Some(31), Some(127)), (1, 1));
    assert_eq!(entropy(Some(1), Some(97)), (0x7fff_ffff, 0x7fff_ffff));
    assert_eq!(entropy(Some(8), Some(96)), (0x00ff_ffff, u32::MAX));
    assert_eq!(entropy(None, Some(64)), (0, u32::MAX));
}

#[test]
fn the_maps_use_what_the_model_uses_once_it_is_reached() {
    let mut tunnel = web("[fd09::1]:80", "10.0.0.1", Forward::Gue { port: 6080 });
    tunnel.services[0].hash = SOURCE;
    tunnel.services[0].connections.tracking = Tracking::Always;
    let views = [("web", "10.0.0.1")].map(|(service, backend)| {
        let reached = View {
            source: Some("10.0.0.254".parse().unwrap()),
            mtu: Some(1500),
            ..view(Health::Up)
        };
        (super::fixture::key(service, backend), reached)
    });
    let mut world = World::new(&tunnel);
    assert_eq!(world.image.features(), 0);
    world.reach(&tunnel, &views.into());
    assert_eq!(world.image.features(), features(&tunnel));

    let nothing = model(Vec::new());
    world.reach(&nothing, &all_up(&nothing));
    assert_eq!(world.image.features(), 0);
}

#[test]
fn a_table_that_is_left_is_used_until_it_is_gone() {
    let mut model = web("10.9.0.1:80", "10.0.0.1:80", Forward::Dnat);
    model.services[0].connections.tracking = Tracking::Transition;
    model.services[0].hash = SOURCE;
    let mut world = World::new(&model);
    let views = all_up(&model);
    world.reach(&model, &views);
    model.services[0].hash = FlowHash::FiveTuple;
    world.reach(&model, &views);
    assert_eq!(features(&model) & feature::HASH_SOURCE, 0);
    assert_ne!(world.image.features() & feature::HASH_SOURCE, 0);
    world.wait_for_everything(&model);
    world.reach(&model, &views);
    assert_eq!(world.image.features() & feature::HASH_SOURCE, 0);
}

#[test]
fn a_tunnels_end_is_used_until_its_drain_is_over() {
    let mut model = web("10.9.0.1:80", "10.0.0.1", Forward::Ipip);
    let both = service("web", &[], &["10.0.0.1", "fd00::1"]).backends;
    let one = std::mem::replace(&mut model.services[0].backends, both);
    model.services[0].connections.tracking = Tracking::Transition;
    model.services[0].connections.drain_timeout = std::time::Duration::from_secs(30);
    let mut views = all_up(&model);
    for (key, view) in &mut views {
        (view.source, view.mtu) = (Some(key.address), Some(1500));
    }
    let mut world = World::new(&model);
    world.reach(&model, &views);
    model.services[0].backends = one;
    world.reach(&model, &views);
    assert_eq!(features(&model) & feature::OUTER_IPV6, 0);
    assert_ne!(world.image.features() & feature::OUTER_IPV6, 0);
    world.wait_for_everything(&model);
    world.reach(&model, &views);
    assert_eq!(world.image.features() & feature::OUTER_IPV6, 0);
}

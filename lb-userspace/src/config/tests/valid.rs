//! What is accepted, and what it means.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};

use super::{WEB, accepted, warnings};
use crate::{
    config::{admin_socket, starter, state_dir, without_file},
    model::{
        Backend, Connections, Daemon, FlowHash, Forward, HealthCheck, Interface, Limits, Listener,
        Model, OnStop, Probe, Protocol, Service, TunnelSource, XdpMode,
    },
};

fn listener(address: &str) -> Listener {
    Listener {
        protocol: Protocol::Tcp,
        address: address.parse().unwrap(),
    }
}

fn backend(name: &str, address: &str, port: Option<u16>, weight: u16) -> Backend {
    Backend {
        name: name.into(),
        address: address.parse().unwrap(),
        port,
        weight,
    }
}

#[test]
fn every_key_reaches_the_model() {
    let loaded = accepted(
        r#"
[daemon]
instance = "edge-1"
admin_socket = "/run/edge.sock"
bpffs = "/mnt/bpf"
state_dir = "/srv/edge"
on_stop = "keep"
seed = "a secret"
tunnel_source_ipv4 = "10.64.0.1/16"
tunnel_source_ipv6 = "fd00:64::1"

[limits]
services = 3
backends = 4
slots = 1000
flows_ipv4 = 2000
flows_ipv6 = 1000

[[interface]]
name = "eth0"
xdp = "native"

[[interface]]
name = "eth1.100"
vlan = true

[[service]]
name = "web"
listen = ["tcp://203.0.113.80:80", "tcp://203.0.113.80:443"]
forward = "dnat"
scheduler = "maglev"
table_size = 251
hash = "source"
source_prefix_ipv4 = 24
source_prefix_ipv6 = 64

[[service.health]]
type = "tcp"
interval = "2s"
timeout = "1s 500ms"
rise = 3
fall = 4

[[service.backend]]
name = "web-1"
address = "10.0.1.11"
weight = 256

[[service.backend]]
address = "10.0.1.12"
weight = 0

[[service]]
name = "mail"
listen = ["tcp://203.0.113.25:25"]
table_size = 31

[[service.backend]]
address = "169.254.7.1:2525"

[[service]]
name = "dns"
listen = ["udp://[2001:db8::53]:53"]
forward = "gue"
gue_port = 6081
table_size = 37

[[service.backend]]
address = "fd77:2::11"
"#,
    );
    assert_eq!(
        loaded.model,
        Model {
            daemon: Daemon {
                instance: "edge-1".into(),
                admin_socket: "/run/edge.sock".into(),
                bpffs: "/mnt/bpf".into(),
                state_dir: "/srv/edge".into(),
                on_stop: OnStop::Keep,
                seed: Some("a secret".into()),
                tunnel_source_ipv4: Some(TunnelSource {
                    address: Ipv4Addr::new(10, 64, 0, 1),
                    prefix: 16,
                }),
                tunnel_source_ipv6: Some(TunnelSource {
                    address: "fd00:64::1".parse().unwrap(),
                    prefix: 128,
                }),
            },
            limits: Limits {
                services: 3,
                backends: 4,
                slots: 1000,
                flows_ipv4: 2000,
                flows_ipv6: 1000,
            },
            interfaces: vec![
                Interface {
                    name: "eth0".into(),
                    xdp: XdpMode::Native,
                    vlan: false,
                },
                Interface {
                    name: "eth1.100".into(),
                    xdp: XdpMode::Auto,
                    vlan: true,
                },
            ],
            services: vec![
                Service {
                    name: "web".into(),
                    listeners: vec![listener("203.0.113.80:80"), listener("203.0.113.80:443")],
                    forward: Forward::Dnat,
                    table_size: 251,
                    hash: FlowHash::Source {
                        prefix_ipv4: 24,
                        prefix_ipv6: 64,
                    },
                    connections: Connections::default(),
                    health: Some(HealthCheck {
                        probe: Probe::Tcp,
                        interval: Duration::from_secs(2),
                        timeout: Duration::from_millis(1500),
                        rise: 3,
                        fall: 4,
                    }),
                    backends: vec![
                        backend("web-1", "10.0.1.11", None, 256),
                        backend("10.0.1.12", "10.0.1.12", None, 0),
                    ],
                },
                Service {
                    name: "mail".into(),
                    listeners: vec![listener("203.0.113.25:25")],
                    forward: Forward::Dnat,
                    table_size: 31,
                    hash: FlowHash::FiveTuple,
                    connections: Connections::default(),
                    health: None,
                    backends: vec![backend("169.254.7.1:2525", "169.254.7.1", Some(2525), 1)],
                },
                Service {
                    name: "dns".into(),
                    listeners: vec![Listener {
                        protocol: Protocol::Udp,
                        address: "[2001:db8::53]:53".parse().unwrap(),
                    }],
                    forward: Forward::Gue { port: 6081 },
                    table_size: 37,
                    hash: FlowHash::FiveTuple,
                    connections: Connections {
                        transition_window: Duration::from_secs(120),
                        flow_idle: Duration::from_secs(120),
                        ..Connections::default()
                    },
                    health: None,
                    backends: vec![backend("fd77:2::11", "fd77:2::11", None, 1)],
                },
            ],
        }
    );
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "s.toml:56:14: service[1].table_size: 31 slots for 1 backends make uneven shares, use a prime of at least 32"
        ]
    );
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let model = accepted("").model;
    assert_eq!(
        model.daemon,
        Daemon {
            instance: "default".into(),
            admin_socket: "/run/sluice/default/admin.sock".into(),
            bpffs: "/sys/fs/bpf".into(),
            state_dir: "/var/lib/sluice/default".into(),
            on_stop: OnStop::Detach,
            seed: None,
            tunnel_source_ipv4: None,
            tunnel_source_ipv6: None,
        }
    );
    assert_eq!(model.limits, Limits::default());
    assert!(model.interfaces.is_empty());
    assert!(model.services.is_empty());

    let [service] = accepted(WEB).model.services.try_into().unwrap();
    assert_eq!(service.forward, Forward::Dnat);
    assert_eq!(service.table_size, 16_381);
    assert_eq!(service.hash, FlowHash::FiveTuple);
    assert_eq!(
        service.health,
        Some(HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            rise: 2,
            fall: 2,
        })
    );
    assert_eq!(
        service.backends,
        [
            backend("10.0.1.11:8080", "10.0.1.11", Some(8080), 1),
            backend("10.0.1.12:8080", "10.0.1.12", Some(8080), 1),
        ]
    );
}

#[test]
fn paths_follow_the_instance() {
    let daemon = accepted("daemon.instance = 'blue'").model.daemon;
    assert_eq!(
        daemon.admin_socket,
        Path::new("/run/sluice/blue/admin.sock")
    );
    assert_eq!(daemon.admin_socket, admin_socket("blue"));
    assert_eq!(daemon.state_dir, Path::new("/var/lib/sluice/blue"));
    assert_eq!(daemon.state_dir, state_dir("blue"));
}

#[test]
fn the_same_backend_may_serve_two_services_on_different_ports() {
    let text = r#"
        daemon.seed = "s"
        [[service]]
        name = "web"
        listen = ["tcp://203.0.113.80:80"]
        backend = [{ address = "10.0.1.11" }]
        [[service]]
        name = "tls"
        listen = ["tcp://203.0.113.80:443"]
        backend = [{ address = "10.0.1.11" }]
    "#;
    let loaded = accepted(text);
    assert_eq!(loaded.model.services.len(), 2);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_starter_is_valid_and_warns_of_nothing() {
    for interface in ["eth0", "enp3s0f1np1", r#"odd"\name"#] {
        let text = starter(interface);
        assert_eq!(warnings(&text), [""; 0], "{text}");
        let model = accepted(&text).model;
        let [attached] = model.interfaces.try_into().unwrap();
        assert_eq!(attached.name, interface);
        let [service] = model.services.try_into().unwrap();
        assert_eq!(service.backends.len(), 2);
        assert!(service.health.is_some());
    }
}

#[test]
fn two_starters_have_different_seeds() {
    assert_ne!(starter("eth0"), starter("eth0"));
}

#[test]
fn without_a_file_nothing_is_balanced() {
    let eth0 = Interface {
        name: "eth0".into(),
        xdp: XdpMode::Generic,
        vlan: false,
    };
    let model = without_file("lab", vec![eth0.clone()]).unwrap();
    assert_eq!(model.daemon.admin_socket, admin_socket("lab"));
    assert_eq!(model.interfaces, std::slice::from_ref(&eth0));
    assert!(model.services.is_empty());

    let refused =
        |instance, interfaces| without_file(instance, interfaces).unwrap_err().to_string();
    assert_eq!(
        refused("Lab", vec![]),
        "command line: --instance: `Lab` is not an instance's name, use 1 to 32 of a-z, 0-9 and -"
    );
    assert_eq!(
        refused("lab", vec![eth0.clone(), eth0.clone()]),
        "command line: --interface: `eth0` stands twice: name each interface once"
    );
    let nameless = Interface {
        name: String::new(),
        ..eth0
    };
    assert_eq!(
        refused("lab", vec![nameless]),
        "command line: --interface: is empty, name an interface as `ip link` does"
    );
}

#[test]
fn what_is_likely_not_meant_is_warned_of() {
    assert_eq!(
        warnings(WEB),
        [
            "s.toml: daemon.seed: missing: without a secret of your own anyone can aim at one backend; all load balancers of a set share one"
        ]
    );
    assert_eq!(
        warnings("[daemon]\n[[service]]\nname = 'w'\nlisten = ['tcp://203.0.113.1:1']"),
        [
            "s.toml:1:1: daemon.seed: missing: without a secret of your own anyone can aim at one backend; all load balancers of a set share one",
            "s.toml:2:1: service[0]: has no backend, new connections are dropped",
        ]
    );
    let drained = WEB.replace(":8080\"", ":8080\"\nweight = 0");
    assert_eq!(
        warnings(&format!("daemon.seed = 's'\n{drained}")),
        ["s.toml:2:1: service[0]: has only backends of weight 0, new connections are dropped"]
    );
}

#[test]
fn services_keep_the_order_of_the_file() {
    let text: String = [9, 3, 27, 10]
        .map(|n| {
            format!(
                "[[service]]\nname = 's{n}'\nlisten = ['tcp://203.0.113.{n}:80']\n\
                 backend = [{{ address = '10.0.0.{n}' }}]\n"
            )
        })
        .concat();
    let services = accepted(&text).model.services;
    let names: Vec<_> = services.iter().map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["s9", "s3", "s27", "s10"]);
    let first = services[0].backends[0].address;
    assert_eq!(first, "10.0.0.9".parse::<IpAddr>().unwrap());
}

//! Models and views in a few words.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use lb_common::abi::backend::NextHop;

use crate::{
    model::{
        Backend, BackendKey, Connections, Daemon, FlowHash, Forward, Health, Limits, Listener,
        Model, OnStop, Protocol, Service,
    },
    plan::View,
};

/// A model with small limits.
pub(super) fn model(services: Vec<Service>) -> Model {
    Model {
        daemon: Daemon {
            instance: "test".into(),
            admin_socket: PathBuf::new(),
            bpffs: PathBuf::new(),
            state_dir: PathBuf::new(),
            on_stop: OnStop::Detach,
            seed: None,
            tunnel_source_ipv4: None,
            tunnel_source_ipv6: None,
        },
        limits: Limits {
            services: 8,
            backends: 96,
            slots: 2048,
            flows_ipv4: 1024,
            flows_ipv6: 512,
        },
        interfaces: Vec::new(),
        services,
    }
}

/// A service with 61 slots: `listen` and `backends` are addresses with port.
pub(super) fn service(name: &str, listen: &[&str], backends: &[&str]) -> Service {
    Service {
        name: name.into(),
        listeners: listen.iter().map(|address| listener(address)).collect(),
        forward: Forward::Dnat,
        table_size: 61,
        hash: FlowHash::FiveTuple,
        connections: Connections::default(),
        health: None,
        backends: backends.iter().map(|address| backend(address)).collect(),
    }
}

pub(super) fn listener(address: &str) -> Listener {
    Listener {
        protocol: Protocol::Tcp,
        address: address.parse().unwrap(),
    }
}

/// A backend of weight 1.
pub(super) fn backend(address: &str) -> Backend {
    let name = address.into();
    let (address, port) = match address.parse::<SocketAddr>() {
        Ok(address) => (address.ip(), Some(address.port())),
        Err(_) => (address.parse().unwrap(), None),
    };
    Backend {
        name,
        address,
        port,
        weight: 1,
    }
}

pub(super) fn key(service: &str, backend_address: &str) -> BackendKey {
    let Backend { address, port, .. } = backend(backend_address);
    BackendKey {
        service: service.into(),
        address,
        port,
    }
}

pub(super) fn view(health: Health) -> View {
    View {
        health,
        next_hop: Some(NextHop::new([2, 0, 0, 0, 0, 1], 1)),
        source: None,
        mtu: None,
    }
}

/// Every backend up and reached.
pub(super) fn all_up(model: &Model) -> BTreeMap<BackendKey, View> {
    let of = |service: &Service| {
        let keys = service.backends.iter().map(|b| service.key(b));
        keys.map(|key| (key, view(Health::Up))).collect::<Vec<_>>()
    };
    model.services.iter().flat_map(of).collect()
}

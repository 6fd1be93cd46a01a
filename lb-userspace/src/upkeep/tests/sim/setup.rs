//! The one service that is simulated.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use lb_common::abi::backend::NextHop;

use super::{Shape, WINDOW};
use crate::{
    model::{
        Backend, Connections, Daemon, FlowHash, Forward, Health, Limits, Listener, Model, OnDeath,
        OnStop, Protocol, Service,
    },
    plan::View,
};

pub(super) fn up() -> View {
    View {
        health: Health::Up,
        next_hop: Some(NextHop::new([2, 0, 0, 0, 0, 1], 1)),
        source: Some(Ipv4Addr::new(10, 0, 0, 254).into()),
        mtu: Some(1500),
    }
}

pub(super) fn backend(number: u8) -> Backend {
    let address = Ipv4Addr::new(10, 0, 0, number + 1);
    Backend {
        name: address.to_string().into(),
        address: address.into(),
        port: Some(80),
        weight: 1,
    }
}

/// The VIPs of a service, the same port of all.
pub(super) const fn vips(forward: Forward) -> &'static [SocketAddr] {
    const BOTH: [SocketAddr; 2] = [VIP, VIP_IPV6];
    match forward {
        Forward::Dnat => &[VIP],
        Forward::Dsr | Forward::Ipip | Forward::Gue { .. } => &BOTH,
    }
}

pub(super) const VIP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)), 80);
const VIP_IPV6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1)), 80);

pub(super) fn model(shape: Shape) -> Model {
    let listeners = vips(shape.forward).iter().flat_map(|address| {
        [Protocol::Tcp, Protocol::Udp].map(|protocol| Listener {
            protocol,
            address: *address,
        })
    });
    Model {
        daemon: Daemon {
            instance: "sim".into(),
            admin_socket: PathBuf::new(),
            bpffs: PathBuf::new(),
            state_dir: PathBuf::new(),
            on_stop: OnStop::Keep,
            seed: None,
            tunnel_source_ipv4: None,
            tunnel_source_ipv6: None,
        },
        limits: Limits {
            services: 4,
            backends: 64,
            slots: 4096,
            flows_ipv4: 1024,
            flows_ipv6: 512,
        },
        interfaces: Vec::new(),
        services: vec![Service {
            name: "sim".into(),
            listeners: listeners.collect(),
            forward: shape.forward,
            table_size: shape.table_size,
            hash: FlowHash::FiveTuple,
            connections: Connections {
                tracking: shape.tracking,
                transition_window: WINDOW,
                flow_idle: WINDOW * 2,
                on_death: OnDeath::Reset,
                drain_timeout: Duration::from_secs(30),
                slow_start: Duration::from_secs(4),
            },
            health: None,
            backends: (0..5).map(backend).collect(),
        }],
    }
}

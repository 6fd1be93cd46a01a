//! A small world, and packets for it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use etherparse::{
    IpHeaders, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, PacketBuilder,
};

use super::super::{
    Arrival, Outcome, Reason, Verdict, World,
    flows::{Budget, Flows},
    judge,
    world::{
        Backend, Endpoint, Features, Forward, HashOver, Hashed, Interface, NextHop, Route, Service,
        Slot, Table, Tunnel, Vip, Way,
    },
};

/// Where clients are.
pub(super) const FRONT: u32 = 2;
/// Where backends are.
pub(super) const BACK: u32 = 3;
pub(super) const FRONT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
pub(super) const BACK_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
pub(super) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 10];
pub(super) const CLIENT: &str = "10.77.1.10:40000";
pub(super) const CLIENT6: &str = "[fd77:1::10]:40000";
pub(super) const VIP: &str = "10.77.0.80:80";
pub(super) const VIP6: &str = "[fd77::80]:80";

/// What every flow hashes to in [`world`].
pub(super) const HASH: u64 = 0x8000_0000_4321_8765;

pub(super) mod flag {
    pub(in super::super) const FIN: u8 = 1;
    pub(in super::super) const SYN: u8 = 2;
    pub(in super::super) const RST: u8 = 4;
    pub(in super::super) const ACK: u8 = 16;
}

pub(super) const fn backend_mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 2, 10 + number]
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A living backend with this number: 10.77.2.11 or fd77:2::11 is the first.
pub(super) fn backend(number: u8, is_ipv4: bool) -> Backend {
    let (network, source) = if is_ipv4 {
        ("10.77.2.", "10.77.2.1")
    } else {
        ("fd77:2::", "fd77:2::1")
    };
    Backend {
        address: address(&format!("{network}{}", 10 + number)),
        port: Some(8080),
        next_hop: Some(NextHop {
            mac: backend_mac(number),
            interface: Some(BACK),
        }),
        in_use: true,
        dead: false,
        drained: false,
        admit: 0xffff,
        generation: 7,
        tunnel: Tunnel {
            source: address(source),
            prefix: if is_ipv4 { 32 } else { 128 },
            mtu: 1500,
        },
    }
}

/// Three backends and one slot, of the first.
pub(super) fn service(forward: Forward, is_ipv4: bool) -> Service {
    Service {
        forward,
        always_tracked: false,
        table: table(1, 1),
        old: None,
        backends: (1..=3).map(|number| backend(number, is_ipv4)).collect(),
    }
}

pub(super) fn table(current: u16, previous: u16) -> Table {
    Table {
        slots: vec![Slot { current, previous }],
        over: HashOver::FiveTuple,
        hash: Arc::new(|_: &Hashed| HASH),
    }
}

/// A service that listens at [`VIP`] and [`VIP6`] with TCP and UDP, between two interfaces.
pub(super) fn world(service: Service) -> World {
    let endpoint = |text: &str, protocol| {
        let at: SocketAddr = text.parse().unwrap();
        Endpoint {
            address: at.ip(),
            port: at.port(),
            protocol,
        }
    };
    let mut replies = BTreeMap::new();
    for (protocol, (from, vip)) in [6, 17]
        .into_iter()
        .flat_map(|p| [("10.77.2.11:8080", VIP), ("[fd77:2::11]:8080", VIP6)].map(|e| (p, e)))
    {
        let vip: SocketAddr = vip.parse().unwrap();
        let vip = Vip {
            address: vip.ip(),
            port: vip.port(),
        };
        replies.insert(endpoint(from, protocol), vip);
    }
    let route = |network, prefix, to| Route {
        network: address(network),
        prefix,
        way: Some(Way {
            interface: FRONT,
            from: FRONT_MAC,
            to,
            mtu: 1500,
        }),
    };
    let interface = |mac, faces_backends| Interface {
        mac,
        faces_backends,
    };
    World {
        features: Features {
            ipv6: true,
            udp: true,
            vlan: true,
            dnat: true,
            transition: true,
            always: true,
        },
        interfaces: BTreeMap::from([
            (FRONT, interface(FRONT_MAC, false)),
            (BACK, interface(BACK_MAC, true)),
        ]),
        listeners: [(VIP, 6), (VIP, 17), (VIP6, 6), (VIP6, 17)]
            .into_iter()
            .map(|(at, protocol)| (endpoint(at, protocol), 0))
            .collect(),
        services: vec![service],
        replies,
        routes: vec![
            route("10.77.1.10", 32, Some(CLIENT_MAC)),
            route("10.77.1.0", 24, None),
            route("fd77:1::10", 128, Some(CLIENT_MAC)),
        ],
        flows: Flows {
            budget: Budget {
                syn: 100,
                other: 100,
                ..Budget::default()
            },
            ..Flows::default()
        },
        tick: 1000,
        headroom: 256,
        punt_max: 2040,
        punt_room: 31,
    }
}

/// A packet before it is one.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) macs: [[u8; 6]; 2],
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) hops: u8,
    pub(super) traffic_class: u8,
    /// `None`: UDP.
    pub(super) flags: Option<u8>,
    pub(super) payload: Vec<u8>,
}

pub(super) fn tcp(from: &str, to: &str, flags: u8) -> Build {
    Build {
        macs: [CLIENT_MAC, FRONT_MAC],
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        hops: 64,
        traffic_class: 0,
        flags: Some(flags),
        payload: b"payload".to_vec(),
    }
}

pub(super) fn udp(from: &str, to: &str) -> Build {
    Build {
        flags: None,
        ..tcp(from, to, 0)
    }
}

impl Build {
    pub(super) fn macs(self, from: [u8; 6], to: [u8; 6]) -> Self {
        Self {
            macs: [from, to],
            ..self
        }
    }

    pub(super) fn from(self, from: &str) -> Self {
        Self {
            from: from.parse().unwrap(),
            ..self
        }
    }

    pub(super) fn to(self, to: &str) -> Self {
        Self {
            to: to.parse().unwrap(),
            ..self
        }
    }

    pub(super) fn hops(self, hops: u8) -> Self {
        Self { hops, ..self }
    }

    /// The IP packet.
    pub(super) fn packet(&self) -> Vec<u8> {
        self.frame().split_off(14)
    }

    pub(super) fn frame(&self) -> Vec<u8> {
        let Self {
            macs: [source, destination],
            from,
            to,
            hops,
            traffic_class,
            flags,
            payload,
        } = self;
        let ip = match (from.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header {
                    dscp: (traffic_class >> 2).try_into().unwrap(),
                    ecn: (traffic_class & 3).try_into().unwrap(),
                    identification: 0xbeef,
                    time_to_live: *hops,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv4Header::default()
                };
                IpHeaders::Ipv4(header, Ipv4Extensions::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class: *traffic_class,
                    flow_label: 0x1_2345_u32.try_into().unwrap(),
                    hop_limit: *hops,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv6Header::default()
                };
                IpHeaders::Ipv6(header, Ipv6Extensions::default())
            }
            _ => panic!("one IP version"),
        };
        let builder = PacketBuilder::ethernet2(*source, *destination).ip(ip);
        let mut bytes = Vec::new();
        match flags {
            None => builder
                .udp(from.port(), to.port())
                .write(&mut bytes, payload)
                .unwrap(),
            Some(flags) => {
                let mut tcp = builder.tcp(from.port(), to.port(), 0x0102_0304, 0xffff);
                let has = |flag| flags & flag != 0;
                if has(flag::FIN) {
                    tcp = tcp.fin();
                }
                if has(flag::SYN) {
                    tcp = tcp.syn();
                }
                if has(flag::RST) {
                    tcp = tcp.rst();
                }
                if has(flag::ACK) {
                    tcp = tcp.ack(0x0506_0708);
                }
                tcp.write(&mut bytes, payload).unwrap();
            }
        }
        bytes
    }
}

/// Judges a frame that came in by the clients' interface.
pub(super) fn from_client(world: &mut World, frame: &[u8]) -> Outcome {
    let frame = frame.to_vec();
    let arrival = Arrival {
        interface: FRONT,
        frame,
    };
    judge(world, &arrival)
}

/// The verdict for a frame that must not change.
pub(super) fn verdict(world: &mut World, frame: &[u8]) -> Verdict {
    let outcome = from_client(world, frame);
    assert_eq!(outcome.frame, frame, "left as it came");
    assert_eq!(outcome.backend, None);
    outcome.verdict
}

pub(super) const fn dropped(reason: Reason) -> Verdict {
    Verdict::Drop(reason)
}

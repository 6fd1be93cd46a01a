//! The table of cases: what is sent to which load balancer, what has to come out, and the goal.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use lb_common::{
    bench::{Flow, Flows},
    wire::tcp::Flags,
};
use testbed::packets::{CLIENT_MAC, Segment, Side, backend_mac};

use crate::{
    figure::Goal,
    rig::Floor,
    world::{FIRST_CLIENT, FIRST_VIP, Net, Shape, Slots, VIP_PORT, World, first_backend},
};

/// Where an IPv4 header without options has its addresses, and a TCP or UDP header behind it its
/// ports.
const SOURCE_ADDRESS: u32 = 26;
const DESTINATION_ADDRESS: u32 = 30;
const SOURCE_PORT: u32 = 34;
const DESTINATION_PORT: u32 = 36;

/// Fills the smallest frames up to 64 bytes.
const PAYLOAD: [u8; 10] = *b"0123456789";
/// The same behind UDP's shorter header.
const LONGER_PAYLOAD: [u8; 22] = *b"0123456789012345678901";

/// `enum xdp_action` of linux/bpf.h.
pub(crate) mod action {
    pub(crate) const PASS: u32 = 2;
    pub(crate) const TX: u32 = 3;
    pub(crate) const REDIRECT: u32 = 4;
}

pub(crate) const ONE: u32 = 1;
pub(crate) const MILLION: u32 = 1 << 20;
const ALL_FLOWS: &[u32] = &[ONE, 1 << 10, 1 << 17, MILLION];

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its name in tables and files.
    pub(crate) name: &'static str,
    /// The load balancer.
    pub(crate) shape: Shape,
    /// Where packets come in.
    pub(crate) from: Side,
    /// What they are.
    pub(crate) traffic: Traffic,
    /// Numbers of flows.
    pub(crate) flows: &'static [u32],
    /// A floor to be measured and subtracted besides the empty one.
    pub(crate) extra: Option<Floor>,
    /// What the net cost may be.
    pub(crate) goals: &'static [(u32, Goal)],
}

/// What packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// A client's segments to VIPs.
    Forward {
        /// TCP flags.
        flags: u8,
    },
    /// A backend's segments to clients.
    Reply,
    /// Segments to an address that is no VIP.
    NotAVip,
    /// Segments to a port of a VIP that has no service.
    OtherPort,
}

pub(crate) const TWO_PORTS: Shape = Shape {
    services: 1,
    backends: 10,
    one_port: false,
    forward: "dnat",
    protocol: "tcp",
    slots: Slots::Stable,
    all_features: false,
};
const MINIMAL: Shape = Shape {
    one_port: true,
    ..TWO_PORTS
};
const FULL: Shape = Shape {
    services: 1000,
    all_features: true,
    ..TWO_PORTS
};
const ACK: Traffic = Traffic::Forward { flags: Flags::ACK };
const SYN: Traffic = Traffic::Forward { flags: Flags::SYN };

const FORWARD: Case = Case {
    name: "dnat forward, same port",
    shape: TWO_PORTS,
    from: Side::Back,
    traffic: ACK,
    flows: ALL_FLOWS,
    extra: None,
    goals: &[
        (ONE, Goal::Net(1.5)),
        (MILLION, Goal::TotalOf(1.15, "dnat forward, same port", ONE)),
    ],
};

/// Every case. What a new mode needs is a row here, and its packets below.
pub(crate) const CASES: &[Case] = &[
    FORWARD,
    Case {
        name: "dnat forward, other port",
        from: Side::Front,
        goals: &[
            (ONE, Goal::Net(1.5)),
            (
                MILLION,
                Goal::TotalOf(1.15, "dnat forward, other port", ONE),
            ),
        ],
        ..FORWARD
    },
    Case {
        name: "dnat reply",
        traffic: Traffic::Reply,
        extra: Some(Floor::Fib),
        goals: &[
            (ONE, Goal::Net(1.8)),
            (MILLION, Goal::TotalOf(1.15, "dnat reply", ONE)),
        ],
        ..FORWARD
    },
    Case {
        name: "SYN flood, same port",
        traffic: SYN,
        flows: &[ONE, MILLION],
        goals: &[(MILLION, Goal::TotalOf(1.1, "dnat forward, same port", ONE))],
        ..FORWARD
    },
    Case {
        name: "not a VIP",
        from: Side::Front,
        traffic: Traffic::NotAVip,
        flows: &[ONE, MILLION],
        goals: &[(ONE, Goal::Net(0.7)), (MILLION, Goal::Net(0.7))],
        ..FORWARD
    },
    Case {
        name: "another port of a VIP",
        from: Side::Front,
        traffic: Traffic::OtherPort,
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "dnat forward, 100 services",
        shape: Shape {
            services: 100,
            ..TWO_PORTS
        },
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "dnat forward, 1000 services",
        shape: Shape {
            services: 1000,
            ..TWO_PORTS
        },
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "dnat forward, minimal config",
        shape: MINIMAL,
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "dnat forward, full config",
        shape: FULL,
        flows: &[ONE, MILLION],
        goals: &[(ONE, Goal::TotalOf(1.3, "dnat forward, minimal config", ONE))],
        ..FORWARD
    },
    Case {
        name: "dsr forward",
        shape: Shape {
            forward: "dsr",
            ..TWO_PORTS
        },
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "dnat forward, UDP",
        shape: Shape {
            protocol: "udp",
            ..TWO_PORTS
        },
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "transition, entry found",
        shape: moving(Slots::Remembered),
        flows: &[ONE, MILLION],
        goals: &[(ONE, Goal::Net(2.5))],
        ..FORWARD
    },
    Case {
        name: "tracked, no entry",
        shape: moving(Slots::Tracked),
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "always tracked, entry found",
        shape: moving(Slots::Always),
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "SYN flood in transition",
        shape: moving(Slots::Moved),
        traffic: SYN,
        flows: &[MILLION],
        goals: &[],
        ..FORWARD
    },
];

const fn moving(slots: Slots) -> Shape {
    Shape { slots, ..TWO_PORTS }
}

impl Case {
    /// How its packets vary over `flows` flows.
    pub(crate) fn vary(&self, flows: u32) -> Flows {
        let forward = Flows {
            mask: flows - 1,
            first: FIRST_CLIENT,
            address_at: SOURCE_ADDRESS,
            port_at: SOURCE_PORT,
            targets: self.shape.services,
            target: FIRST_VIP,
            target_at: DESTINATION_ADDRESS,
            length: 64,
        };
        match self.traffic {
            Traffic::Forward { .. } | Traffic::OtherPort => forward,
            Traffic::NotAVip => Flows {
                target: FIRST_VIP + 0x0001_0000,
                ..forward
            },
            Traffic::Reply => Flows {
                address_at: DESTINATION_ADDRESS,
                port_at: DESTINATION_PORT,
                targets: 1,
                target: u32::from(*first_backend(0).ip()),
                target_at: SOURCE_ADDRESS,
                ..forward
            },
        }
    }

    /// Gives every flow its entry, where the case is about flows that have one.
    pub(crate) fn remember(&self, world: &mut World, flows: u32) -> Result<()> {
        if !matches!(self.shape.slots, Slots::Remembered | Slots::Always) {
            return Ok(());
        }
        let vary = self.vary(flows);
        let mut keys = Vec::with_capacity(flows as usize);
        for number in 0..flows {
            let segment = self.segment(&world.net, vary.of(number))?;
            keys.push(world.key(segment.source, segment.destination)?);
        }
        world.remember(keys.into_iter())
    }

    /// The packet of a flow, checksums in full.
    pub(crate) fn packet(&self, net: &Net, flow: Flow) -> Result<Vec<u8>> {
        Ok(self.segment(net, flow)?.bytes())
    }

    /// The action and the packet that have to come out, checksums in full.
    pub(crate) fn expected(&self, world: &World, flow: Flow) -> Result<(u32, Vec<u8>)> {
        let before = self.segment(&world.net, flow)?;
        Ok(match self.traffic {
            Traffic::NotAVip | Traffic::OtherPort => (action::PASS, before.bytes()),
            Traffic::Forward { flags } => {
                let known = flags & Flags::SYN == 0;
                let backend = world.backend_of(before.source, before.destination, known)?;
                let mac = backend_mac(backend.ip().octets()[3]);
                let destination = match self.shape.forward {
                    "dsr" => before.destination,
                    _ => backend.into(),
                };
                let after = Segment {
                    destination,
                    ttl: before.ttl - 1,
                    ..before
                };
                let action = if self.from == Side::Back {
                    action::TX
                } else {
                    action::REDIRECT
                };
                let own = world.net.device(Side::Back)?.mac;
                (action, after.link(own, mac).bytes())
            }
            Traffic::Reply => {
                let after = Segment {
                    source: SocketAddrV4::new(Ipv4Addr::from(FIRST_VIP), VIP_PORT).into(),
                    ttl: before.ttl - 1,
                    ..before
                };
                let own = world.net.device(Side::Front)?.mac;
                (action::REDIRECT, after.link(own, CLIENT_MAC).bytes())
            }
        })
    }

    fn segment(&self, net: &Net, flow: Flow) -> Result<Segment> {
        let client = SocketAddrV4::new(Ipv4Addr::from(flow.address), flow.port);
        let target = Ipv4Addr::from(flow.target);
        let (source, destination, flags, mac) = match self.traffic {
            Traffic::Forward { flags } => (
                client,
                SocketAddrV4::new(target, VIP_PORT),
                flags,
                CLIENT_MAC,
            ),
            Traffic::NotAVip => (
                client,
                SocketAddrV4::new(target, VIP_PORT),
                Flags::ACK,
                CLIENT_MAC,
            ),
            Traffic::OtherPort => (
                client,
                SocketAddrV4::new(target, VIP_PORT + 1),
                Flags::ACK,
                CLIENT_MAC,
            ),
            Traffic::Reply => {
                let backend = first_backend(0);
                let mac = backend_mac(target.octets()[3]);
                (
                    SocketAddrV4::new(target, backend.port()),
                    client,
                    Flags::ACK,
                    mac,
                )
            }
        };
        let own = net.device(self.from)?.mac;
        let blank = match self.shape.protocol {
            "udp" => Segment::datagram("0.0.0.0:0", "0.0.0.0:0", &LONGER_PAYLOAD),
            _ => Segment::new("0.0.0.0:0", "0.0.0.0:0", flags).payload(&PAYLOAD),
        };
        let segment = Segment {
            source: source.into(),
            destination: destination.into(),
            ..blank
        };
        Ok(segment.link(mac, own))
    }
}

//! The table of cases: what is sent to which load balancer, what has to come out, and the goal.

use std::net::SocketAddr;

use anyhow::Result;
use lb_common::{
    bench::{Flow, Flows},
    wire::tcp::Flags,
};
use testbed::packets::{CLIENT_MAC, GUE_PORT, Outer, Segment, Side, backend_mac};

use crate::{
    figure::Goal,
    rig::Floor,
    world::{
        FIRST_CLIENT, FIRST_VIP, Net, Shape, Slots, VIP_PORT, World, address, first_backend,
        is_tunnel, last_octet, tunnel_source,
    },
};

/// Where an IPv4 header without options has its addresses, and a TCP or UDP header behind it its
/// ports.
const SOURCE_ADDRESS: u32 = 26;
const DESTINATION_ADDRESS: u32 = 30;
const SOURCE_PORT: u32 = 34;
const DESTINATION_PORT: u32 = 36;

/// Where an IPv6 header has the last 32 bits of its addresses, and a TCP header behind it its ports.
const SOURCE_ADDRESS_IPV6: u32 = 34;
const DESTINATION_ADDRESS_IPV6: u32 = 50;
const SOURCE_PORT_IPV6: u32 = 54;
const DESTINATION_PORT_IPV6: u32 = 56;

/// Fills the smallest frames up to 64 bytes.
const PAYLOAD: [u8; 10] = *b"0123456789";
/// The same behind UDP's shorter header, and in a frame of 96 bytes with IPv6.
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
    ipv6: false,
    outer_ipv6: false,
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
        goals: &[(ONE, Goal::Net(1.2))],
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
        name: "dnat forward, IPv6",
        shape: ipv6("dnat"),
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "dnat reply, IPv6",
        shape: ipv6("dnat"),
        traffic: Traffic::Reply,
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "dsr forward, IPv6",
        shape: ipv6("dsr"),
        flows: &[ONE, MILLION],
        goals: &[],
        ..FORWARD
    },
    Case {
        name: "ipip, IPv4 in IPv4",
        shape: tunnel("ipip", false, false),
        flows: &[ONE, MILLION],
        goals: &[(ONE, Goal::Net(1.3))],
        extra: Some(Floor::Restore),
        ..FORWARD
    },
    Case {
        name: "ipip, IPv4 in IPv6",
        shape: tunnel("ipip", false, true),
        flows: &[ONE, MILLION],
        goals: &[],
        extra: Some(Floor::Restore),
        ..FORWARD
    },
    Case {
        name: "ipip, IPv6 in IPv6",
        shape: tunnel("ipip", true, true),
        flows: &[ONE, MILLION],
        goals: &[(ONE, Goal::Net(1.6))],
        extra: Some(Floor::Restore),
        ..FORWARD
    },
    Case {
        name: "gue, IPv4 in IPv4",
        shape: tunnel("gue", false, false),
        flows: &[ONE, MILLION],
        goals: &[(ONE, Goal::Net(1.3))],
        extra: Some(Floor::Restore),
        ..FORWARD
    },
    Case {
        name: "gue, IPv6 in IPv6",
        shape: tunnel("gue", true, true),
        flows: &[ONE, MILLION],
        goals: &[(ONE, Goal::Net(1.6))],
        extra: Some(Floor::Restore),
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

/// IPv6 from the client to the backend.
const fn ipv6(forward: &'static str) -> Shape {
    Shape {
        forward,
        ipv6: true,
        ..TWO_PORTS
    }
}

/// A tunnel: what is in it, and what it goes over.
const fn tunnel(forward: &'static str, inner_ipv6: bool, outer_ipv6: bool) -> Shape {
    Shape {
        forward,
        ipv6: inner_ipv6,
        outer_ipv6,
        ..TWO_PORTS
    }
}

const fn moving(slots: Slots) -> Shape {
    Shape { slots, ..TWO_PORTS }
}

impl Case {
    /// The picture that it is drawn into, together with what it is to be compared with.
    pub(crate) fn chart(&self) -> &'static str {
        let shape = self.shape;
        if shape.slots != Slots::Stable {
            "flow entries"
        } else if is_tunnel(shape) {
            "tunnels"
        } else if shape.ipv6 {
            "IPv6"
        } else if shape.services > 1 || shape.one_port || shape.all_features {
            "configurations"
        } else {
            "IPv4"
        }
    }

    /// How its packets vary over `flows` flows.
    pub(crate) fn vary(&self, flows: u32) -> Flows {
        let (source, destination, source_port, destination_port, length) = if self.shape.ipv6 {
            let addresses = (SOURCE_ADDRESS_IPV6, DESTINATION_ADDRESS_IPV6);
            let ports = (SOURCE_PORT_IPV6, DESTINATION_PORT_IPV6);
            (addresses.0, addresses.1, ports.0, ports.1, 96)
        } else {
            let addresses = (SOURCE_ADDRESS, DESTINATION_ADDRESS);
            (addresses.0, addresses.1, SOURCE_PORT, DESTINATION_PORT, 64)
        };
        let forward = Flows {
            mask: flows - 1,
            first: FIRST_CLIENT,
            address_at: source,
            port_at: source_port,
            targets: self.shape.services,
            target: FIRST_VIP,
            target_at: destination,
            length,
        };
        match self.traffic {
            Traffic::Forward { .. } | Traffic::OtherPort => forward,
            Traffic::NotAVip => Flows {
                target: FIRST_VIP + 0x0001_0000,
                ..forward
            },
            Traffic::Reply => Flows {
                address_at: destination,
                port_at: destination_port,
                targets: 1,
                target: number(first_backend(self.shape, 0)),
                target_at: source,
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
                let mac = backend_mac(last_octet(backend.ip()));
                let destination = match self.shape.forward {
                    "dnat" => backend,
                    _ => before.destination,
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
                let after = after.link(own, mac);
                if !is_tunnel(self.shape) {
                    return Ok((action, after.bytes()));
                }
                let entropy = world.entropy(after.source, after.destination)?;
                let outer = Outer {
                    source: tunnel_source(self.shape.outer_ipv6),
                    destination: backend.ip(),
                    traffic_class: after.traffic_class,
                    options: Vec::new(),
                    flow_label: entropy & 0xf_ffff,
                    ports: (self.shape.forward == "gue")
                        .then_some([0xc000 | entropy as u16 & 0x3fff, GUE_PORT]),
                };
                (action, after.frame(&outer.around(&after.packet())))
            }
            Traffic::Reply => {
                let after = Segment {
                    source: SocketAddr::new(address(self.shape.ipv6, FIRST_VIP), VIP_PORT),
                    ttl: before.ttl - 1,
                    ..before
                };
                let own = world.net.device(Side::Front)?.mac;
                (action::REDIRECT, after.link(own, CLIENT_MAC).bytes())
            }
        })
    }

    fn segment(&self, net: &Net, flow: Flow) -> Result<Segment> {
        let client = SocketAddr::new(address(self.shape.ipv6, flow.address), flow.port);
        let target = address(self.shape.ipv6, flow.target);
        let (source, destination, flags, mac) = match self.traffic {
            Traffic::Forward { flags } => {
                (client, SocketAddr::new(target, VIP_PORT), flags, CLIENT_MAC)
            }
            Traffic::NotAVip => (
                client,
                SocketAddr::new(target, VIP_PORT),
                Flags::ACK,
                CLIENT_MAC,
            ),
            Traffic::OtherPort => (
                client,
                SocketAddr::new(target, VIP_PORT + 1),
                Flags::ACK,
                CLIENT_MAC,
            ),
            Traffic::Reply => {
                let backend = first_backend(self.shape, 0);
                (
                    backend,
                    client,
                    Flags::ACK,
                    backend_mac(last_octet(backend.ip())),
                )
            }
        };
        let own = net.device(self.from)?.mac;
        let blank = match self.shape.protocol {
            "udp" => Segment::datagram("0.0.0.0:0", "0.0.0.0:0", &LONGER_PAYLOAD),
            _ if self.shape.ipv6 => {
                Segment::new("0.0.0.0:0", "0.0.0.0:0", flags).payload(&LONGER_PAYLOAD)
            }
            _ => Segment::new("0.0.0.0:0", "0.0.0.0:0", flags).payload(&PAYLOAD),
        };
        let segment = Segment {
            source,
            destination,
            ..blank
        };
        Ok(segment.link(mac, own))
    }
}

/// The part of an address that varies, as a number.
fn number(endpoint: SocketAddr) -> u32 {
    match endpoint.ip() {
        std::net::IpAddr::V4(address) => address.into(),
        std::net::IpAddr::V6(address) => u128::from(address) as u32,
    }
}

//! Every way that a packet may take to a backend: by mode, by the client's family and by the family of
//! the network between load balancer and backend.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use lb_common::{abi::counters::BackendCounters, wire::tcp::Flags};

use super::{
    Bed, CLIENT_MAC, Expect, Fixture, GUE_PORT, Outcome, Outer, Segment, Setup, Side, backend_mac,
};
use crate::{
    mode::{Family, Forward},
    topology::CLIENT,
};

/// Both families.
const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// A way to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The mode.
    pub forward: Forward,
    /// The family of client and VIP.
    pub inner: Family,
    /// That of the backend.
    pub outer: Family,
}

impl Way {
    /// The number of the backend in its network.
    pub const BACKEND: u8 = 11;

    /// Where the backend listens under `dnat`: for segments, and for datagrams.
    pub const PORTS: [u16; 2] = [8080, 5300];

    /// All of them.
    pub fn all() -> Vec<Self> {
        let plain = [Forward::Dnat, Forward::Dsr].into_iter();
        let plain = plain.flat_map(|forward| {
            FAMILIES.map(|family| Self {
                forward,
                inner: family,
                outer: family,
            })
        });
        plain.chain(Self::tunnels()).collect()
    }

    /// Those of a mode.
    pub fn of(forward: Forward) -> impl Iterator<Item = Self> {
        let all = Self::all().into_iter();
        all.filter(move |way| way.forward == forward)
    }

    /// Those with an outer header: 4in4, 4in6, 6in4 and 6in6, in IP and in UDP.
    pub fn tunnels() -> Vec<Self> {
        let mut all = Vec::new();
        for forward in [Forward::Ipip, Forward::Gue] {
            for inner in FAMILIES {
                all.extend(FAMILIES.map(|outer| Self {
                    forward,
                    inner,
                    outer,
                }));
            }
        }
        all
    }

    /// Whether packets get an outer header.
    pub const fn is_tunnel(self) -> bool {
        matches!(self.forward, Forward::Ipip | Forward::Gue)
    }

    /// The `[[service]]` part of a configuration: TCP goes to the backend `t1`, UDP to `u1`, which are one
    /// host on the back network.
    pub fn services(self) -> String {
        self.services_at(Side::Back)
    }

    /// The same with the backend on this side.
    fn services_at(self, side: Side) -> String {
        let (vip, forward) = (self.inner.vip(), self.forward.word());
        let address = side.address(self.outer, Self::BACKEND);
        let service = |protocol: &str, backend: &str, port| {
            let address = match self.forward {
                Forward::Dnat => SocketAddr::new(address, port).to_string(),
                Forward::Dsr | Forward::Ipip | Forward::Gue => address.to_string(),
            };
            format!(
                "[[service]]\nname = \"{protocol}\"\nlisten = [\"{protocol}://{vip}\"]\n\
                 forward = \"{forward}\"\n[[service.backend]]\nname = \"{backend}\"\n\
                 address = \"{address}\"\n"
            )
        };
        let [tcp, udp] = Self::PORTS;
        service("tcp", "t1", tcp) + &service("udp", "u1", udp)
    }

    /// A client's segment.
    pub fn segment(self, bed: &Bed, flags: u8) -> Segment {
        let (client, vip) = (self.client().to_string(), self.inner.vip().to_string());
        Segment::new(&client, &vip, flags).link(CLIENT_MAC, bed.mac(Side::Front))
    }

    /// A client's datagram.
    pub fn datagram(self, bed: &Bed, payload: &[u8]) -> Segment {
        let mut datagram = self.segment(bed, 0).payload(payload);
        datagram.flags = None;
        datagram
    }

    /// The backend's answer to a segment or datagram, under `dnat`.
    pub fn answer(self, bed: &Bed, flags: Option<u8>, payload: &[u8]) -> Segment {
        let mut answer = self.segment(bed, 0).payload(payload);
        answer.flags = flags;
        answer.destination = answer.source;
        answer.source = self.backend(&answer, Side::Back);
        answer.link(backend_mac(Self::BACKEND), bed.mac(Side::Back))
    }

    /// The same as the client must see it.
    pub fn answered(self, bed: &Bed, answer: &Segment) -> Segment {
        let mut out = answer.clone().link(bed.mac(Side::Front), CLIENT_MAC);
        out.source = self.inner.vip();
        out.ttl -= 1;
        out
    }

    /// The frame that a client's segment must become, on its way to a backend on this side.
    pub fn sent(self, bed: &Bed, segment: &Segment, side: Side) -> Result<Vec<u8>> {
        if self.is_tunnel() {
            let outer = self.outer(bed, segment, side)?;
            return Ok(self.wrapped(bed, segment, side, &outer));
        }
        let mut out = leaving(bed, segment, side);
        if self.forward == Forward::Dnat {
            out.destination = self.backend(segment, side);
        }
        Ok(out.bytes())
    }

    /// The same behind this outer header.
    pub fn wrapped(self, bed: &Bed, segment: &Segment, side: Side, outer: &Outer) -> Vec<u8> {
        let out = leaving(bed, segment, side);
        out.frame(&outer.around(&out.packet()))
    }

    /// The outer header of a client's segment: the source is the load balancer's own address, and what of
    /// it depends on the flow comes from its hash.
    pub fn outer(self, bed: &Bed, segment: &Segment, side: Side) -> Result<Outer> {
        let entropy = bed.hash(segment)?.secondary();
        let source_port = 0xc000 | (entropy & 0x3fff) as u16;
        Ok(Outer {
            source: side.address(self.outer, 1),
            destination: side.address(self.outer, Self::BACKEND),
            traffic_class: segment.traffic_class,
            options: Vec::new(),
            flow_label: entropy & 0xf_ffff,
            ports: (self.forward == Forward::Gue).then_some([source_port, GUE_PORT]),
        })
    }

    /// A client's segment goes its way and is counted.
    pub fn fixture(self, name: &'static str, bed: &Bed, segment: &Segment) -> Result<Fixture> {
        let frame = self.sent(bed, segment, Side::Back)?;
        Ok(self.becomes(name, segment, Outcome::Redirect, frame))
    }

    /// A client's segment becomes a frame for the backend, and is counted.
    pub fn becomes(
        self,
        name: &'static str,
        segment: &Segment,
        outcome: Outcome,
        frame: Vec<u8>,
    ) -> Fixture {
        let counted = BackendCounters {
            packets: 1,
            bytes: segment.ip_length(),
            new_flows: u64::from(segment.flags == Some(Flags::SYN)),
        };
        Fixture {
            name,
            from: Side::Front,
            packet: segment.bytes(),
            expect: Expect {
                outcome,
                frame: Some(frame),
                counted: Some((backend_of(segment), counted)),
            },
        }
    }

    /// A backend's answer goes back to the client.
    pub fn reply(self, name: &'static str, bed: &Bed, answer: &Segment) -> Fixture {
        Fixture {
            name,
            from: Side::Back,
            packet: answer.bytes(),
            expect: Expect {
                outcome: Outcome::Redirect,
                frame: Some(self.answered(bed, answer).bytes()),
                counted: None,
            },
        }
    }

    /// A backend's answer to a neighbour that is not known yet is handed to the daemon: the packet is ready
    /// to send, the link header is what it was.
    pub fn punt(self, name: &'static str, bed: &Bed, answer: &Segment) -> Fixture {
        let mut out = self.answered(bed, answer);
        out.link = answer.link;
        Fixture {
            name,
            from: Side::Back,
            packet: answer.bytes(),
            expect: Expect {
                outcome: Outcome::Punt,
                frame: Some(out.bytes()),
                counted: None,
            },
        }
    }

    /// Runs `check` for each of these ways in a bed of its own: the setup, with the way's services.
    pub fn each(
        ways: impl IntoIterator<Item = Self>,
        setup: &Setup<'_>,
        mut check: impl FnMut(&mut Bed, Self) -> Result<()>,
    ) -> Result<()> {
        for way in ways {
            let services = way.services_at(setup.backend);
            let setup = Setup {
                services: &services,
                ..*setup
            };
            let Some(mut bed) = Bed::with(&setup)? else {
                return Ok(());
            };
            check(&mut bed, way).with_context(|| format!("{way:?}"))?;
        }
        Ok(())
    }

    fn client(self) -> SocketAddr {
        SocketAddr::new(self.inner.at(IpAddr::V4(CLIENT)), 40_000)
    }

    fn backend(self, segment: &Segment, side: Side) -> SocketAddr {
        let [tcp, udp] = Self::PORTS;
        let port = if segment.flags.is_some() { tcp } else { udp };
        SocketAddr::new(side.address(self.outer, Self::BACKEND), port)
    }
}

/// A client's segment one hop older, on its way to the backend.
fn leaving(bed: &Bed, segment: &Segment, side: Side) -> Segment {
    let ttl = segment.ttl - 1;
    let out = segment.clone().ttl(ttl);
    out.link(bed.mac(side), backend_mac(Way::BACKEND))
}

/// The name of the backend that a segment goes to.
const fn backend_of(segment: &Segment) -> &'static str {
    match segment.flags {
        Some(_) => "t1",
        None => "u1",
    }
}

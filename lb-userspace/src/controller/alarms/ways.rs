//! What is amiss with the ways that packets take: replies that the kernel gives no routes for, and tunnels
//! that leave no room for their outer header.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
};

use lb_common::wire::outer::{OuterIpv4, OuterIpv6, OuterUdp};

use crate::{
    controller::{interfaces::lowest, state::Controller},
    model::{Forward, Interface},
    neighbor::{Link, State},
};

/// A way that packets of some size do not fit into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Narrow {
    /// What has the MTU.
    what: String,
    mtu: u32,
    /// The largest packets that clients send.
    packets: u32,
    /// Bytes that are put before them.
    outer: u32,
    /// By which mode.
    forward: String,
}

impl Controller {
    /// Interfaces on which replies of `dnat` backends come in and the kernel gives no routes for
    /// them (`bpf_fib_lookup` answers `BPF_FIB_LKUP_RET_FWD_DISABLED`).
    pub(super) fn unforwarded_replies(&self) -> impl Iterator<Item = String> {
        let services = self.model.services.iter();
        let with_replies: BTreeSet<&str> = services
            .filter(|service| service.forward.has_replies())
            .map(|service| &*service.name)
            .collect();
        let mut ways = BTreeSet::new();
        for (address, state) in &self.next_hops {
            let ifindex = match state {
                State::Resolved { ifindex, .. } => Some(*ifindex),
                State::Unresolved { ifindex, .. } => *ifindex,
            };
            let way = ifindex.map(|ifindex| (address.is_ipv6(), ifindex));
            // There are few interfaces: the backends at most addresses need not be looked at.
            if let Some(way) = way.filter(|way| !ways.contains(way))
                && (self.addresses.at(*address)).any(|key| with_replies.contains(&*key.service))
            {
                ways.insert(way);
            }
        }
        // Where the frames come in, and so where the kernel looks.
        let ways: BTreeSet<(bool, String)> = (ways.into_iter())
            .filter_map(|(is_ipv6, way)| Some((is_ipv6, lowest(&self.links, way)?.name.clone())))
            .filter(|(is_ipv6, name)| !forwards(*is_ipv6, name))
            .collect();
        ways.into_iter().map(|(is_ipv6, name)| {
            let (family, all) = if is_ipv6 {
                ("ipv6", "net.ipv6.conf.all.forwarding")
            } else {
                ("ipv4", "net.ipv4.ip_forward")
            };
            format!(
                "replies of dnat backends are not forwarded: net.{family}.conf.{name}.forwarding is 0; \
                 sysctl -w {all}=1"
            )
        })
    }

    /// Ways to the backends of tunnels that are too narrow for what clients may send.
    pub(super) fn narrow_tunnels(&self) -> impl Iterator<Item = String> {
        let mut found: BTreeMap<Narrow, Vec<String>> = BTreeMap::new();
        let tunnels = (self.model.services.iter()).filter(|s| s.forward.is_tunnel());
        for service in tunnels {
            for backend in &service.backends {
                let narrow = self.narrow(service.forward, backend.address);
                if let Some(narrow) = narrow {
                    let name = format!("{}/{}", service.name, backend.name);
                    found.entry(narrow).or_default().push(name);
                }
            }
        }
        found
            .into_iter()
            .map(|(narrow, backends)| narrow.alarm(&backends))
    }

    fn narrow(&self, forward: Forward, address: IpAddr) -> Option<Narrow> {
        let Some(State::Resolved { ifindex, mtu, .. }) = self.next_hops.get(&address) else {
            return None;
        };
        let link = self.links.get(ifindex)?;
        let way = lowest(&self.links, *ifindex)?;
        let interfaces = self.model.interfaces.iter();
        let attached = interfaces.filter_map(|Interface { name, .. }| {
            self.links.values().find(|link| link.name == *name)
        });
        let packets = largest_from_clients(attached, way);
        let outer = outer(forward, address);
        (*mtu < packets + outer).then(|| Narrow {
            what: if *mtu < link.mtu {
                format!("the route out of interface {}", link.name)
            } else {
                format!("interface {}", link.name)
            },
            mtu: *mtu,
            packets,
            outer,
            forward: forward.to_string(),
        })
    }
}

impl Narrow {
    fn alarm(&self, backends: &[String]) -> String {
        let Self {
            what,
            mtu,
            packets,
            outer,
            forward,
        } = self;
        let towards = match backends {
            [] => String::new(),
            [one] => format!(" towards backend {one}"),
            [first, rest @ ..] => format!(" towards backend {first} and {} more", rest.len()),
        };
        format!(
            "{what}: MTU {mtu} leaves no room for the {outer} bytes of {forward}{towards}; raise it to {}, \
             or lower the MSS",
            packets + outer
        )
    }
}

/// The largest packets that clients may send: by the interfaces other than the one on the way to the
/// backend; where there is none they come in by the same.
fn largest_from_clients<'a>(attached: impl Iterator<Item = &'a Link>, way: &Link) -> u32 {
    let others = attached.filter(|link| link.ifindex != way.ifindex);
    others.map(|link| link.mtu).max().unwrap_or(way.mtu)
}

/// Bytes that a tunnel to an address puts before a packet.
const fn outer(forward: Forward, address: IpAddr) -> u32 {
    let ip = match address {
        IpAddr::V4(_) => OuterIpv4::LENGTH,
        IpAddr::V6(_) => OuterIpv6::LENGTH,
    };
    let udp = match forward {
        Forward::Gue { .. } => OuterUdp::LENGTH,
        Forward::Dnat | Forward::Dsr | Forward::Ipip => 0,
    };
    (ip + udp) as u32
}

/// Whether the kernel forwards what comes in by an interface, as far as that can be told.
fn forwards(is_ipv6: bool, name: &str) -> bool {
    let family = if is_ipv6 { "ipv6" } else { "ipv4" };
    fs::read_to_string(format!("/proc/sys/net/{family}/conf/{name}/forwarding"))
        .map_or(true, |value| value.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tunnel_has_its_overhead() {
        let (v4, v6) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        let gue = Forward::Gue { port: 6080 };
        let sizes = [
            (Forward::Ipip, v4),
            (Forward::Ipip, v6),
            (gue, v4),
            (gue, v6),
        ];
        assert_eq!(sizes.map(|(f, a)| outer(f, a)), [20, 40, 28, 48]);
    }

    #[test]
    fn clients_send_what_the_other_interfaces_let_in() {
        let link = |ifindex, mtu| Link {
            ifindex,
            mtu,
            ..Link::default()
        };
        let links = [link(2, 1500), link(3, 9000), link(4, 1400)];
        assert_eq!(largest_from_clients(links.iter(), &links[0]), 9000);
        assert_eq!(largest_from_clients(links.iter(), &links[1]), 1500);
        assert_eq!(largest_from_clients(links[..1].iter(), &links[0]), 1500);
    }

    #[test]
    fn the_alarm_says_what_to_do() {
        let narrow = Narrow {
            what: "interface back".to_owned(),
            mtu: 1500,
            packets: 1500,
            outer: 28,
            forward: "gue".to_owned(),
        };
        assert_eq!(
            narrow.alarm(&["web/b1".to_owned()]),
            "interface back: MTU 1500 leaves no room for the 28 bytes of gue towards backend web/b1; \
             raise it to 1528, or lower the MSS"
        );
        let several = narrow.alarm(&["web/b1", "web/b2", "web/b3"].map(str::to_owned));
        assert!(several.contains("backend web/b1 and 2 more;"), "{several}");
    }
}

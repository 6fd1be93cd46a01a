//! A packet at random, for a configuration.

use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;

use super::{
    super::{
        recipe::{Ip, Network, Recipe, Sum, Transport},
        setup::{ForwardSetup, Listen, ServiceSetup, Setup},
        site::Side,
    },
    bytes, chance, one,
    setup::{VIPS, address, vip},
    weighted,
};
use crate::model::checksum;

/// The ports of clients. Few, so that flows come again.
pub(super) const CLIENT_PORTS: [u16; 5] = [40_000, 40_001, 1, 65_535, 80];

/// What a packet is meant to be.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// From a client to a service.
    Request,
    /// From a client to a VIP, but to another port or protocol.
    Astray,
    /// From a backend to a client.
    Reply,
    /// From anywhere to anywhere.
    Other,
    /// No IP packet, or one of another protocol.
    Noise,
}

/// A packet, and where it comes in.
pub fn packet(rng: &mut Rng, setup: &Setup) -> (Side, Recipe) {
    let has_dnat = setup
        .services
        .iter()
        .any(|service| service.forward == ForwardSetup::Dnat);
    let replies = if has_dnat { 20 } else { 3 };
    let role = weighted(
        rng,
        &[
            (60, Role::Request),
            (4, Role::Astray),
            (replies, Role::Reply),
            (3, Role::Other),
            (4, Role::Noise),
        ],
    );
    let network = network(rng, setup, role);
    let side = match role {
        Role::Reply => weighted(
            rng,
            &[(12, Side::Back), (1, Side::Front), (1, Side::Beside)],
        ),
        _ => weighted(
            rng,
            &[(12, Side::Front), (3, Side::Back), (1, Side::Beside)],
        ),
    };
    let tagged = if setup.vlan { 300 } else { 30 };
    let tags = if chance(rng, tagged) {
        let count = weighted(rng, &[(6, 1), (4, 2), (1, 3)]);
        let kinds = [0x8100, 0x88a8];
        (0..count)
            .map(|_| [one(rng, &kinds), rng.u16(..)])
            .collect()
    } else {
        Vec::new()
    };
    let mut recipe = Recipe {
        macs: [[2, 0, 0, 0, 9, 1], [2, 0, 0, 0, 9, 2]],
        tags,
        network,
        padding: weighted(rng, &[(12, 0), (2, 6), (1, 46), (1, 300)]),
        mutations: Vec::new(),
    };
    if chance(rng, 250) {
        recipe.mutations = bytes::mutations(rng, &recipe);
    }
    (side, recipe)
}

fn network(rng: &mut Rng, setup: &Setup, role: Role) -> Network {
    let service = match setup.services.len() {
        0 => None,
        count => Some(&setup.services[rng.usize(0..count)]),
    };
    match (role, service) {
        (Role::Request, Some(service)) => request(rng, setup, service),
        (Role::Astray, Some(service)) => astray(rng, setup, service),
        (Role::Reply, Some(service)) => reply(rng, setup, service),
        (Role::Noise, _) => bytes::noise(rng),
        _ => other(rng, setup),
    }
}

fn request(rng: &mut Rng, setup: &Setup, service: &ServiceSetup) -> Network {
    let Listen { udp, at } = one(rng, &service.listen);
    let to = match at.port() {
        0 => SocketAddr::new(at.ip(), one(rng, &[80, 7, 0, 53])),
        _ => at,
    };
    let source = if chance(rng, 30) {
        martian(rng, to.ip())
    } else {
        client(rng, to.is_ipv4())
    };
    let from = SocketAddr::new(source, one(rng, &CLIENT_PORTS));
    let mut ip = ip(rng, setup, from, to, udp);
    if service.forward == ForwardSetup::Dnat && !service.backends.is_empty() {
        let backend = one(rng, &service.backends);
        let port = backend.port.unwrap_or(to.port());
        let after = SocketAddr::new(backend.address, port);
        may_become_zero(rng, &mut ip, to, after);
    }
    Network::Ip(ip)
}

/// The checksum of a datagram, one of whose ends changes, may be the one that then comes out as zero.
fn may_become_zero(rng: &mut Rng, ip: &mut Ip, before: SocketAddr, after: SocketAddr) {
    if let Transport::Udp { sum, .. } = &mut ip.transport
        && chance(rng, 50)
    {
        let bytes = |end: SocketAddr| match end.ip() {
            IpAddr::V4(address) => [&address.octets()[..], &end.port().to_be_bytes()].concat(),
            IpAddr::V6(address) => [&address.octets()[..], &end.port().to_be_bytes()].concat(),
        };
        // The change backwards.
        *sum = Sum::Is(checksum::changed(0, &bytes(after), &bytes(before)));
    }
}

fn astray(rng: &mut Rng, setup: &Setup, service: &ServiceSetup) -> Network {
    let Listen { udp, at } = one(rng, &service.listen);
    let port = if chance(rng, 500) {
        one(rng, &[0, 81, 53, 8080])
    } else {
        at.port()
    };
    let udp = udp != chance(rng, 500);
    let from = SocketAddr::new(client(rng, at.is_ipv4()), one(rng, &CLIENT_PORTS));
    Network::Ip(ip(rng, setup, from, SocketAddr::new(at.ip(), port), udp))
}

fn reply(rng: &mut Rng, setup: &Setup, service: &ServiceSetup) -> Network {
    let Listen { udp, at } = one(rng, &service.listen);
    if service.backends.is_empty() {
        return other(rng, setup);
    }
    let backend = one(rng, &service.backends);
    let port = backend.port.unwrap_or(at.port());
    let port = if chance(rng, 50) { rng.u16(..) } else { port };
    let udp = udp != chance(rng, 30);
    let from = SocketAddr::new(backend.address, port);
    let to = destination(rng, backend.address.is_ipv4());
    let to = SocketAddr::new(to, one(rng, &CLIENT_PORTS));
    let mut ip = ip(rng, setup, from, to, udp);
    if service.forward == ForwardSetup::Dnat {
        may_become_zero(rng, &mut ip, from, at);
    }
    Network::Ip(ip)
}

fn other(rng: &mut Rng, setup: &Setup) -> Network {
    let ipv4 = rng.bool();
    let from = SocketAddr::new(client(rng, ipv4), rng.u16(..));
    let to = if chance(rng, 300) {
        vip(rng.u8(0..=VIPS), ipv4)
    } else {
        destination(rng, ipv4)
    };
    let udp = rng.bool();
    let to = SocketAddr::new(to, rng.u16(..));
    Network::Ip(ip(rng, setup, from, to, udp))
}

/// An address that clients have.
pub(super) fn client(rng: &mut Rng, ipv4: bool) -> IpAddr {
    match rng.u8(0..6) {
        0 if ipv4 => IpAddr::from([198, 51, 100, 7]),
        0 => IpAddr::from([0x2001, 0xdb8, 1, 2, 3, 4, 5, 6]),
        1 if ipv4 => IpAddr::from([223, 255, 255, 254]),
        1 => IpAddr::from([0xfec0, 0, 0, 0, 0, 0, 0, 1]),
        number => address(1, 8 + number, ipv4),
    }
}

/// An address that no client has, or nearly.
fn martian(rng: &mut Rng, vip: IpAddr) -> IpAddr {
    let of = if vip.is_ipv4() {
        [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "128.0.0.1",
            "1.0.0.1",
        ]
    } else {
        [
            "::",
            "::1",
            "::2",
            "::ffff:10.0.0.1",
            "::fffe:a00:1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fdff::1",
        ]
    };
    if chance(rng, 200) {
        return vip;
    }
    one(rng, &of).parse().expect("an address")
}

/// An address that replies go to: known, known but not resolved, far away, of this host, or of nobody.
fn destination(rng: &mut Rng, ipv4: bool) -> IpAddr {
    let near = |side: Side, number| side.address(number, ipv4);
    let far = |v4: [u8; 4], v6: [u16; 8]| {
        if ipv4 {
            IpAddr::from(v4)
        } else {
            IpAddr::from(v6)
        }
    };
    match rng.u32(0..20) {
        0..5 => near(Side::Front, 10),
        5..8 => near(Side::Front, 11),
        8 => near(Side::Front, 20),
        9 => near(Side::Back, 50),
        10 => near(Side::Narrow, 7),
        11 => near(Side::Narrow, 8),
        12 => near(Side::Beside, one(rng, &[8, 9])),
        13 => near(one(rng, &Side::ALL), one(rng, &[0, 1, 255])),
        14 | 15 => far([198, 51, 100, 7], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 7]),
        16 => far([203, 0, 113, 5], [0x2001, 0xdb8, 2, 0, 0, 0, 0, 5]),
        17 => far([192, 0, 2, 1], [0x2001, 0xdb8, 3, 0, 0, 0, 0, 1]),
        18 => far([224, 0, 0, 5], [0xff02, 0, 0, 0, 0, 0, 0, 1]),
        _ => near(Side::Front, rng.u8(2..255)),
    }
}

fn ip(rng: &mut Rng, setup: &Setup, from: SocketAddr, to: SocketAddr, udp: bool) -> Ip {
    let ports = [from.port(), to.port()];
    let transport = if udp {
        let sum = if chance(rng, 850) {
            Sum::Right
        } else {
            Sum::Is(0)
        };
        Transport::Udp { ports, sum }
    } else {
        Transport::Tcp {
            ports,
            flags: flags(rng),
            options: if chance(rng, 200) {
                vec![1; one(rng, &[4, 12, 40])]
            } else {
                Vec::new()
            },
        }
    };
    let mut ip = Ip {
        source: from.ip(),
        destination: to.ip(),
        hops: weighted(rng, &[(30, 64), (2, 255), (2, 2), (1, 1), (1, 0)]),
        traffic_class: if chance(rng, 300) { rng.u8(..) } else { 0 },
        dont_fragment: chance(rng, 500),
        fragment: if chance(rng, 40) {
            Some((one(rng, &[0, 0, 0, 1, 185, 0x1fff]), rng.bool()))
        } else {
            None
        },
        options: if chance(rng, 120) {
            vec![1; one(rng, &[4, 8, 40])]
        } else {
            Vec::new()
        },
        extensions: if chance(rng, 250) {
            bytes::extensions(rng)
        } else {
            Vec::new()
        },
        transport,
        payload: 0,
    };
    ip.payload = bytes::payload(rng, setup, &ip);
    ip
}

fn flags(rng: &mut Rng) -> u8 {
    weighted(
        rng,
        &[
            (30, 0x02),
            (40, 0x10),
            (6, 0x18),
            (6, 0x11),
            (4, 0x04),
            (3, 0x14),
            (3, 0x12),
            (2, 0xc2),
            (1, 0x03),
            (1, 0x06),
            (1, 0x16),
            (1, 0x01),
            (1, 0x00),
            (1, 0xff),
        ],
    )
}

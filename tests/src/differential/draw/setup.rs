//! A configuration at random.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use fastrand::Rng;

use super::{
    super::setup::{
        BackendSetup, ForwardSetup, HashSetup, Listen, ServiceSetup, Setup, TrackingSetup, WaySetup,
    },
    chance, one, state, weighted,
};

/// The primes that tables are of.
const SIZES: [u32; 9] = [2, 3, 5, 7, 13, 31, 61, 127, 251];

/// Ports that services listen at.
const PORTS: [u16; 5] = [80, 443, 53, 1, 65_535];

/// VIPs that services share.
pub(super) const VIPS: u8 = 4;

/// What a setup has to have.
#[derive(Clone, Copy, Debug)]
struct Style {
    ipv4: bool,
    ipv6: bool,
    udp: bool,
    forwards: [u32; 4],
}

/// A configuration, and the state of its tables.
pub fn setup(rng: &mut Rng) -> Setup {
    let style = Style {
        ipv4: true,
        ipv6: chance(rng, 650),
        udp: chance(rng, 700),
        // Not everything in each, since what is not in use is another program.
        forwards: [(); 4].map(|()| u32::from(chance(rng, 550))),
    };
    let style = Style {
        ipv4: !style.ipv6 || chance(rng, 850),
        ..style
    };
    let mut tunnel_sources = Vec::new();
    if chance(rng, 300) {
        let prefix = one(rng, &[8, 16, 20, 24, 31, 32]);
        tunnel_sources.push(format!("10.64.0.1/{prefix}"));
    }
    if chance(rng, 300) {
        let prefix = one(rng, &[32, 64, 96, 97, 112, 127, 128]);
        tunnel_sources.push(format!("fd00:64::1:0:1/{prefix}"));
    }
    let mut taken = BTreeSet::new();
    let count = weighted(rng, &[(3, 1), (4, 2), (3, 3), (2, 4)]);
    let services = (0..count)
        .filter_map(|number| service(rng, number, style, &mut taken))
        .collect();
    let (enough, few) = (1_000_000, [rng.u32(1..9), rng.u32(1..9)]);
    let mut setup = Setup {
        vlan: chance(rng, 400),
        front_faces_backends: chance(rng, 300),
        punts_are_read: chance(rng, 750),
        asks_first: chance(rng, 150),
        tunnel_sources,
        inserts: weighted(
            rng,
            &[
                (8, [enough, enough]),
                (1, [0, enough]),
                (1, [enough, 0]),
                (1, [0, 0]),
                (3, few),
            ],
        ),
        room: weighted(rng, &[(5, 4096), (1, 16), (1, 2)]),
        services,
        flows: Vec::new(),
    };
    if setup.always_tracks() {
        // That table forgets when it is full; which flow, nobody can tell.
        setup.room = 4096;
    }
    state::fill(rng, &mut setup);
    setup
}

fn service(
    rng: &mut Rng,
    number: u8,
    style: Style,
    taken: &mut BTreeSet<Listen>,
) -> Option<ServiceSetup> {
    let of = style.forwards;
    let all = [
        (1 + of[0] * 8, ForwardSetup::Dnat),
        (of[1] * 6, ForwardSetup::Dsr),
        (of[2] * 6, ForwardSetup::Ipip),
        (
            of[3] * 6,
            ForwardSetup::Gue(one(rng, &[6080, 6081, 1, 65_535])),
        ),
    ];
    let forward = weighted(rng, &all);
    let family = |rng: &mut Rng| match (style.ipv4, style.ipv6) {
        (true, true) => rng.bool(),
        (ipv4, _) => ipv4,
    };
    // `dnat` and `dsr` keep to one IP version; tunnels mix.
    let own = family(rng);
    let pick = |rng: &mut Rng| match forward {
        ForwardSetup::Dnat | ForwardSetup::Dsr => own,
        _ => family(rng),
    };
    let mut listen = Vec::new();
    for _ in 0..weighted(rng, &[(4, 1), (3, 2), (2, 3)]) {
        let ipv4 = pick(rng);
        let at = Listen {
            udp: style.udp && chance(rng, 400),
            at: SocketAddr::new(vip(rng.u8(0..VIPS), ipv4), port(rng, forward)),
        };
        // Replies are told by port and protocol.
        let is_same = |other: &Listen| (other.udp, other.at.port()) == (at.udp, at.at.port());
        if forward == ForwardSetup::Dnat && listen.iter().any(is_same) {
            continue;
        }
        if taken.insert(at) {
            listen.push(at);
        }
    }
    if listen.is_empty() {
        return None;
    }
    let with_port = forward == ForwardSetup::Dnat && listen.len() == 1 && chance(rng, 700);
    let count = weighted(rng, &[(1, 0), (3, 1), (4, 2), (8, 3), (3, 6)]);
    let backends = (0..count)
        .map(|index| {
            let ipv4 = match forward {
                ForwardSetup::Dnat | ForwardSetup::Dsr => own,
                _ => chance(rng, 500),
            };
            backend(rng, number, index, ipv4, with_port)
        })
        .collect();
    let room_for = |size: &&u32| **size >= u32::from(count);
    let sizes: Vec<u32> = SIZES.iter().filter(room_for).copied().collect();
    Some(ServiceSetup {
        forward,
        listen,
        hash: hash(rng),
        tracking: weighted(
            rng,
            &[
                (6, TrackingSetup::Transition),
                (3, TrackingSetup::Always),
                (1, TrackingSetup::Never),
            ],
        ),
        table_size: one(rng, &sizes),
        backends,
        slots: Vec::new(),
        old: None,
    })
}

fn backend(rng: &mut Rng, service: u8, index: u8, ipv4: bool, with_port: bool) -> BackendSetup {
    let octet = 11 + service * 8 + index;
    BackendSetup {
        address: address(2, octet, ipv4),
        port: with_port.then(|| one(rng, &[8080, 80, 1, 65_535])),
        way: WaySetup::Back,
        dead: false,
        drained: false,
        freed: false,
        admit: 0xffff,
        generation: 7,
        mtu: one(rng, &[1500, 1500, 1500, 1400, 1280, 9000, 65_535, 576, 0]),
    }
}

/// What a hash is over.
pub(super) fn hash(rng: &mut Rng) -> HashSetup {
    if chance(rng, 750) {
        return HashSetup::FiveTuple;
    }
    let ipv4 = one(rng, &[32, 31, 24, 16, 8, 1]);
    let ipv6 = one(rng, &[128, 127, 96, 65, 64, 48, 32, 1]);
    HashSetup::Source(ipv4, ipv6)
}

/// A VIP.
pub(super) fn vip(number: u8, ipv4: bool) -> IpAddr {
    address(0, 80 + number, ipv4)
}

/// 10.77.x.y or fd77:x::y.
pub(super) fn address(network: u8, octet: u8, ipv4: bool) -> IpAddr {
    if ipv4 {
        return IpAddr::V4(Ipv4Addr::new(10, 77, network, octet));
    }
    let (network, octet) = (u16::from(network), u16::from(octet));
    IpAddr::V6(Ipv6Addr::new(0xfd77, network, 0, 0, 0, 0, 0, octet))
}

fn port(rng: &mut Rng, forward: ForwardSetup) -> u16 {
    if forward != ForwardSetup::Dnat && chance(rng, 200) {
        return 0;
    }
    one(rng, &PORTS)
}

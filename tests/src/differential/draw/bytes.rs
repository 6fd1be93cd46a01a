//! What packets are filled with and spoiled by.

use fastrand::Rng;

use super::{
    super::{
        mutation::Mutation,
        recipe::{Ip, Network, Recipe, Transport},
        setup::Setup,
    },
    chance, one, weighted,
};

/// A frame that is not longer fits into one buffer of a test run.
const FRAME_MAX: usize = 3400;

/// The length of a payload. Where it decides, it is near the length that does.
pub(super) fn payload(rng: &mut Rng, setup: &Setup, ip: &Ip) -> usize {
    let length = match rng.u32(0..100) {
        0..40 => rng.usize(0..24),
        40..60 => rng.usize(0..600),
        60..65 => rng.usize(0..FRAME_MAX - 400),
        _ => 0,
    };
    let length = if chance(rng, 120) {
        near_an_mtu(rng, setup, ip).unwrap_or(length)
    } else {
        length
    };
    length.min(FRAME_MAX - 400)
}

/// The length that makes the packet as long as a tunnel's or a route's MTU allows, or one byte off.
fn near_an_mtu(rng: &mut Rng, setup: &Setup, ip: &Ip) -> Option<usize> {
    let backends = setup.services.iter().flat_map(|service| &service.backends);
    let mut all: Vec<usize> = backends.map(|backend| backend.mtu as usize).collect();
    // Those of routes, and of what can be given to the daemon.
    all.extend([1500, 2600, 1280, 2040]);
    let mtu = one(rng, &all);
    let outer = one(rng, &[0, 20, 28, 40, 48]);
    let transport = match &ip.transport {
        Transport::Tcp { options, .. } => 20 + options.len(),
        Transport::Udp { .. } => 8,
        Transport::Other(_) => 0,
    };
    let header = if ip.source.is_ipv4() {
        20 + ip.options.len()
    } else {
        let chain = ip.extensions.iter().map(|(_, bytes)| bytes.len() + 2);
        40 + chain.sum::<usize>() + ip.fragment.map_or(0, |_| 8)
    };
    (mtu + rng.usize(0..3)).checked_sub(1 + outer + transport + header)
}

/// Extension headers, most of them where they belong.
pub(super) fn extensions(rng: &mut Rng) -> Vec<(u8, Vec<u8>)> {
    let count = weighted(rng, &[(6, 1), (3, 2), (2, 3), (1, 4), (1, 5), (1, 6)]);
    (0..count)
        .map(|place| {
            let number = match (place, rng.u32(0..20)) {
                (0, 0..8) | (_, 0) => 0,
                (_, 1) => 44,
                (_, 2) => one(rng, &[50, 51, 135, 139, 140, 59]),
                (_, 3..8) => 43,
                _ => 60,
            };
            let length = match number {
                44 => 6,
                _ => weighted(rng, &[(8, 6), (3, 14), (1, 62)]),
            };
            // A fragment header of zeros is that of a whole packet.
            let fill = if number == 44 { 0 } else { 1 };
            (number, vec![fill; length])
        })
        .collect()
}

/// No packet that anybody forwards.
pub(super) fn noise(rng: &mut Rng) -> Network {
    let mut bytes = vec![0; rng.usize(0..80)];
    rng.fill(&mut bytes);
    let ether_type = one(
        rng,
        &[
            0x0806, 0x0800, 0x86dd, 0x88cc, 0x8847, 0x8100, 0x88a8, 0x9100, 0x0000, 46,
        ],
    );
    if let Some(first) = bytes.first_mut()
        && rng.bool()
    {
        *first = one(rng, &[0x45, 0x46, 0x4f, 0x60, 0x44, 0x65]);
    }
    Network::Other { ether_type, bytes }
}

/// One to three mutations of a recipe's frame. Headers are hit more often than payloads.
pub(super) fn mutations(rng: &mut Rng, recipe: &Recipe) -> Vec<Mutation> {
    let length = recipe.frame().len();
    let count = weighted(rng, &[(6, 1), (2, 2), (1, 3)]);
    (0..count).map(|_| mutation(rng, recipe, length)).collect()
}

fn mutation(rng: &mut Rng, recipe: &Recipe, length: usize) -> Mutation {
    let ip = 14 + 4 * recipe.tags.len();
    let header = length.min(ip + 60);
    let at = |rng: &mut Rng| {
        if chance(rng, 900) {
            rng.usize(0..header)
        } else {
            rng.usize(0..length)
        }
    };
    match rng.u32(0..100) {
        0..25 => Mutation::Flip {
            at: at(rng),
            bits: 1 << rng.u32(0..8),
        },
        25..32 => Mutation::Flip {
            at: at(rng),
            bits: rng.u8(..),
        },
        32..40 => Mutation::Word {
            at: at(rng),
            value: one(rng, &[0, 1, 7, 8, 19, 20, 39, 40, 41, 0x7fff, 0xffff]),
        },
        40..55 => length_field(rng, ip, length),
        // The first byte of the IP header: version and length.
        55..60 => Mutation::Flip {
            at: ip,
            bits: one(rng, &[0x01, 0x02, 0x04, 0x08, 0x20, 0x10, 0xf0]),
        },
        60..80 => Mutation::Cut(if chance(rng, 700) {
            rng.usize(0..=header)
        } else {
            length.saturating_sub(rng.usize(0..12))
        }),
        80..86 => Mutation::Pad(rng.usize(1..40)),
        86..93 => {
            let mut bytes = vec![0; one(rng, &[1, 2, 4, 8])];
            rng.fill(&mut bytes);
            let at = at(rng);
            Mutation::Insert { at, bytes }
        }
        _ => Mutation::Remove {
            at: at(rng),
            count: one(rng, &[1, 2, 4, 8, 20]),
        },
    }
}

/// A length or a checksum, or a field beside one.
fn length_field(rng: &mut Rng, ip: usize, length: usize) -> Mutation {
    // IPv4: total length, fragment, TTL and protocol, checksum; UDP's length and checksum behind an
    // IPv4 and an IPv6 header; TCP's offset and flags; IPv6: payload length, next header.
    let at = ip + one(rng, &[2, 2, 4, 4, 6, 8, 10, 24, 26, 32, 36, 44, 46, 52, 56]);
    let rest = length.saturating_sub(ip) as u16;
    let value = match rng.u32(0..4) {
        0 => rest.wrapping_add(rng.u16(0..5)).wrapping_sub(2),
        1 => rest
            .saturating_sub(one(rng, &[20, 40, 48]))
            .wrapping_add(rng.u16(0..5))
            .wrapping_sub(2),
        2 => rng.u16(0..64),
        _ => rng.u16(..),
    };
    Mutation::Word { at, value }
}

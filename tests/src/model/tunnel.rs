//! Outer headers (rules 13 and 15 to 18).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ipv4::{self, Ipv4},
    ipv6::{self, Ipv6},
    link::ether_type,
    transport::protocol,
    verdict::{Reason, Verdict, drop},
    world::{Backend, Forward, Tunnel, World},
};

/// TTL or hop limit of an outer header.
const HOPS: u8 = 64;

/// Bytes of a UDP header.
const UDP_LENGTH: usize = 8;

/// The first of the source ports of GUE.
const PORTS_FIRST: u16 = 0xc000;

/// What is wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// IPv4, or IPv6.
    pub is_ipv4: bool,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// The packet.
    pub packet: Vec<u8>,
}

/// Whether a packet of so many bytes can be wrapped.
///
/// # Errors
/// It is too large for the way, or the driver has no room.
pub fn check(
    world: &World,
    forward: Forward,
    backend: &Backend,
    bytes: usize,
) -> Result<(), Verdict> {
    let outer = outer_length(forward, backend.address);
    if bytes + outer > backend.tunnel.mtu {
        return Err(drop(Reason::TunnelTooBig));
    }
    if outer > world.headroom {
        return Err(drop(Reason::NoHeadroom));
    }
    Ok(())
}

/// The EtherType of the outer header, and the outer packet.
pub fn wrap(forward: Forward, backend: &Backend, entropy: u32, inner: &Inner) -> (u16, Vec<u8>) {
    let Tunnel { source, prefix, .. } = backend.tunnel;
    let (next, source, payload) = match forward {
        Forward::Gue { port } => {
            let from = PORTS_FIRST + (entropy & 0x3fff) as u16;
            let length = UDP_LENGTH + inner.packet.len();
            let header = udp_header(from, port, length);
            (
                protocol::UDP,
                source,
                [header, inner.packet.clone()].concat(),
            )
        }
        _ => {
            let next = if inner.is_ipv4 {
                protocol::IPV4
            } else {
                protocol::IPV6
            };
            (next, spread(source, prefix, entropy), inner.packet.clone())
        }
    };
    let header = match (source, backend.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = ipv4::LENGTH + payload.len();
            let header = Ipv4 {
                type_of_service: inner.traffic_class,
                total_length: u16::try_from(total).expect("no longer than the way's MTU"),
                identification: 0,
                fragment: ipv4::DONT_FRAGMENT,
                ttl: HOPS,
                protocol: next,
                checksum: 0,
                source,
                destination,
                options: Vec::new(),
            };
            header.summed().bytes()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6 {
            traffic_class: inner.traffic_class,
            flow_label: entropy & 0xf_ffff,
            payload_length: u16::try_from(payload.len()).expect("no longer than the way's MTU"),
            next_header: next,
            hop_limit: HOPS,
            source,
            destination,
            extensions: Vec::new(),
        }
        .bytes(),
        // The kernel knows no such way.
        (source, destination) => panic!("a tunnel from {source} to {destination}"),
    };
    let outer = match backend.address {
        IpAddr::V4(_) => ether_type::IPV4,
        IpAddr::V6(_) => ether_type::IPV6,
    };
    (outer, [header, payload].concat())
}

/// A UDP header without a checksum.
fn udp_header(source: u16, destination: u16, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).expect("no longer than the way's MTU");
    let words = [source, destination, length, 0];
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The source with the bits behind its prefix, at most the last 32, from the flow hash.
fn spread(source: IpAddr, prefix: u8, entropy: u32) -> IpAddr {
    let low = |bits: u8| match bits {
        0 => 0,
        bits => u32::MAX >> (32 - u32::from(bits.min(32))),
    };
    match source {
        IpAddr::V4(address) => {
            let mask = low(32_u8.saturating_sub(prefix));
            let bits = u32::from(address) & !mask | entropy & mask;
            IpAddr::V4(Ipv4Addr::from(bits))
        }
        IpAddr::V6(address) => {
            let mask = u128::from(low(128_u8.saturating_sub(prefix)));
            let bits = u128::from(address) & !mask | u128::from(entropy) & mask;
            IpAddr::V6(Ipv6Addr::from(bits))
        }
    }
}

fn outer_length(forward: Forward, backend: IpAddr) -> usize {
    let ip = if backend.is_ipv4() {
        ipv4::LENGTH
    } else {
        ipv6::LENGTH
    };
    match forward {
        Forward::Gue { .. } => ip + UDP_LENGTH,
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_takes_the_bits_behind_the_prefix() {
        let spread = |source: &str, prefix, entropy| {
            spread(source.parse().unwrap(), prefix, entropy).to_string()
        };
        assert_eq!(spread("10.64.0.1", 32, 0x1234_5678), "10.64.0.1");
        assert_eq!(spread("10.64.0.1", 16, 0x1234_5678), "10.64.86.120");
        assert_eq!(spread("10.64.0.1", 31, 0x1234_5678), "10.64.0.0");
        assert_eq!(spread("10.64.0.1", 0, 0x0102_0304), "1.2.3.4");
        assert_eq!(spread("fd00:64::1", 128, 0x1234_5678), "fd00:64::1");
        assert_eq!(spread("fd00:64::1", 112, 0x1234_5678), "fd00:64::5678");
        assert_eq!(spread("fd00:64::1", 64, 0x1234_5678), "fd00:64::1234:5678");
        assert_eq!(
            spread("fd00:64::5:0:0:1", 64, 0x1234_5678),
            "fd00:64::5:0:1234:5678"
        );
    }
}

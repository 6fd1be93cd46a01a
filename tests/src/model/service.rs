//! Whose packet it is, and whether a client may send it (rules 7 and 8).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    parse::Packet,
    verdict::{Reason, Verdict, drop},
    world::{Endpoint, World, cut},
};

/// The service that listens at a packet's destination: at its port, or at every port.
pub fn find(world: &World, packet: &Packet) -> Option<usize> {
    let at = |port| {
        let endpoint = Endpoint {
            address: packet.ip.destination(),
            port,
            protocol: packet.transport.protocol,
        };
        world.listeners.get(&endpoint).copied()
    };
    at(packet.transport.destination_port()).or_else(|| at(0))
}

/// Whether a client may send this to a VIP.
///
/// # Errors
/// Why not.
pub fn check(packet: &Packet) -> Result<(), Verdict> {
    if packet.is_first_fragment {
        return Err(drop(Reason::Fragment));
    }
    if packet.transport.contradicts_itself() {
        return Err(drop(Reason::Malformed));
    }
    if is_martian(packet.ip.source(), packet.ip.destination()) {
        return Err(drop(Reason::MartianSource));
    }
    Ok(())
}

/// Whether no client can have this address.
fn is_martian(source: IpAddr, destination: IpAddr) -> bool {
    let v4 = |a, prefix| (IpAddr::V4(Ipv4Addr::new(a, 0, 0, 0)), prefix);
    let v6 = |address: Ipv6Addr, prefix| (IpAddr::V6(address), prefix);
    let nobodys = [
        v4(0, 8),
        v4(127, 8),
        v4(224, 3),
        v6(Ipv6Addr::UNSPECIFIED, 128),
        v6(Ipv6Addr::LOCALHOST, 128),
        v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
        v6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    ];
    source == destination
        || nobodys
            .iter()
            .any(|(network, prefix)| cut(source, *prefix) == *network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martians_are_told_from_clients() {
        let vip4: IpAddr = "10.77.0.80".parse().unwrap();
        let vip6: IpAddr = "fd77::80".parse().unwrap();
        for (source, martian) in [
            ("0.0.0.0", true),
            ("0.255.255.255", true),
            ("1.0.0.0", false),
            ("126.255.255.255", false),
            ("127.0.0.1", true),
            ("128.0.0.0", false),
            ("223.255.255.255", false),
            ("224.0.0.1", true),
            ("240.0.0.1", true),
            ("255.255.255.255", true),
            ("10.77.0.80", true),
            ("10.77.0.81", false),
            ("::", true),
            ("::1", true),
            ("::2", false),
            ("::ffff:10.0.0.1", true),
            ("::fffe:10.0.0.1", false),
            ("fe80::1", true),
            ("febf:ffff::1", true),
            ("fec0::1", false),
            ("fe7f::1", false),
            ("ff02::1", true),
            ("fd77::80", true),
            ("fd77::10", false),
        ] {
            let source: IpAddr = source.parse().unwrap();
            let vip = if source.is_ipv4() { vip4 } else { vip6 };
            assert_eq!(is_martian(source, vip), martian, "{source}");
        }
    }
}

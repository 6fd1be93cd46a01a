//! Addresses of listeners and backends: how they are written, and which ones packets can go to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use crate::{
    config::error::quote,
    model::{Listener, Protocol},
};

/// An address, and a port where one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The address.
    pub(super) address: IpAddr,
    /// 0 means every port.
    pub(super) port: Option<u16>,
}

/// One of `listen`, such as `tcp://203.0.113.80:80`. Errors are for people.
pub(super) fn listener(text: &str) -> Result<Listener, String> {
    let Some((protocol, rest)) = text.split_once("://") else {
        return Err(format!(
            "{} names no protocol, write tcp://ADDRESS:PORT or udp://ADDRESS:PORT",
            quote(text)
        ));
    };
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => {
            let protocol = quote(protocol);
            return Err(format!(
                "protocol {protocol} is unknown, use tcp:// or udp://"
            ));
        }
    };
    let Endpoint { address, port } = endpoint(rest)?;
    if let Some(why) = why_no_vip(address) {
        return Err(format!(
            "{address} {why}, use an address that clients can be routed to"
        ));
    }
    let Some(port) = port else {
        let example = SocketAddr::new(address, 80);
        return Err(format!(
            "{} has no port, write it as in tcp://{example}",
            quote(text)
        ));
    };
    Ok(Listener {
        protocol,
        address: SocketAddr::new(address, port),
    })
}

/// A backend's address, such as `10.0.1.11:8080` or `10.0.1.11`. Errors are for people.
pub(super) fn backend(text: &str) -> Result<Endpoint, String> {
    if let Some((_, rest)) = text.split_once("://") {
        return Err(format!(
            "{} is not a backend's address, write {} alone",
            quote(text),
            quote(rest)
        ));
    }
    let endpoint = endpoint(text)?;
    let Endpoint { address, port } = endpoint;
    if port == Some(0) {
        return Err(
            "port 0 is no backend's: name its port, or none to keep the listener's".to_owned(),
        );
    }
    // A backend on the same link may well have an IPv4 link-local address; a VIP is routed to.
    match why_no_unicast(address) {
        Some(why) => Err(format!("{address} {why}, use an address of the backend")),
        None => Ok(endpoint),
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Endpoint {
            address: address.into(),
            port: None,
        });
    }
    if let Ok(socket) = text.parse::<SocketAddrV4>() {
        return Ok(Endpoint {
            address: (*socket.ip()).into(),
            port: Some(socket.port()),
        });
    }
    if text.starts_with('[') || text.matches(':').count() > 1 {
        let (address, port) = ipv6(text)?;
        return match address.to_ipv4_mapped() {
            Some(mapped) => Err(format!(
                "{} is an IPv4-mapped address, write {mapped}",
                quote(text)
            )),
            None => Ok(Endpoint {
                address: address.into(),
                port,
            }),
        };
    }
    if text.contains(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!(
            "{} is not an address, names are not resolved: write the address",
            quote(text)
        ));
    }
    Err(format!(
        "{} is not an address and port, write it as in 192.0.2.1:80 or [2001:db8::1]:80",
        quote(text)
    ))
}

/// In brackets, which a port has to follow; or without either.
fn ipv6(text: &str) -> Result<(Ipv6Addr, Option<u16>), String> {
    let wrong = || {
        format!(
            "{} is not an IPv6 address and port, write it as in [2001:db8::1]:80",
            quote(text)
        )
    };
    if text.contains('%') {
        return Err(format!(
            "{} names a zone, which only a link-local address needs: \
             use an address that can be routed to",
            quote(text)
        ));
    }
    let Some(bracketed) = text.strip_prefix('[') else {
        let address = text.parse().map_err(|_| wrong())?;
        return match without_last_number(text) {
            Some((shorter, port)) => Err(format!(
                "{} is ambiguous, write [{shorter}]:{port} or [{text}]",
                quote(text)
            )),
            None => Ok((address, None)),
        };
    };
    let (address, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
    let address = address.parse().map_err(|_| wrong())?;
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((address, None)),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Ok((address, Some(port.parse().map_err(|_| wrong())?)))
        }
        _ => Err(wrong()),
    }
}

/// An unbracketed address whose last number may be meant as a port, apart.
fn without_last_number(text: &str) -> Option<(Ipv6Addr, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    Some((address.parse().ok()?, port.parse().ok()?))
}

fn why_no_vip(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if link_local {
        Some("is link-local")
    } else {
        why_no_unicast(address)
    }
}

/// Why no host can be reached by this address.
pub(crate) fn why_no_unicast(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => why_no_unicast_ipv4(address),
        IpAddr::V6(address) => why_no_unicast_ipv6(address),
    }
}

fn why_no_unicast_ipv4(address: Ipv4Addr) -> Option<&'static str> {
    let [network, ..] = address.octets();
    if address.is_unspecified() {
        Some("is the unspecified address")
    } else if network == 0 {
        Some("is in 0.0.0.0/8, which is never a destination (RFC 1122, section 3.2.1.3)")
    } else if address.is_loopback() {
        Some("is a loopback address")
    } else if address.is_multicast() {
        Some("is a multicast address")
    } else if address.is_broadcast() {
        Some("is the broadcast address")
    } else {
        None
    }
}

fn why_no_unicast_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("is the unspecified address")
    } else if address.is_loopback() {
        Some("is a loopback address")
    } else if address.is_multicast() {
        Some("is a multicast address")
    } else if address.is_unicast_link_local() {
        Some("is link-local: it means nothing without a zone, and zones are not supported")
    } else if address.to_ipv4_mapped().is_some() {
        Some("is an IPv4-mapped address")
    } else if u128::from(address) >> 32 == 0 {
        Some("is an IPv4-compatible address, which nothing routes (RFC 4291, section 2.5.5.1)")
    } else {
        None
    }
}

//! Addresses of listeners and backends: how they are written, and which ones packets can go to.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::{
    config::error::quote,
    model::{Listener, Protocol},
};

/// An address, and a port where one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The address.
    pub(super) address: Ipv4Addr,
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
        return Err(format!(
            "{} has no port, write it as in tcp://{address}:80",
            quote(text)
        ));
    };
    Ok(Listener {
        protocol,
        address: SocketAddr::from((address, port)),
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
    // A backend on the same link may well have a link-local address; a VIP is routed to.
    match why_no_unicast(address) {
        Some(why) => Err(format!("{address} {why}, use an address of the backend")),
        None => Ok(endpoint),
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Endpoint {
            address,
            port: None,
        });
    }
    if let Ok(socket) = text.parse::<SocketAddrV4>() {
        return Ok(Endpoint {
            address: *socket.ip(),
            port: Some(socket.port()),
        });
    }
    if let Some(address) = ipv6(text) {
        return Err(match address.to_ipv4_mapped() {
            Some(mapped) => format!("{} is an IPv4-mapped address, write {mapped}", quote(text)),
            None => format!("{}: IPv6 is not supported yet", quote(text)),
        });
    }
    if text.contains(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!(
            "{} is not an IPv4 address, names are not resolved: write the address",
            quote(text)
        ));
    }
    Err(format!(
        "{} is not an IPv4 address and port, write it as in 192.0.2.1:80",
        quote(text)
    ))
}

fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let bare = bare.unwrap_or(text).parse().ok();
    bare.or_else(|| Some(*text.parse::<SocketAddrV6>().ok()?.ip()))
}

fn why_no_vip(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_link_local() {
        Some("is link-local")
    } else {
        why_no_unicast(address)
    }
}

fn why_no_unicast(address: Ipv4Addr) -> Option<&'static str> {
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

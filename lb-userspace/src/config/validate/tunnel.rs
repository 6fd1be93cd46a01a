//! `tunnel_source_ipv4` and `tunnel_source_ipv6`: an address, and a prefix length where one is written;
//! and whom the addresses that they stand for must not belong to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{address::why_no_unicast, service::Draft};
use crate::{
    config::{
        error::quote,
        report::{Placed, Report},
    },
    model::{Daemon, Forward, TunnelSource},
};

/// Shorter, and the hash would choose the network.
const SHORTEST_PREFIX: u8 = 8;

/// So many of the last bits of an address come from the hash at most.
const HASHED: u8 = 32;

/// What an address of a family is and looks like.
pub(super) trait Family: FromStr + Copy + Into<IpAddr> + fmt::Display {
    /// The family's name.
    const NAME: &'static str;
    /// Bits of an address.
    const BITS: u8;
    /// How the key may be written.
    const EXAMPLE: &'static str;
    /// The key.
    const KEY: &'static str;

    /// The address, if it is of this family.
    fn of(address: IpAddr) -> Option<Self>;

    /// As a number, in the last bits.
    fn number(self) -> u128;
}

impl Family for Ipv4Addr {
    const NAME: &'static str = "IPv4";
    const BITS: u8 = 32;
    const EXAMPLE: &'static str = "10.64.0.1/16";
    const KEY: &'static str = "tunnel_source_ipv4";

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    fn number(self) -> u128 {
        self.to_bits().into()
    }
}

impl Family for Ipv6Addr {
    const NAME: &'static str = "IPv6";
    const BITS: u8 = 128;
    const EXAMPLE: &'static str = "fd00:64::1/64";
    const KEY: &'static str = "tunnel_source_ipv6";

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        }
    }

    fn number(self) -> u128 {
        self.to_bits()
    }
}

/// Where outer headers come from.
pub(super) fn source<A: Family>(
    text: &Placed<String>,
    report: &mut Report<'_>,
) -> Option<TunnelSource<A>> {
    match read(&text.value) {
        Ok(source) => Some(source),
        Err(message) => {
            report.error(text.spot.clone(), message);
            None
        }
    }
}

fn read<A: Family>(text: &str) -> Result<TunnelSource<A>, String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<A>() else {
        return Err(format!(
            "{} is not an {} address, write it as in {}",
            quote(text),
            A::NAME,
            A::EXAMPLE
        ));
    };
    if let Some(why) = why_no_unicast(address.into()) {
        return Err(format!(
            "{address} {why}, use an address that backends may get packets from"
        ));
    }
    let prefix = match prefix.map(str::parse) {
        None => A::BITS,
        Some(Ok(prefix)) if (SHORTEST_PREFIX..=A::BITS).contains(&prefix) => prefix,
        Some(_) => {
            return Err(format!(
                "the prefix length of {} is out of range, use /{SHORTEST_PREFIX} to /{}",
                quote(text),
                A::BITS
            ));
        }
    };
    Ok(TunnelSource { address, prefix })
}

/// No host takes a packet that comes from one of its own addresses, and a backend has the VIPs.
pub(super) fn sources_are_nobodys(daemon: &Daemon, services: &[Draft], report: &mut Report<'_>) {
    for service in services {
        if let Some(source) = daemon.tunnel_source_ipv4 {
            source_is_nobodys(source, service, report);
        }
        if let Some(source) = daemon.tunnel_source_ipv6 {
            source_is_nobodys(source, service, report);
        }
    }
}

fn source_is_nobodys<A: Family>(source: TunnelSource<A>, service: &Draft, report: &mut Report<'_>) {
    let kept = match service.forward {
        Some(Forward::Ipip) => source.prefix.max(A::BITS - HASHED),
        Some(Forward::Gue { .. }) => A::BITS,
        Some(Forward::Dnat | Forward::Dsr) | None => return,
    };
    let backends = service.backends.iter().filter_map(|draft| {
        let Placed { value, spot } = &draft.backend;
        Some((A::of(value.address)?, spot))
    });
    let mut backends = backends.peekable();
    if backends.peek().is_none() {
        // No outer header is of this family.
        return;
    }
    let vips = service.listeners.iter().filter_map(|listener| {
        let Placed { value, spot } = listener;
        Some((A::of(value.address.ip())?, spot))
    });
    for (address, spot) in backends.chain(vips) {
        let differ = address.number() ^ source.address.number();
        if differ.checked_shr((A::BITS - kept).into()).unwrap_or(0) == 0 {
            let message = format!(
                "{address} is in {} = \"{}/{kept}\", and no host takes packets that come from its \
                 own address: use a source that nobody else has",
                A::KEY,
                source.address
            );
            report.error(spot.clone(), message);
        }
    }
}

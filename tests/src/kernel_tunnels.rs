//! The kernel's own devices at the end of tunnels, set up on backends as docs/CONFIGURATION.md has it: a
//! second witness, beside `sluice decap`, of what arrives there. Needs the modules `ipip`, `sit`,
//! `ip6_tunnel` and `fou`.

use anyhow::{Context, Result};

use crate::{
    host::Host,
    mode::Family::{Ipv4, Ipv6},
    netlink::LinkCounters,
    packets::GUE_PORT,
    topology::Backend,
    ways::Way,
};

/// Those of the modules, one in every namespace: for IPv4 and for IPv6 packets in IPv4.
const IPIP: &str = "tunl0";
const SIT: &str = "sit0";
/// Of our own, for both in IPv6.
const IN_IPV6: &str = "sluice6";

/// All of the devices.
pub const DEVICES: [&str; 3] = [IPIP, SIT, IN_IPV6];

/// From now on its kernel takes packets out of both kinds of tunnels, of either family.
pub fn start(backend: &Backend) -> Result<()> {
    let (host, local) = (&backend.host, backend.at(Ipv6).ip().to_string());
    let in_ipv6 = ["-6", "tunnel", "add", IN_IPV6, "mode", "any"];
    host.ip(&[&in_ipv6[..], &["local", &local, "remote", "::"]].concat())?;
    for device in DEVICES {
        host.set_up(device, true)?;
    }
    // What comes out of UDP goes to the same devices.
    let port = GUE_PORT.to_string();
    host.ip(&["fou", "add", "port", &port, "gue"])?;
    host.ip(&["fou", "add", "port", &port, "gue", "-6"])
}

/// The device that packets of a way come out of.
pub const fn device(way: Way) -> &'static str {
    match (way.vip, way.backends) {
        (Ipv4, Ipv4) => IPIP,
        (Ipv6, Ipv4) => SIT,
        (_, Ipv6) => IN_IPV6,
    }
}

/// What a host's devices have taken out so far, in the order of [`DEVICES`].
pub fn counters(host: &Host) -> Result<[LinkCounters; 3]> {
    let mut all = [LinkCounters::default(); 3];
    for (counters, device) in all.iter_mut().zip(DEVICES) {
        *counters = host.link(device).context("looking at tunnels")?.counters;
    }
    Ok(all)
}

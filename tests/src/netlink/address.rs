//! Addresses.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context, Result};
use rtnetlink::packet_route::address::AddressHeaderFlags;

use super::{link, with};
use crate::poll;

/// Adds an address. An IPv6 one is usable at once, without asking whether somebody else has it; on
/// other interfaces than `lo` the host is heard of when this returns, where the interface is up.
pub fn add_address(interface: &str, address: IpAddr, prefix: u8) -> Result<()> {
    let link = link(interface)?;
    with(async |handle| {
        let mut request = handle.address().add(link.index, address, prefix);
        if address.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        Ok(request.execute().await?)
    })
    .with_context(|| format!("adding {address}/{prefix} to {interface}"))?;
    match address {
        IpAddr::V6(address) if link.carrier && interface != "lo" => wait(interface, address),
        _ => Ok(()),
    }
}

/// The kernel joins the group in which neighbours ask for an address (RFC 4861, section 7.2.1) only
/// some time after the address is there, and until then misses their questions.
fn wait(interface: &str, address: Ipv6Addr) -> Result<()> {
    let [.., a, b, c] = address.octets();
    let group = format!("ff0200000000000000000001ff{a:02x}{b:02x}{c:02x}");
    let what = format!("{interface} to hear who asks for {address}");
    poll::until_true(&what, Duration::from_secs(5), || {
        // The namespace of this thread, which need not be the process's.
        let groups = fs::read_to_string("/proc/thread-self/net/igmp6").unwrap_or_default();
        groups.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            words.next() == Some(interface) && words.next() == Some(&group)
        })
    })
}

//! A network in a VLAN: every host has the kernel's VLAN devices, and its addresses there.

use anyhow::{Context, Result};

use crate::{capture::Tag, host::Host, netlink};

/// The length of a tag.
const TAG: u32 = 4;

/// The device that has the addresses of `interface`: in a VLAN a new one above it, whose frames have all of
/// `tags` there, else itself.
pub(super) fn above(host: &Host, interface: &str, tags: &[Tag]) -> Result<String> {
    let mut parent = interface.to_owned();
    for tag in tags {
        let name = format!("{parent}.{}", tag.id);
        host.run(|| add(&name, &parent, *tag))
            .with_context(|| format!("a VLAN on {interface} of {}", host.name()))?;
        parent = name;
    }
    Ok(parent)
}

fn add(name: &str, parent: &str, tag: Tag) -> Result<()> {
    netlink::add_vlan(name, parent, tag)?;
    // A veth carries one tag more than its MTU says, not two.
    netlink::set_mtu(name, netlink::link(parent)?.mtu - TAG)?;
    netlink::set_up(name, true)
}

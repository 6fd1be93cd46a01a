//! By which port packets leave that the kernel would send out of an interface: that of the interface
//! itself, or for a VLAN device that of the interface below, where frames have the tag.

use std::collections::BTreeMap;

use crate::{controller::state::Controller, model::Interface, neighbor::Link};

/// Tags that the program steps over, and keeps.
const TAGS: usize = 2;

/// The interface that frames leave by which are sent out of `ifindex`: down through VLAN devices.
pub(in crate::controller) fn lowest(links: &BTreeMap<u32, Link>, ifindex: u32) -> Option<&Link> {
    let mut link = links.get(&ifindex)?;
    for _ in 0..TAGS {
        match link.parent {
            Some(parent) if is_vlan(link) => link = links.get(&parent)?,
            _ => break,
        }
    }
    Some(link)
}

/// The VLAN devices above an interface, by index, with the name of the interface.
fn above(links: &BTreeMap<u32, Link>) -> impl Iterator<Item = (u32, &Link)> {
    let vlans = links.values().filter(|link| is_vlan(link));
    vlans.filter_map(|vlan| Some((vlan.ifindex, lowest(links, vlan.ifindex)?)))
}

/// Whether it is a VLAN device.
pub(in crate::controller) fn is_vlan(link: &Link) -> bool {
    link.kind.as_deref() == Some("vlan")
}

impl Controller {
    /// The port of an interface, or of the one below a VLAN device: packets that come in with the tag keep
    /// it, so they leave with it. Only where tags are looked behind.
    pub(in crate::controller) fn egress_port(&self, ifindex: u32) -> Option<u16> {
        self.dataplane.port(ifindex).or_else(|| {
            let lowest = lowest(&self.links, ifindex)?;
            self.looks_behind_tags(lowest)
                .then(|| self.dataplane.port(lowest.ifindex))?
        })
    }

    fn looks_behind_tags(&self, link: &Link) -> bool {
        let mut interfaces = self.model.interfaces.iter();
        interfaces.any(|Interface { name, vlan, .. }| *vlan && *name == link.name)
    }

    /// Tells the program of the VLAN devices above its interfaces: the kernel names these where it is asked
    /// for the way of a reply.
    pub(in crate::controller) fn alias_vlans(&mut self) {
        let aliases = above(&self.links)
            .filter(|(_, lowest)| self.looks_behind_tags(lowest))
            .filter_map(|(vlan, lowest)| Some((vlan, self.dataplane.port(lowest.ifindex)?)))
            .collect();
        if let Err(error) = self.dataplane.alias(&aliases) {
            log::error!("VLAN devices: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> BTreeMap<u32, Link> {
        let link = |ifindex, kind: &str, parent| Link {
            ifindex,
            kind: Some(kind.to_owned()),
            parent,
            ..Link::default()
        };
        let links = [
            link(2, "veth", Some(99)),
            link(3, "vlan", Some(2)),
            link(4, "vlan", Some(3)),
            link(5, "vlan", Some(4)),
            link(6, "vlan", None),
            link(7, "macvlan", Some(2)),
        ];
        links.into_iter().map(|link| (link.ifindex, link)).collect()
    }

    #[test]
    fn vlan_devices_lead_to_what_is_below_them() {
        let links = links();
        let lowest = |ifindex| lowest(&links, ifindex).map(|link| link.ifindex);
        assert_eq!(lowest(2), Some(2));
        assert_eq!(lowest(3), Some(2));
        assert_eq!(lowest(4), Some(2));
        assert_eq!(lowest(5), Some(3), "a third tag is not stepped over");
        assert_eq!(lowest(6), Some(6), "its parent is elsewhere");
        assert_eq!(lowest(7), Some(7), "it has its own address");
        assert_eq!(lowest(99), None);
        let above: Vec<_> = above(&links).map(|(v, link)| (v, link.ifindex)).collect();
        assert_eq!(above, [(3, 2), (4, 2), (5, 3), (6, 6)]);
    }
}

//! Devices that only stand for others: whatever is attached to them misses packets, or meets them
//! too late. Pure.

use crate::neighbor::Link;

/// A device that stands for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    /// With its article, to follow "is".
    pub(super) what: &'static str,
    /// What to attach to, to follow "attach to".
    pub(super) instead: String,
}

/// Decides by the kind of the device (`IFLA_INFO_KIND`); others, bridges and macvlans among them, are
/// `None`.
pub(super) fn of(link: &Link, links: &[Link]) -> Option<StandIn> {
    let above = |what| StandIn {
        what,
        instead: parent(link, links),
    };
    let made_of = |what| StandIn {
        what,
        instead: members(link, links),
    };
    Some(match link.kind.as_deref()? {
        "vlan" => above("a VLAN device"),
        "ipvlan" => above("an ipvlan device"),
        "bond" => made_of("a bond device"),
        "team" => made_of("a team device"),
        "vrf" => made_of("a VRF device"),
        _ => return None,
    })
}

fn parent(link: &Link, links: &[Link]) -> String {
    let parent = link
        .parent
        .and_then(|index| links.iter().find(|other| other.ifindex == index));
    match parent {
        // One stand-in above another: a VLAN on a bond.
        Some(parent) => match of(parent, links) {
            Some(StandIn { instead, .. }) => instead,
            None => format!("its parent {}", parent.name),
        },
        None => "its parent, which is in another network namespace".to_owned(),
    }
}

fn members(link: &Link, links: &[Link]) -> String {
    let names: Vec<_> = links
        .iter()
        .filter(|other| other.controller == Some(link.ifindex))
        .map(|other| other.name.as_str())
        .collect();
    match names.as_slice() {
        [] => "its members; it has none yet".to_owned(),
        [one] => format!("its member {one}"),
        names => format!("its members {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, ifindex: u32, kind: &str) -> Link {
        Link {
            ifindex,
            name: name.to_owned(),
            kind: Some(kind.to_owned()),
            ..Link::default()
        }
    }

    /// Two cards, their bond, a VLAN on one of the cards, a VLAN on the bond.
    fn links() -> Vec<Link> {
        let card = |name, ifindex, controller| Link {
            kind: None,
            controller,
            ..link(name, ifindex, "")
        };
        let vlan = |name, ifindex, parent| Link {
            parent: Some(parent),
            ..link(name, ifindex, "vlan")
        };
        vec![
            card("eth0", 2, None),
            card("eth1", 3, Some(5)),
            card("eth2", 4, Some(5)),
            link("bond0", 5, "bond"),
            vlan("eth0.100", 6, 2),
            vlan("bond0.7", 7, 5),
        ]
    }

    fn instead_of(name: &str, links: &[Link]) -> Option<String> {
        let link = links.iter().find(|link| link.name == name);
        of(link.expect("the link"), links).map(|found| format!("{}: {}", found.what, found.instead))
    }

    #[test]
    fn stand_ins_name_what_to_attach_to() {
        let links = links();
        let instead = |name| instead_of(name, &links);
        assert_eq!(instead("eth0"), None);
        assert_eq!(
            instead("eth0.100").as_deref(),
            Some("a VLAN device: its parent eth0")
        );
        assert_eq!(
            instead("bond0").as_deref(),
            Some("a bond device: its members eth1, eth2")
        );
        assert_eq!(
            instead("bond0.7").as_deref(),
            Some("a VLAN device: its members eth1, eth2")
        );
    }

    #[test]
    fn what_cannot_be_named_is_described() {
        let links = [link("team0", 2, "team"), link("eth0.9", 3, "vlan")];
        assert_eq!(
            instead_of("team0", &links).as_deref(),
            Some("a team device: its members; it has none yet")
        );
        assert_eq!(
            instead_of("eth0.9", &links).as_deref(),
            Some("a VLAN device: its parent, which is in another network namespace")
        );
    }

    #[test]
    fn devices_with_packets_of_their_own_are_fine() {
        for kind in ["bridge", "macvlan", "veth", "tun", "vxlan", "dummy"] {
            let links = [Link {
                parent: Some(9),
                ..link("x", 2, kind)
            }];
            assert_eq!(instead_of("x", &links), None, "{kind}");
        }
    }
}

//! From the names of interfaces to devices that a program can be attached to. Pure: whoever asks has the
//! kernel's list.
//!
//! `standin` knows the devices that packets have to be met below; `step` compares an interface with what
//! it should be like.

mod standin;
mod step;

pub(crate) use self::step::{Step, step};
use crate::{
    dataplane::Device,
    model::{Interface, XdpMode},
    neighbor::{AttachMode, Link},
};

/// Why there is nothing to attach to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such interface.
    #[error("interface {name} does not exist; there are: {known}")]
    UnknownInterface {
        /// As configured.
        name: String,
        /// Those that could be meant.
        known: String,
    },
    /// It has no Ethernet header.
    #[error("interface {name} is not an Ethernet device")]
    NotEthernet {
        /// As configured.
        name: String,
    },
    /// It only stands for other devices.
    #[error("interface {name} is {what}; attach to {instead}")]
    StandIn {
        /// As configured.
        name: String,
        /// What it is.
        what: &'static str,
        /// What it stands for.
        instead: String,
    },
}

/// A configured interface that exists.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    pub(crate) device: Device,
    pub(crate) mode: XdpMode,
}

/// Finds every configured interface among those that exist.
pub(crate) fn find(wanted: &[Interface], links: &[Link]) -> Result<Vec<Configured>, Error> {
    wanted
        .iter()
        .map(|interface| {
            let Interface { name, xdp, vlan: _ } = interface;
            let link = links
                .iter()
                .find(|link| link.name == *name)
                .ok_or_else(|| {
                    let known: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
                    Error::UnknownInterface {
                        name: name.clone(),
                        known: known.join(", "),
                    }
                })?;
            let device = device(link, links)?;
            Ok(Configured { device, mode: *xdp })
        })
        .collect()
}

/// What to attach to, if the interface is of a kind that can be.
pub(crate) fn device(link: &Link, links: &[Link]) -> Result<Device, Error> {
    let name = &link.name;
    if let Some(standin::StandIn { what, instead }) = standin::of(link, links) {
        return Err(Error::StandIn {
            name: name.clone(),
            what,
            instead,
        });
    }
    let mac = link
        .mac
        .ok_or_else(|| Error::NotEthernet { name: name.clone() })?;
    Ok(Device {
        name: name.clone(),
        ifindex: link.ifindex,
        mac,
    })
}

/// Whether a program that runs like this is attached as asked for.
pub(crate) const fn fits(mode: XdpMode, running: AttachMode) -> bool {
    matches!(
        (mode, running),
        (XdpMode::Auto | XdpMode::Native, AttachMode::Native)
            | (XdpMode::Generic, AttachMode::Generic)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, ifindex: u32, mac: Option<[u8; 6]>) -> Link {
        Link {
            ifindex,
            name: name.to_owned(),
            mac,
            up: true,
            mtu: 1500,
            ..Link::default()
        }
    }

    fn wanted(name: &str) -> [Interface; 1] {
        [Interface {
            name: name.to_owned(),
            xdp: XdpMode::Auto,
            vlan: false,
        }]
    }

    #[test]
    fn an_interface_that_is_not_there_is_named_with_those_that_are() {
        let links = [link("lo", 1, None), link("eth0", 2, Some([2; 6]))];
        let error = find(&wanted("eth1"), &links).unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface eth1 does not exist; there are: lo, eth0"
        );
    }

    #[test]
    fn an_interface_without_ethernet_is_refused() {
        let error = find(&wanted("tun0"), &[link("tun0", 3, None)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface tun0 is not an Ethernet device"
        );
    }

    #[test]
    fn a_vlan_device_is_refused_by_name_with_its_parent() {
        let vlan = Link {
            kind: Some("vlan".to_owned()),
            parent: Some(2),
            ..link("eth0.100", 3, Some([2; 6]))
        };
        let links = [link("eth0", 2, Some([2; 6])), vlan];
        let error = find(&wanted("eth0.100"), &links).unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface eth0.100 is a VLAN device; attach to its parent eth0"
        );
    }
}

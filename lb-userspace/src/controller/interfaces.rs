//! Interfaces: from configured names to attached devices.

use super::{Error, state::Controller};
use crate::{
    dataplane::Device,
    model::{Interface, XdpMode},
    neighbor::{self, Link},
};

/// A configured interface that exists.
#[derive(Clone, Debug)]
pub(super) struct Configured {
    pub(super) device: Device,
    pub(super) mode: XdpMode,
}

/// Finds every configured interface among those that exist.
pub(super) fn find(wanted: &[Interface], links: &[Link]) -> Result<Vec<Configured>, Error> {
    wanted
        .iter()
        .map(|Interface { name, xdp }| {
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
            let mac = link
                .mac
                .ok_or_else(|| Error::NotEthernet { name: name.clone() })?;
            let device = Device {
                name: name.clone(),
                ifindex: link.ifindex,
                mac,
            };
            Ok(Configured { device, mode: *xdp })
        })
        .collect()
}

impl Controller {
    /// Attaches the program to an interface that has its port.
    pub(super) fn attach(&mut self, configured: &Configured) -> Result<(), Error> {
        let Configured { device, mode } = configured;
        let port = self.dataplane.assign_port(device)?;
        self.dataplane.attach(device, port, *mode)?;
        Ok(())
    }

    /// Checks with the kernel that every interface runs our program, and notes how.
    pub(super) async fn verify_attached(&mut self) -> Result<(), Error> {
        let ours = self.dataplane.program_id()?;
        self.links = neighbor::links()
            .await?
            .into_iter()
            .map(|l| (l.ifindex, l))
            .collect();
        for Interface { name, .. } in &self.model.interfaces {
            let link = self.links.values().find(|link| link.name == *name);
            match link.and_then(|link| link.xdp) {
                Some(xdp) if xdp.program == ours => {}
                _ => {
                    return Err(Error::NotAttached {
                        name: name.clone(),
                        instance: self.model.daemon.instance.clone(),
                    });
                }
            }
        }
        Ok(())
    }
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
            xdp: None,
        }
    }

    fn wanted(name: &str) -> [Interface; 1] {
        [Interface {
            name: name.to_owned(),
            xdp: XdpMode::Auto,
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
}

//! Interfaces: from configured names to attached devices.
//!
//! `egress` knows by which of them packets leave, `standin` knows the devices that packets have to be met below; `watch` keeps the program attached
//! while the daemon runs.

mod egress;
mod standin;
mod watch;

pub(super) use self::{
    egress::{is_vlan, lowest},
    watch::{LOOK, Watched},
};
use super::{Error, state::Controller};
use crate::{
    dataplane::Device,
    model::{Interface, XdpMode},
    neighbor::{self, AttachMode, Link},
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
fn device(link: &Link, links: &[Link]) -> Result<Device, Error> {
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

impl Controller {
    /// Gives an interface its port, and attaches the program to it.
    pub(super) fn attach(&mut self, configured: &Configured) -> Result<(), Error> {
        let Configured { device, mode } = configured;
        self.dataplane.assign_port(device)?;
        // Whether it faces backends is told to the program by a plan over everything.
        self.touched.all();
        self.dataplane.attach(device, *mode)?;
        Ok(())
    }

    /// Attaches to what is new, and again where the mode is to be another. After an error, what was
    /// there before is attached to as it was at the next look.
    pub(super) fn attach_all(&mut self, devices: &[Configured]) -> Result<(), Error> {
        for configured in devices {
            let Configured { device, mode } = configured;
            let known = self.dataplane.device(&device.name).is_some();
            let before = self.model.interfaces.iter().find(|i| i.name == device.name);
            let changes = before.is_some_and(|before| before.xdp != *mode)
                && !self.running_mode(device).is_some_and(|running| {
                    matches!(
                        (mode, running),
                        (XdpMode::Auto | XdpMode::Native, AttachMode::Native)
                            | (XdpMode::Generic, AttachMode::Generic)
                    )
                });
            if known && !changes {
                continue;
            }
            if known {
                self.dataplane.lose(&device.name)?;
            }
            if let Err(error) = self.attach(configured) {
                self.dataplane.lose(&device.name)?;
                self.watched.due = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// An earlier daemon may have attached in a mode that is not allowed any more.
    pub(super) async fn correct_modes(&mut self, devices: &[Configured]) -> Result<(), Error> {
        let wrong = |configured: &&Configured| {
            matches!(
                (configured.mode, self.running_mode(&configured.device)),
                (XdpMode::Generic, Some(AttachMode::Native))
                    | (XdpMode::Native, Some(AttachMode::Generic))
            )
        };
        let wrong: Vec<_> = devices.iter().filter(wrong).collect();
        for configured in &wrong {
            let Configured { device, mode } = configured;
            log::info!("interface {}: now in {mode} mode", device.name);
            self.dataplane.lose(&device.name)?;
            self.attach(configured)?;
        }
        if wrong.is_empty() {
            return Ok(());
        }
        self.verify_attached().await
    }

    fn running_mode(&self, device: &Device) -> Option<AttachMode> {
        Some(self.links.get(&device.ifindex)?.xdp?.mode)
    }

    /// Checks with the kernel that every interface runs our program, and notes how.
    pub(super) async fn verify_attached(&mut self) -> Result<(), Error> {
        self.links = neighbor::links()
            .await?
            .into_iter()
            .map(|l| (l.ifindex, l))
            .collect();
        for Interface { name, .. } in &self.model.interfaces {
            let ours = self.dataplane.program_id(name)?;
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

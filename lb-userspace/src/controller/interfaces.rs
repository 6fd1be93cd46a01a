//! Interfaces: from devices that were found to attached ones.
//!
//! `egress` knows by which of them packets leave; `watch` keeps the program attached while the daemon runs.

mod egress;
mod watch;

pub(super) use self::{
    egress::{is_vlan, lowest},
    watch::{LOOK, Watched},
};
use super::{Error, state::Controller};
pub(super) use crate::interfaces::{Configured, find};
use crate::{
    dataplane::Device,
    interfaces,
    model::{Interface, XdpMode},
    neighbor::{self, AttachMode},
};

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
                && !self
                    .running_mode(device)
                    .is_some_and(|running| interfaces::fits(*mode, running));
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

//! Keeps the program attached while interfaces come and go, and while others take it away.
//!
//! Attaching and detaching a `bpf_link` sends no notification, so beside the events of links there
//! is a look at what is attached, every [`LOOK`].

use std::{collections::BTreeMap, time::Duration};

use super::{Configured, Error};
use crate::{
    controller::state::Controller,
    dataplane::Device,
    interfaces::{Step, step},
    model::Interface,
    neighbor,
};

/// How often the kernel is asked what is attached.
pub(in crate::controller) const LOOK: Duration = Duration::from_secs(5);

/// Looks for which the alarm about something mended stays, so that somebody sees it.
const LOOKS_AFTER: u32 = 3;

/// What is known of the configured interfaces beside their links.
#[derive(Debug, Default)]
pub(in crate::controller) struct Watched {
    /// Something happened to one of them: look now.
    pub(in crate::controller) due: bool,
    /// What is wrong with each, until it no longer is.
    wrong: BTreeMap<String, String>,
    /// What was mended, and for how many more looks that is told.
    mended: BTreeMap<String, (String, u32)>,
}

impl Watched {
    /// An interface's troubles, as alarms.
    pub(in crate::controller) fn alarms(&self, name: &str) -> impl Iterator<Item = String> {
        let mended = self.mended.get(name).map(|(text, _)| text.clone());
        self.wrong.get(name).cloned().into_iter().chain(mended)
    }

    fn fine(&mut self, name: &str) {
        self.wrong.remove(name);
    }

    fn mended(&mut self, name: &str, text: String) {
        self.mended.insert(name.to_owned(), (text, LOOKS_AFTER));
    }

    fn wrong(&mut self, name: &str, text: String) {
        self.wrong.insert(name.to_owned(), text);
    }

    /// A look has found nothing amiss with what was mended.
    fn age(&mut self, wanted: &[Interface]) {
        self.mended.retain(|_, (_, left)| {
            *left = left.saturating_sub(1);
            *left > 0
        });
        let configured = |name: &String| wanted.iter().any(|one| one.name == *name);
        self.mended.retain(|name, _| configured(name));
        self.wrong.retain(|name, _| configured(name));
    }
}

impl Controller {
    /// A regular look: what was mended and stays so is forgotten in the end.
    pub(in crate::controller) fn on_look(&mut self) {
        self.watched.age(&self.model.interfaces);
        self.watched.due = true;
    }

    /// Makes every configured interface what it should be, as far as that is possible now.
    pub(in crate::controller) async fn tend_interfaces(&mut self) {
        self.watched.due = false;
        match self.try_to_tend().await {
            Ok(()) => {
                self.alias_vlans();
                self.refresh_next_hops();
            }
            // The next look tries again.
            Err(error) => log::error!("looking at the interfaces: {error}"),
        }
    }

    async fn try_to_tend(&mut self) -> Result<(), Error> {
        let mut links = neighbor::links().await?;
        let mut changed = false;
        for interface in self.model.interfaces.clone() {
            let ours = self.dataplane.program_id(&interface.name)?;
            let held = self.dataplane.device(&interface.name);
            let step = step(&interface.name, &links, held, ours);
            changed |= !matches!(step, Step::Nothing | Step::Wait);
            // Waits for the kernel to see that no packet uses a program any more.
            tokio::task::block_in_place(|| self.take(step, &interface));
        }
        if changed {
            // Where replies come in may be another interface now.
            self.touched.all();
            links = neighbor::links().await?;
        }
        self.links = links.into_iter().map(|l| (l.ifindex, l)).collect();
        self.forget_programs_of_others()?;
        Ok(())
    }

    fn take(&mut self, step: Step, interface: &Interface) {
        let Interface { name, xdp, vlan: _ } = interface;
        let attach = |controller: &mut Self, device: &Device| {
            let device = device.clone();
            controller.attach(&Configured { device, mode: *xdp })
        };
        let done = match step {
            Step::Nothing => Ok(()),
            Step::Wait => {
                self.lose(name);
                return self.watched.wrong(name, gone(name));
            }
            Step::Refuse(error) => {
                self.lose(name);
                Err(error.into())
            }
            Step::Attach(device) => {
                self.lose(name);
                attach(self, &device)
                    .inspect(|()| log::info!("interface {name} is there: attached"))
            }
            Step::PutBack(device) => attach(self, &device).inspect(|()| {
                let text = format!(
                    "the program was taken off interface {name} by somebody else; it is back"
                );
                self.watched.mended(name, text);
            }),
            Step::Readdress(device) => self
                .dataplane
                .assign_port(&device)
                .map(|_| log::info!("interface {name} has another link-layer address"))
                .map_err(Error::from),
        };
        match done {
            Ok(()) => self.watched.fine(name),
            Err(error) => self
                .watched
                .wrong(name, format!("no packets are taken: {error}")),
        }
    }

    fn lose(&mut self, name: &str) {
        if let Err(error) = self.dataplane.lose(name) {
            log::error!("forgetting interface {name}: {error}");
        }
    }

    /// The status tells how our program is attached, not another one.
    fn forget_programs_of_others(&mut self) -> Result<(), Error> {
        for link in self.links.values_mut().filter(|link| link.xdp.is_some()) {
            let ours = self.dataplane.program_id(&link.name)?;
            link.xdp = link.xdp.filter(|xdp| xdp.program == ours);
        }
        Ok(())
    }
}

fn gone(name: &str) -> String {
    format!("interface {name} is gone; it is attached to again when it comes back")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_mended_is_told_for_some_looks() {
        let mut watched = Watched::default();
        let wanted = [Interface {
            name: "eth0".to_owned(),
            xdp: crate::model::XdpMode::Auto,
            vlan: false,
        }];
        watched.mended("eth0", "put back".to_owned());
        for _ in 0..LOOKS_AFTER {
            assert_eq!(watched.alarms("eth0").count(), 1);
            watched.age(&wanted);
        }
        assert_eq!(watched.alarms("eth0").count(), 0);
    }
}

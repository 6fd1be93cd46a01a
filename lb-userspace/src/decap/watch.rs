//! Keeps the program attached while interfaces come and go, and while others take it away.

use std::collections::BTreeMap;

use crate::{
    dataplane::{self, Decap},
    interfaces::{Step, step},
    model::Interface,
    neighbor,
};

/// The interfaces, and what is wrong with each.
pub(super) struct Watch {
    wanted: Vec<Interface>,
    wrong: BTreeMap<String, String>,
}

impl Watch {
    pub(super) const fn new(wanted: Vec<Interface>) -> Self {
        Self {
            wanted,
            wrong: BTreeMap::new(),
        }
    }

    /// Looks at what is attached, and mends what can be mended now.
    pub(super) async fn look(&mut self, decap: &mut Decap) {
        let links = match neighbor::links().await {
            Ok(links) => links,
            // The next look tries again.
            Err(error) => return log::error!("looking at the interfaces: {error}"),
        };
        for interface in &self.wanted {
            let name = &interface.name;
            let held = decap.held(name);
            let ours = held.map_or(0, |(_, program)| program);
            let step = step(name, &links, held.map(|(device, _)| device), ours);
            match take(decap, step, interface) {
                None => drop(self.wrong.remove(name)),
                // Said once, and not at every look.
                Some(text) if self.wrong.get(name) == Some(&text) => {}
                Some(text) => {
                    log::warn!("{text}");
                    self.wrong.insert(name.clone(), text);
                }
            }
        }
    }
}

/// Does what is to be done; says what is wrong then.
fn take(decap: &mut Decap, step: Step, interface: &Interface) -> Option<String> {
    let Interface { name, xdp, vlan: _ } = interface;
    let attach =
        |decap: &mut Decap, device| -> Result<(), dataplane::Error> { decap.attach(&device, *xdp) };
    let done = match step {
        Step::Nothing => Ok(()),
        Step::Wait => {
            let lost = decap.detach(name);
            let gone =
                format!("interface {name} is gone; it is attached to again when it comes back");
            return Some(lost.map_or_else(|error| error.to_string(), |()| gone));
        }
        Step::Refuse(error) => {
            return Some(match decap.detach(name) {
                Ok(()) => error.to_string(),
                Err(error) => error.to_string(),
            });
        }
        Step::Attach(device) => {
            let attached = decap.detach(name).and_then(|()| attach(decap, device));
            attached.inspect(|()| log::info!("interface {name} is there: attached"))
        }
        Step::PutBack(device) => attach(decap, device).inspect(|()| {
            log::warn!("the program was taken off interface {name} by somebody else; it is back");
        }),
        // Nothing of it is known to the program.
        Step::Readdress(device) => attach(decap, device),
    };
    let error = done.err()?;
    Some(format!(
        "no tunnel is taken off on interface {name}: {error}"
    ))
}

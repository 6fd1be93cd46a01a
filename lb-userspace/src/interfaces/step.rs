//! What is to be done about an interface, from a look at what is there.

use super::{Error, device};
use crate::{dataplane::Device, neighbor::Link};

/// What is to be done about an interface.
#[derive(Debug)]
pub(crate) enum Step {
    /// It is as it should be.
    Nothing,
    /// It is not there.
    Wait,
    /// It is of a kind that cannot be attached to.
    Refuse(Error),
    /// It is new, or another one has come in its place.
    Attach(Device),
    /// Somebody took the program away, or put another in its place.
    PutBack(Device),
    /// It has another link-layer address.
    Readdress(Device),
}

/// Compares an interface with what it should be like. `held`: as it was attached to; `ours`: the
/// program's id.
pub(crate) fn step(name: &str, links: &[Link], held: Option<&Device>, ours: u32) -> Step {
    let Some(link) = links.iter().find(|link| link.name == name) else {
        return Step::Wait;
    };
    let device = match device(link, links) {
        Ok(device) => device,
        Err(error) => return Step::Refuse(error),
    };
    let attached = link.xdp.is_some_and(|xdp| xdp.program == ours);
    match held {
        Some(held) if held.ifindex == device.ifindex && !attached => Step::PutBack(device),
        Some(held) if *held == device => Step::Nothing,
        Some(held) if held.ifindex == device.ifindex => Step::Readdress(device),
        _ => Step::Attach(device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbor::{AttachMode, AttachedXdp};

    const OURS: u32 = 7;
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn link(ifindex: u32, program: Option<u32>) -> [Link; 1] {
        let mode = AttachMode::Native;
        [Link {
            ifindex,
            name: "eth0".to_owned(),
            mac: Some(MAC),
            xdp: program.map(|program| AttachedXdp { mode, program }),
            ..Link::default()
        }]
    }

    fn held(ifindex: u32, mac: [u8; 6]) -> Device {
        Device {
            name: "eth0".to_owned(),
            ifindex,
            mac,
        }
    }

    fn judged(links: &[Link], held: Option<&Device>) -> Step {
        step("eth0", links, held, OURS)
    }

    #[test]
    fn an_interface_that_runs_the_program_is_left_alone() {
        let step = judged(&link(2, Some(OURS)), Some(&held(2, MAC)));
        assert!(matches!(step, Step::Nothing), "{step:?}");
    }

    #[test]
    fn a_program_that_was_taken_off_or_replaced_is_put_back() {
        for program in [None, Some(8)] {
            let step = judged(&link(2, program), Some(&held(2, MAC)));
            assert!(matches!(step, Step::PutBack(_)), "{step:?}");
        }
    }

    #[test]
    fn an_interface_that_comes_back_is_attached_to_whatever_its_number() {
        for before in [None, Some(held(3, MAC))] {
            let step = judged(&link(2, None), before.as_ref());
            assert!(matches!(step, Step::Attach(_)), "{step:?}");
        }
        // The very same number again: the program is not on it.
        let step = judged(&link(2, None), Some(&held(2, MAC)));
        assert!(matches!(step, Step::PutBack(_)), "{step:?}");
    }

    #[test]
    fn another_address_is_followed() {
        let step = judged(&link(2, Some(OURS)), Some(&held(2, [9; 6])));
        assert!(matches!(step, Step::Readdress(_)), "{step:?}");
    }

    #[test]
    fn what_is_not_there_is_waited_for() {
        let step = judged(&[], Some(&held(2, MAC)));
        assert!(matches!(step, Step::Wait), "{step:?}");
    }
}

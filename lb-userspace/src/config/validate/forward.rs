//! `forward` and what goes with it: `gue_port`, and which ports listeners and backends may have.

use super::{
    backends::DraftBackend,
    words::{Words, number},
};
use crate::{
    config::report::{Placed, Report, Spot},
    model::{Forward, Listener},
};

/// GUE's own (IANA's registry of service names and port numbers).
pub(crate) const DEFAULT_GUE_PORT: u16 = 6080;

#[derive(Clone, Copy)]
enum Mode {
    Dnat,
    Dsr,
    Ipip,
    Gue,
}

const FORWARD: Words<Mode> = Words {
    known: &[
        ("dnat", Mode::Dnat),
        ("dsr", Mode::Dsr),
        ("ipip", Mode::Ipip),
        ("gue", Mode::Gue),
    ],
    later: &["nat"],
};

/// The keys as the file gives them.
pub(super) struct Keys {
    pub(super) forward: Option<Placed<String>>,
    pub(super) gue_port: Option<Placed<i64>>,
}

/// What the keys mean together; `None` where the word is wrong, so that nothing is measured by it.
pub(super) fn forward(keys: Keys, report: &mut Report<'_>) -> Option<Forward> {
    let Keys { forward, gue_port } = keys;
    let mode = forward.map_or(Some(Mode::Dnat), |word| FORWARD.read(&word, report));
    if let (Some(Mode::Dnat | Mode::Dsr | Mode::Ipip), Some(raw)) = (mode, &gue_port) {
        let message = "means something to gue only, remove it or write forward = \"gue\"";
        report.error(raw.spot.clone(), message);
    }
    Some(match mode? {
        Mode::Dnat => Forward::Dnat,
        Mode::Dsr => Forward::Dsr,
        Mode::Ipip => Forward::Ipip,
        Mode::Gue => Forward::Gue {
            port: gue_port
                .and_then(|raw| number(&raw, 1..=u16::MAX.into(), report))
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(DEFAULT_GUE_PORT),
        },
    })
}

/// Every port is for backends that get packets as they are.
pub(super) fn every_port_is_allowed(
    forward: Forward,
    listeners: &[Placed<Listener>],
    report: &mut Report<'_>,
) {
    if !forward.has_replies() {
        return;
    }
    for Placed { value, spot } in listeners {
        if value.address.port() == 0 {
            let message = format!(
                "port 0, every port, does not go with {forward}: name one, or use dsr, ipip or gue"
            );
            report.error(spot.clone(), message);
        }
    }
}

/// A health check, which stands at `spot`, has to ask some port.
pub(super) fn some_port_is_named(
    spot: Spot,
    forward: Forward,
    listeners: &[Placed<Listener>],
    report: &mut Report<'_>,
) {
    let every_port = |listener: &Placed<Listener>| listener.value.address.port() == 0;
    if !forward.has_replies() && !listeners.is_empty() && listeners.iter().all(every_port) {
        let message = "has no port to ask: a service of every port needs a listener with one, too";
        report.error(spot, message);
    }
}

/// Where packets are not rewritten, or come by several listeners, each listener's port is kept.
pub(super) fn ports_are_kept(
    forward: Forward,
    listeners: &[Placed<Listener>],
    backends: &[DraftBackend],
    report: &mut Report<'_>,
) {
    for DraftBackend { backend, .. } in backends {
        let Placed { value, spot } = backend;
        if value.port.is_none() {
            continue;
        }
        let address = value.address;
        if !forward.has_replies() {
            let message = format!(
                "with {forward} the listener's port is kept: write {address} without a port"
            );
            report.error(spot.clone(), message);
        } else if listeners.len() > 1 {
            let message = format!(
                "with several listeners each one's port is kept: write {address} without a port, \
                 or a service for each listener"
            );
            report.error(spot.clone(), message);
        }
    }
}

//! Families in one service: a packet stays in its own, where nothing is put around it.

use std::net::IpAddr;

use super::backends::DraftBackend;
use crate::{
    config::report::{Placed, Report},
    model::{Forward, Listener},
};

/// Refuses listeners and backends of another family than the first listener's.
pub(super) fn are_not_mixed(
    forward: Forward,
    listeners: &[Placed<Listener>],
    backends: &[DraftBackend],
    report: &mut Report<'_>,
) {
    let (Some(first), false) = (listeners.first(), forward.is_tunnel()) else {
        return;
    };
    let first = first.value;
    let of_first = family(first.address.ip());
    let listeners = listeners.iter().map(|listener| {
        let Listener { address, .. } = listener.value;
        (address.ip(), listener.value.to_string(), &listener.spot)
    });
    let backends = backends.iter().map(|DraftBackend { backend, .. }| {
        let Placed { value, spot } = backend;
        (value.address, value.address.to_string(), spot)
    });
    for (address, written, spot) in listeners.chain(backends) {
        let family = family(address);
        if family != of_first {
            let message = format!(
                "{written} is {family} and {first} {of_first}, which {forward} does not mix: \
                 use a service for each, or forward = \"ipip\" or \"gue\""
            );
            report.error(spot.clone(), message);
        }
    }
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

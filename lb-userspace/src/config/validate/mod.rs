//! Raw types to the model: every rule that a configuration obeys, a file for each section.
//!
//! A value that breaks a rule is reported and replaced by a default, so that the rest is still
//! looked at; with an error in the report nobody sees the model.

mod across;
mod address;
mod backends;
mod connections;
mod daemon;
mod families;
mod forward;
mod hash;
mod health;
mod http;
mod interface;
mod limits;
mod prime;
mod service;
mod table;
mod tunnel;
mod words;

pub use daemon::{admin_socket, instance_name, state_dir};
pub use interface::interface_name;

pub(crate) use address::why_no_unicast;
pub(crate) use forward::DEFAULT_GUE_PORT;

pub(super) use daemon::default_daemon;

use super::{
    raw::{RawConfig, RawLimits, RawService},
    report::{FileId, Placed, Report},
};
use crate::model::{Limits, Model};

/// The model of what the main file and all files' services say.
pub(super) fn model(
    main: RawConfig,
    services: Vec<Placed<RawService>>,
    report: &mut Report<'_>,
) -> Model {
    // The services of all files, the main one's too, are in `services`.
    let RawConfig {
        daemon,
        limits,
        interface,
        service: _,
    } = main;
    let file = FileId(0);
    let daemon = daemon::daemon(daemon.map(|raw| file.section(raw)), report);
    let limits = limits.map_or_else(RawLimits::default, |raw| file.section(raw).value);
    let bounds = limits::bounds(limits, report);
    let interfaces = interface.into_iter().map(|raw| file.section(raw)).collect();
    let interfaces = interface::interfaces(interfaces, report);
    let drafts: Vec<_> = services
        .into_iter()
        .map(|raw| service::service(raw, report))
        .collect();
    across::check(&drafts, bounds.as_ref(), report);
    tunnel::sources_are_nobodys(&daemon, &drafts, report);
    Model {
        daemon,
        limits: bounds.map_or_else(Limits::default, |bounds| bounds.limits()),
        interfaces,
        services: drafts.into_iter().map(|draft| draft.finish()).collect(),
    }
}

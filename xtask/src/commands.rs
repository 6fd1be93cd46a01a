//! A module a subcommand.

pub(crate) mod bench;
pub(crate) mod clean;
pub(crate) mod fuzz;
pub(crate) mod lint;
pub(crate) mod playground;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod test;

//! `sluice version`: what this binary is.

use super::{Exit, Format, Global, output};
use crate::admin::Version;

pub(super) fn run(global: &Global) -> anyhow::Result<Exit> {
    let version = Version::current();
    match global.output {
        Format::Json => output::print_json(&version)?,
        Format::Table => {
            let Version { version, abi } = version;
            output::print(format_args!("sluice {version}, ABI {abi}"))?;
        }
    }
    Ok(Exit::Done)
}

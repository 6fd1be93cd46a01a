//! `sluice status`: how things are.

mod view;

use std::time::SystemTime;

use anyhow::Context;

use super::{Exit, Format, Global, block_on, output};
use crate::admin::{Status, status::Service};

pub(super) fn run(global: &Global) -> anyhow::Result<Exit> {
    let client = global.client();
    let json = block_on(async { Ok(client.status_json().await?) })?;
    let status: Status = serde_json::from_slice(&json).with_context(|| {
        format!(
            "reading the status of the daemon at {}",
            client.socket().display()
        )
    })?;
    match global.output {
        // As the daemon wrote it: it may know more than this binary.
        Format::Json => output::print(String::from_utf8_lossy(&json))?,
        Format::Table => output::print(view::render(&status, SystemTime::now()))?,
    }
    Ok(exit(&status))
}

/// A service that no new connection gets through is what monitoring wants to hear of.
fn exit(status: &Status) -> Exit {
    if status.services.iter().all(Service::is_usable) {
        Exit::Done
    } else {
        Exit::Different
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{fixtures, status::Health};

    #[test]
    fn a_service_without_a_usable_backend_is_unhealthy() {
        let mut status = fixtures::status();
        assert_eq!(exit(&status), Exit::Done);
        status.services[0].backends[0].health = Health::Down;
        assert_eq!(exit(&status), Exit::Different);
        status.services.clear();
        assert_eq!(exit(&status), Exit::Done);
    }
}

//! `sluice drain --wait`: returns when a backend can be switched off.

use std::time::{Duration, Instant};

use super::{Exit, output};
use crate::{
    admin::{
        Client, Status,
        status::{Admin, Backend},
    },
    overrides::Target,
};

/// Between two looks.
const STEP: Duration = Duration::from_millis(250);
/// Between two lines for whoever waits.
const NEWS: Duration = Duration::from_secs(10);

/// How far a drain is.
#[derive(Debug, PartialEq, Eq)]
enum Drain {
    /// Nothing of it is left.
    Done,
    /// Something is; how many flows, where that is known.
    Left(Option<u64>),
    /// Nobody drains any more, and why.
    Off(&'static str),
}

/// Waits until no slot names `target` and no flow of it is remembered, for `timeout` at most.
pub(super) async fn wait(
    client: &Client,
    target: &Target,
    timeout: Option<Duration>,
) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let mut told: Option<(Instant, Option<u64>)> = None;
    loop {
        let left = match look(&client.status().await?, target) {
            Drain::Done => {
                output::complain(format_args!("{target} is drained"));
                return Ok(Exit::Done);
            }
            Drain::Off(why) => {
                output::complain(format_args!("{target} {why}"));
                return Ok(Exit::Different);
            }
            Drain::Left(left) => left,
        };
        let elapsed = start.elapsed();
        if timeout.is_some_and(|timeout| elapsed >= timeout) {
            let waited = humantime::format_duration(Duration::from_secs(elapsed.as_secs()));
            output::complain(format_args!(
                "{target} is not drained after {waited}: {}",
                remaining(left)
            ));
            return Ok(Exit::Different);
        }
        if told.is_none_or(|(at, number)| at.elapsed() >= NEWS && number != left) {
            output::complain(format_args!("waiting: {}", remaining(left)));
            told = Some((Instant::now(), left));
        }
        let rest = timeout.map_or(STEP, |timeout| timeout.saturating_sub(elapsed).min(STEP));
        tokio::time::sleep(rest).await;
    }
}

fn look(status: &Status, target: &Target) -> Drain {
    let services = status.services.iter();
    let backend = services
        .filter(|service| *service.name == *target.service)
        .flat_map(|service| &service.backends)
        .find(|backend| *backend.name == *target.backend);
    match backend {
        None => Drain::Off("is no longer in the configuration"),
        Some(Backend {
            admin: Admin::Enabled,
            ..
        }) => Drain::Off("is no longer draining: somebody took that back"),
        Some(Backend {
            drained: Some(true),
            ..
        }) => Drain::Done,
        Some(Backend { flows, .. }) => Drain::Left(*flows),
    }
}

fn remaining(flows: Option<u64>) -> String {
    match flows {
        None => "how many connections it has is not known yet".to_owned(),
        Some(0) => "no connection of it is remembered, but slots still ask for it until their \
                    transition window ends"
            .to_owned(),
        Some(1) => "1 connection of it is remembered".to_owned(),
        Some(n) => format!("{n} connections of it are remembered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixtures;

    #[test]
    fn a_drain_is_over_when_nothing_is_left_or_nobody_wants_it() {
        let mut status = fixtures::status();
        let target: Target = "web/web-3".parse().unwrap();
        assert_eq!(look(&status, &target), Drain::Left(Some(12)));
        let web_3 = &mut status.services[0].backends[2];
        (web_3.flows, web_3.drained) = (None, None);
        assert_eq!(look(&status, &target), Drain::Left(None));
        let web_3 = &mut status.services[0].backends[2];
        (web_3.flows, web_3.drained) = (Some(0), Some(false));
        assert_eq!(look(&status, &target), Drain::Left(Some(0)));
        status.services[0].backends[2].drained = Some(true);
        assert_eq!(look(&status, &target), Drain::Done);
        // Without a connection, but not because it is drained.
        status.services[0].backends[2].admin = Admin::Enabled;
        assert!(matches!(look(&status, &target), Drain::Off(_)));
        status.services[0].backends.pop();
        assert!(matches!(look(&status, &target), Drain::Off(_)));
    }
}

//! `[[service.health]]`.

use std::time::Duration;

use super::{
    http,
    words::{Words, duration, number},
};
use crate::{
    config::{
        raw::RawHealth,
        report::{Placed, Report},
    },
    model::{HealthCheck, Probe},
};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);
const DEFAULT_RISE: u32 = 2;
const DEFAULT_FALL: u32 = 2;

/// A busy loop is no health check, and nobody waits longer than an hour for one.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// In a row: more than that is never reached.
const MAX_IN_A_ROW: u32 = 1000;

#[derive(Clone, Copy)]
enum Type {
    Tcp,
    Http,
}

const TYPE: Words<Type> = Words {
    known: &[("tcp", Type::Tcp), ("http", Type::Http)],
    later: &["https", "udp", "icmp", "dns", "grpc", "exec"],
};

/// All `[[service.health]]` of a service: one or none.
pub(super) fn health(raws: Vec<Placed<RawHealth>>, report: &mut Report<'_>) -> Option<HealthCheck> {
    let mut raws = raws.into_iter();
    let first = raws.next()?;
    for Placed { value: _, spot } in raws {
        report.error(
            spot,
            "more than one health check a service is not supported yet, keep one",
        );
    }
    Some(one(first, report))
}

fn one(raw: Placed<RawHealth>, report: &mut Report<'_>) -> HealthCheck {
    let Placed { value: raw, spot } = raw;
    let RawHealth {
        r#type,
        path,
        host,
        expect_status,
        interval,
        timeout,
        rise,
        fall,
    } = raw;
    let file = spot.file;

    let kind = match r#type.map(|raw| file.place(raw)) {
        Some(word) => TYPE.read(&word, report),
        None => {
            let message = "missing, write type = \"tcp\" or type = \"http\"";
            report.missing(&spot, "type", message);
            None
        }
    };
    let keys = http::Keys {
        path: path.map(|raw| file.place(raw)),
        host: host.map(|raw| file.place(raw)),
        expect_status: expect_status.map(|raw| file.place(raw)),
    };
    let probe = match kind {
        Some(Type::Http) => Probe::Http(http::probe(keys, report)),
        Some(Type::Tcp) => {
            http::refuse(keys, report);
            Probe::Tcp
        }
        None => Probe::Tcp,
    };

    let interval = interval.map(|raw| file.place(raw));
    let timeout = timeout.map(|raw| file.place(raw));
    let every = interval.as_ref().map_or(Some(DEFAULT_INTERVAL), |text| {
        duration(text, SHORTEST..=LONGEST, report)
    });
    let within = timeout.as_ref().map_or(Some(DEFAULT_TIMEOUT), |text| {
        duration(text, SHORTEST..=LONGEST, report)
    });
    if let (Some(every), Some(within)) = (every, within)
        && within > every
    {
        let message = format!(
            "the timeout of {} is longer than the interval of {}, shorten it or check less often",
            humantime::format_duration(within),
            humantime::format_duration(every)
        );
        // Whichever of the two the file gives; the other is a default.
        let at = timeout.map(|t| t.spot).or(interval.map(|i| i.spot));
        report.error(at.unwrap_or_else(|| spot.clone()), message);
    }

    let mut in_a_row = |field: Option<_>, default| {
        field
            .and_then(|raw| number(&file.place(raw), 1..=MAX_IN_A_ROW, report))
            .unwrap_or(default)
    };
    HealthCheck {
        probe,
        interval: every.unwrap_or(DEFAULT_INTERVAL),
        timeout: within.unwrap_or(DEFAULT_TIMEOUT),
        rise: in_a_row(rise, DEFAULT_RISE),
        fall: in_a_row(fall, DEFAULT_FALL),
    }
}

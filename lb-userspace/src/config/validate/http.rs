//! The keys of `[[service.health]]` that only `type = "http"` has.

use std::ops::RangeInclusive;

use toml::Spanned;

use super::words::number;
use crate::{
    config::{
        error::quote,
        report::{Placed, Report},
    },
    model::HttpProbe,
};

const DEFAULT_PATH: &str = "/";
const DEFAULT_STATUS: u16 = 200;

/// What can be the last word of an exchange: 1xx only announces it (RFC 9110 section 15.2).
const STATUS: RangeInclusive<u32> = 200..=599;
/// Bytes; servers refuse much longer ones.
const MAX_PATH: usize = 1024;
/// A DNS name of full length, and a port.
const MAX_HOST: usize = 253 + ":65535".len();

/// The keys as the file gives them.
pub(super) struct Keys {
    pub(super) path: Option<Placed<String>>,
    pub(super) host: Option<Placed<String>>,
    pub(super) expect_status: Option<Placed<Vec<Spanned<i64>>>>,
}

/// What to ask, and which answers pass.
pub(super) fn probe(keys: Keys, report: &mut Report<'_>) -> HttpProbe {
    let Keys {
        path,
        host,
        expect_status,
    } = keys;
    HttpProbe {
        path: path.map_or_else(|| DEFAULT_PATH.to_owned(), |text| self::path(text, report)),
        host: host.map(|text| self::host(text, report)),
        expect_status: match expect_status {
            Some(codes) => self::expect_status(codes, report),
            None => vec![DEFAULT_STATUS],
        },
    }
}

/// The check is of another type.
pub(super) fn refuse(keys: Keys, report: &mut Report<'_>) {
    let Keys {
        path,
        host,
        expect_status,
    } = keys;
    let spots = [
        path.map(|text| text.spot),
        host.map(|text| text.spot),
        expect_status.map(|codes| codes.spot),
    ];
    for spot in spots.into_iter().flatten() {
        let message = "means something to HTTP only, remove it or write type = \"http\"";
        report.error(spot, message);
    }
}

fn path(path: Placed<String>, report: &mut Report<'_>) -> String {
    let Placed { value, spot } = path;
    let complaint = if !value.starts_with('/') {
        format!("{} is not a path, begin with /", quote(&value))
    } else if value.len() > MAX_PATH {
        format!(
            "{} is too long a path, use at most {MAX_PATH} bytes",
            quote(&value)
        )
    } else if !value.bytes().all(is_of_a_target) {
        format!(
            "{} holds what a request cannot, write %20 for a space and leave out what follows #",
            quote(&value)
        )
    } else {
        return value;
    };
    report.error(spot, complaint);
    DEFAULT_PATH.to_owned()
}

/// What may stand in path and query (RFC 3986 appendix A, and what browsers send besides).
fn is_of_a_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte)
}

fn host(host: Placed<String>, report: &mut Report<'_>) -> String {
    let Placed { value, spot } = host;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if value.is_empty() || value.len() > MAX_HOST || !value.bytes().all(allowed) {
        let message = format!(
            "{} is not a host, write a name such as www.example.com, or leave it out",
            quote(&value)
        );
        report.error(spot, message);
    }
    value
}

fn expect_status(codes: Placed<Vec<Spanned<i64>>>, report: &mut Report<'_>) -> Vec<u16> {
    let Placed { value: codes, spot } = codes;
    if codes.is_empty() {
        let message = "is empty, write the status codes that pass such as [200, 204]";
        report.error(spot.clone(), message);
    }
    let mut passing = Vec::with_capacity(codes.len());
    for code in codes {
        let code = spot.file.place(code);
        let Some(status) = number(&code, STATUS, report).and_then(|n| u16::try_from(n).ok()) else {
            continue;
        };
        if passing.contains(&status) {
            let message = format!("{status} stands twice, write each status once");
            report.error(code.spot, message);
        } else {
            passing.push(status);
        }
    }
    passing
}

//! Whole configurations in, models or lines for people out.

mod arbitrary;
mod connections;
mod corpus;
mod documented;
mod folder;
mod forward;
mod hash;
mod health;
mod ipv6;
mod tunnel_source;
mod valid;
mod wrong_services;
mod wrong_settings;
mod wrong_together;

use super::{Error, Loaded, parse};

/// A service that is right, to which a test adds what is wrong. It has 9 lines.
const WEB: &str = r#"[[service]]
name = "web"
listen = ["tcp://203.0.113.80:80"]
[[service.health]]
type = "tcp"
[[service.backend]]
address = "10.0.1.11:8080"
[[service.backend]]
address = "10.0.1.12:8080"
"#;

/// What a user sees of a configuration that must not be valid, a line each.
#[track_caller]
fn refusals(text: &str) -> Vec<String> {
    match parse("s.toml", text) {
        Ok(loaded) => panic!("must be refused, but means {:#?}", loaded.model),
        Err(error @ Error::Invalid { .. }) => {
            error.to_string().lines().map(str::to_owned).collect()
        }
        Err(error) => panic!("must be invalid, but is {error}"),
    }
}

/// The same for one mistake.
#[track_caller]
fn refusal(text: &str) -> String {
    refusals(text).join("\n")
}

#[track_caller]
fn accepted(text: &str) -> Loaded {
    match parse("s.toml", text) {
        Ok(loaded) => loaded,
        Err(error) => panic!("must be valid, but: {error}"),
    }
}

/// The warnings of a configuration that must be valid.
#[track_caller]
fn warnings(text: &str) -> Vec<String> {
    let warnings = accepted(text).warnings;
    warnings.iter().map(ToString::to_string).collect()
}

//! Any text as a configuration.

#![no_main]

use lb_userspace::config::{Error, parse};
use libfuzzer_sys::fuzz_target;

#[path = "../properties/config.rs"]
mod property;

fuzz_target!(|text: &str| property::holds(text));

//! Where log lines go: standard error, from `info` on (`RUST_LOG` says otherwise).

use std::{env, io::Write};

use env_logger::{Builder, Env};
use log::Level;

/// Starts logging. To be called once, by what runs for long.
pub(super) fn start() {
    let mut builder = Builder::from_env(Env::default().default_filter_or("info"));
    if env::var_os("JOURNAL_STREAM").is_some() {
        // The journal has its own time and reads the priority from the line: sd-daemon(3).
        builder
            .format(|out, record| writeln!(out, "<{}>{}", priority(record.level()), record.args()));
    } else {
        builder.format_target(false).format_timestamp_millis();
    }
    // A second logger is a mistake of tests at most.
    let _ = builder.try_init();
}

/// syslog(3)'s number.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

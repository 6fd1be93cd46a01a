//! Where log lines go: standard error, from `info` on (`RUST_LOG` says otherwise).

use std::{
    env,
    io::{self, Write},
};

use env_logger::{Builder, Env};
use log::Level;

/// The netlink library warns of each answer that a stopped task no longer waits for.
const DEFAULT: &str = "info,netlink_proto=error";

/// Starts logging. To be called once, by what runs for long.
pub(super) fn start() {
    let mut builder = Builder::from_env(Env::default().default_filter_or(DEFAULT));
    if goes_to_journal() {
        // The journal has its own time and reads the priority from the line: sd-daemon(3).
        builder
            .format(|out, record| writeln!(out, "<{}>{}", priority(record.level()), record.args()));
    } else {
        builder.format_target(false).format_timestamp_millis();
    }
    // A second logger is a mistake of tests at most.
    let _ = builder.try_init();
}

/// Whether standard error is the stream that systemd connected to the journal. The variable alone
/// says nothing: whatever a service starts inherits it. See systemd.exec(5).
fn goes_to_journal() -> bool {
    let Ok(stderr) = nix::sys::stat::fstat(io::stderr()) else {
        return false;
    };
    let stream = format!("{}:{}", stderr.st_dev, stderr.st_ino);
    env::var("JOURNAL_STREAM").is_ok_and(|expected| expected == stream)
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

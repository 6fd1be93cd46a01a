//! Without a terminal: a line a second.

use crate::scene::{Daemon, Row, Scene, in_brackets};

/// What to try, once.
pub(crate) fn introduce(scene: &Scene) {
    println!("try, from a second terminal:");
    for hint in &scene.hints {
        println!("  {}    # {}", hint.command, hint.what);
    }
}

/// The line of a second.
pub(crate) fn show(scene: &Scene) {
    println!("{}", line(scene));
}

/// The line, to be shown.
pub(crate) fn line(scene: &Scene) -> String {
    let backends = scene.backends.iter();
    let backends: Vec<_> = backends
        .map(|row| backend(row, scene.udp.is_some()))
        .collect();
    let udp = match &scene.udp {
        Some(udp) => format!(
            "{} UDP{} ({}/s), {} failed, ",
            udp.requests,
            in_brackets(udp.by_ipv6),
            scene.udp_rate(),
            udp.failed
        ),
        None => String::new(),
    };
    let daemon = match &scene.daemon {
        Daemon::Running { .. } => String::new(),
        Daemon::Silent => "  daemon does not answer".to_owned(),
        Daemon::Killed { restart } => format!("  daemon killed; restart: {restart}"),
    };
    format!(
        "{:>4}s  {} requests{} ({}/s), {} failed, {udp}{} packets seen | {}{daemon}",
        scene.elapsed.as_secs(),
        scene.requests,
        in_brackets(scene.by_ipv6),
        scene.rate(),
        scene.failed,
        scene.packets_seen(),
        backends.join(" | "),
    )
}

fn backend(row: &Row, with_udp: bool) -> String {
    let Row {
        name,
        health,
        share,
        request_rate,
        udp_rate,
        packet_rate,
        ..
    } = row;
    let udp = if with_udp {
        format!("{udp_rate} udp/s ")
    } else {
        String::new()
    };
    format!("{name} {health} {share:.0}% {request_rate} req/s {udp}{packet_rate} pkt/s")
}

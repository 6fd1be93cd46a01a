//! Without a terminal: a line a second.

use crate::scene::{Daemon, Row, Scene};

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

fn line(scene: &Scene) -> String {
    let backends: Vec<_> = scene.backends.iter().map(backend).collect();
    let daemon = match &scene.daemon {
        Daemon::Running { .. } => String::new(),
        Daemon::Silent => "  daemon does not answer".to_owned(),
        Daemon::Killed { restart } => format!("  daemon killed; restart: {restart}"),
    };
    format!(
        "{:>4}s  {} requests ({}/s), {} failed, {} packets seen | {}{daemon}",
        scene.elapsed.as_secs(),
        scene.requests,
        scene.rate(),
        scene.failed,
        scene.packets_seen(),
        backends.join(" | "),
    )
}

fn backend(row: &Row) -> String {
    let Row {
        name,
        health,
        share,
        request_rate,
        packet_rate,
        ..
    } = row;
    format!("{name} {health} {share:.0}% {request_rate} req/s {packet_rate} pkt/s")
}

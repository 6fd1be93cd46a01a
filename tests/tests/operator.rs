//! What the operator says of backends by command: who gets new connections, what outlives what, and
//! what is refused.

use std::{fs, process::Output, time::Duration};

use anyhow::{Context, Result};
use testbed::{
    cli::stderr,
    config::{Config, OnStop},
    daemon::Daemon,
    http::{self, Timeouts},
    site::{self, Site},
    small_disk::SmallDisk,
    topology::Topology,
};

const SOON: Duration = Duration::from_secs(10);
/// A second's worth of the load's requests.
const SOME: usize = 100;

/// What a command said, if it exited with `code`.
#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let words = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(output);
    assert_eq!(output.status.code(), Some(code), "{words}");
    words
}

/// Runs a command that must succeed.
#[track_caller]
fn tell(daemon: &Daemon, arguments: &[&str]) -> Result<String> {
    Ok(said(&daemon.cli().run(arguments)?, 0))
}

/// Whether the backend has this admin state and weight.
fn holds(daemon: &Daemon, backend: &str, admin: &str, weight: u16) -> Result<()> {
    let status = daemon.status()?;
    let found = status.backend(backend);
    assert_eq!((found.admin.as_str(), found.weight), (admin, weight));
    Ok(())
}

#[test]
fn a_drain_under_load_costs_no_request_and_sends_new_ones_elsewhere() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let load = site.load();
    let mut report = load.wait_for(SOME, SOON)?;
    let words = tell(&site.daemon, &["drain", "web/b2"])?;
    assert!(words.contains("web/b2 is draining"), "{words}");
    assert!(words.contains("2 backends of web take new"), "{words}");
    let status = site.daemon.status()?;
    let b2 = status.backend("b2");
    assert_eq!((b2.admin.as_str(), b2.effective_weight), ("draining", 0));
    assert_eq!((b2.slots, b2.health.as_str()), (0, "up"));
    // What was under way when the answer came is not new any more.
    for outcome in load.drain() {
        report.add(outcome);
    }
    load.wait_for(SOME / 10, SOON)?;
    let drained = load.wait_for(SOME, SOON)?;
    assert_eq!(drained.answered.get("b2"), None, "{drained}");
    assert!(drained.failures.is_empty(), "{drained}");

    let words = tell(&site.daemon, &["undrain", "web/b2"])?;
    assert!(words.contains("3 backends of web take new"), "{words}");
    let back = load.wait_for(3 * SOME, SOON)?;
    assert!(back.answered.contains_key("b2"), "{back}");
    for outcome in load.end()? {
        report.add(outcome);
    }
    assert!(report.failures.is_empty(), "{report}");
    assert!(back.failures.is_empty(), "{back}");
    Ok(())
}

#[test]
fn all_drained_drops_new_connections_and_says_so() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    tell(&site.daemon, &["drain", "web/b1"])?;
    // The same by another name.
    tell(&site.daemon, &["weight", "web/b2", "0"])?;
    holds(&site.daemon, "b2", "draining", 0)?;
    let words = tell(&site.daemon, &["drain", "web/b3"])?;
    assert!(words.contains("NO backend of web takes new"), "{words}");
    assert!(words.contains("dropped"), "{words}");
    said(&site.daemon.cli().run(&["status"])?, 3);
    let before = site.daemon.status()?.drops["no_backend"];
    assert!(site.get().is_err(), "a new connection got through");
    let after = site.daemon.status()?.drops["no_backend"];
    assert!(after > before, "{before}, {after}");

    tell(&site.daemon, &["undrain", "web/b3"])?;
    let report = site.get_many(20)?;
    assert_eq!(report.answered.keys().collect::<Vec<_>>(), ["b3"]);
    Ok(())
}

#[test]
fn the_last_backend_removed_drops_new_connections() -> Result<()> {
    let Some(mut site) = Site::build(&Topology::builder().backends(1), |_| {})? else {
        return Ok(());
    };
    site.get_many(5)?;
    site.daemon.set_config(|config| {
        config.web().backends.clear();
    })?;
    let words = said(&site.daemon.reload()?, 0);
    assert!(words.contains("has no backend"), "{words}");
    assert!(site.get().is_err(), "a new connection got through");
    assert!(site.daemon.status()?.drops["no_backend"] > 0);
    Ok(())
}

#[test]
fn two_clients_may_drain_the_same_backend() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let cli = site.daemon.cli();
    let run = || cli.run(&["--output", "json", "drain", "web/b1"]);
    let both = std::thread::scope(|scope| {
        let clients = [scope.spawn(run), scope.spawn(run)];
        clients.map(|client| client.join().expect("a client ends"))
    });
    let mut changed = Vec::new();
    for output in both {
        let report: serde_json::Value = serde_json::from_str(&said(&output?, 0))?;
        assert_eq!(report["admin"], "draining", "{report}");
        assert_eq!(report["remaining"], 2, "{report}");
        changed.push(report["changed"].as_bool().context("changed")?);
    }
    changed.sort();
    assert_eq!(changed, [false, true], "one of them was the first");
    Ok(())
}

#[test]
fn what_was_said_outlives_daemons_and_files() -> Result<()> {
    let keep = |config: &mut Config| config.daemon.on_stop = OnStop::Keep;
    let Some(mut site) = Site::build(&Topology::builder(), keep)? else {
        return Ok(());
    };
    let load = site.load();
    tell(&site.daemon, &["drain", "web/b1"])?;
    tell(&site.daemon, &["weight", "web/b2", "5"])?;
    let holds_still = |site: &Site| -> Result<()> {
        holds(&site.daemon, "b1", "draining", 1)?;
        holds(&site.daemon, "b2", "enabled", 5)?;
        holds(&site.daemon, "b3", "enabled", 1)
    };
    holds_still(&site)?;
    site.daemon.kill9();
    site.daemon.restart()?;
    holds_still(&site).context("after kill -9")?;
    assert!(site.daemon.terminate()?.success());
    site.daemon.restart()?;
    holds_still(&site).context("after SIGTERM")?;
    site.daemon
        .set_config(|config| config.web().backends[2].weight = 2)?;
    said(&site.daemon.reload()?, 0);
    holds(&site.daemon, "b1", "draining", 1)?;
    holds(&site.daemon, "b2", "enabled", 5)?;

    // One that leaves the file is not forgotten: it may come back.
    let mut left = None;
    site.daemon.set_config(|config| {
        left = Some(config.web().backends.remove(0));
    })?;
    said(&site.daemon.reload()?, 0);
    let status = site.daemon.status()?;
    let warned = |status: &testbed::status::Status| {
        let mut warnings = status.warnings.iter();
        warnings.any(|line| line.starts_with("web/b1 is not configured"))
    };
    assert!(warned(&status), "{:?}", status.warnings);
    site.daemon.set_config(|config| {
        config.web().backends.extend(left.clone());
    })?;
    said(&site.daemon.reload()?, 0);
    holds(&site.daemon, "b1", "draining", 1)?;
    assert!(!warned(&site.daemon.status()?));

    // Unless that is asked for.
    site.daemon.set_config(|config| {
        config.web().backends.retain(|one| one.name != "b1");
    })?;
    said(&site.daemon.reload()?, 0);
    let words = tell(&site.daemon, &["enable", "--reset", "web/b1"])?;
    assert!(words.contains("nothing is said of it any more"), "{words}");
    assert!(!warned(&site.daemon.status()?));
    site.daemon.set_config(|config| {
        config.web().backends.extend(left);
    })?;
    said(&site.daemon.reload()?, 0);
    holds(&site.daemon, "b1", "enabled", 1)?;
    tell(&site.daemon, &["weight", "--reset", "web/b2"])?;
    holds(&site.daemon, "b2", "enabled", 1)?;
    let report = load.finish()?;
    assert!(report.answered() > 0, "{report}");
    Ok(())
}

#[test]
fn a_full_disk_refuses_the_command_and_changes_nothing() -> Result<()> {
    let Some((topology, config)) = Site::prepare(&Topology::builder(), |_| {})? else {
        return Ok(());
    };
    let daemon = Daemon::prepare(&topology.lb, config)?;
    let state = daemon.config().daemon.state_dir.clone();
    let disk = SmallDisk::mount(&state)?;
    // Its network goes last, its disk before the folder that it is in.
    let mut site = Site { daemon, topology };
    site.daemon.restart()?;
    site.daemon.wait_until_all_up()?;
    let load = site.load();
    disk.fill()?;
    let slots = site.daemon.status()?.slots();
    for command in [
        &["drain", "web/b1"][..],
        &["disable", "web/b1"],
        &["weight", "web/b1", "9"],
    ] {
        let words = said(&site.daemon.cli().run(command)?, 1);
        assert!(words.contains("No space left on device"), "{words}");
        assert!(words.contains("nothing has changed"), "{words}");
        assert!(words.contains("overrides.json"), "{words}");
        assert_eq!(words.trim().lines().count(), 1, "{words}");
        holds(&site.daemon, "b1", "enabled", 1)?;
    }
    assert_eq!(site.daemon.status()?.slots(), slots);
    assert_eq!(fs::read_dir(&state)?.count(), 1, "the filler alone");

    // What is in force does not need the room again, and the next change does: the old file stays
    // until the new one is whole.
    disk.empty()?;
    tell(&site.daemon, &["drain", "web/b1"])?;
    let words = said(&site.daemon.cli().run(&["undrain", "web/b1"])?, 1);
    assert!(words.contains("No space left on device"), "{words}");
    holds(&site.daemon, "b1", "draining", 1)?;
    site.daemon.kill9();
    site.daemon.restart()?;
    holds(&site.daemon, "b1", "draining", 1)?;
    let report = load.finish()?;
    assert!(report.failures.is_empty(), "{report}");
    drop(site);
    drop(disk);
    Ok(())
}

#[test]
fn a_state_that_no_daemon_wrote_is_refused_at_start() -> Result<()> {
    let network = Topology::builder().backends(1);
    let Some((topology, config)) = Site::prepare(&network, |_| {})? else {
        return Ok(());
    };
    let daemon = Daemon::prepare(&topology.lb, config)?;
    let state = daemon.config().daemon.state_dir.clone();
    fs::create_dir_all(&state)?;
    let file = state.join("overrides.json");
    fs::write(&file, "{\"schema\":1,\"overrides\":")?;
    let ended = daemon.run_to_end(|_| {})?;
    assert_eq!(ended.code(), Some(1), "{}", ended.output);
    let line = ended.only_line()?;
    for word in [&*file.to_string_lossy(), "damaged", "remove it"] {
        assert!(line.contains(word), "`{word}` is not in: {line}");
    }
    assert_eq!(site::programs(&topology)?, [None, None]);
    assert!(!daemon.pins().exists() && !daemon.socket().exists());
    Ok(())
}

#[test]
fn names_that_are_none_are_refused_with_a_hint() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    for (command, hint) in [
        (&["drain", "wbe/b1"][..], "did you mean `web`?"),
        (&["disable", "web/b4"], "did you mean `b1`?"),
        (&["weight", "web/nobody", "3"], "there is `b1`, `b2`, `b3`"),
        (&["undrain", "web/b9"], "service `web` has no backend `b9`"),
        (&["flows", "--service", "wep"], "did you mean `web`?"),
    ] {
        let words = said(&site.daemon.cli().run(command)?, 1);
        assert!(words.contains(hint), "{words}");
    }
    tell(&site.daemon, &["disable", "web/b1"])?;
    let words = said(&site.daemon.cli().run(&["undrain", "web/b1"])?, 1);
    assert!(words.contains("`sluice enable web/b1`"), "{words}");
    holds(&site.daemon, "b1", "disabled", 1)
}

#[test]
fn a_weight_changes_the_spread() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    tell(&site.daemon, &["weight", "web/b1", "2"])?;
    let status = site.daemon.status()?;
    let half = status.web().table_size / 2;
    let slots = status.backend("b1").slots;
    assert!(slots.abs_diff(half) * 50 <= half, "{:?}", status.slots());
    tell(&site.daemon, &["weight", "web/b1", "--reset"])?;
    let third = status.web().table_size / 3;
    let status = site.daemon.status()?;
    let slots = status.backend("b1").slots;
    assert!(slots.abs_diff(third) * 50 <= third, "{:?}", status.slots());
    Ok(())
}

#[test]
fn a_disabled_backend_is_as_dead() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let words = tell(&site.daemon, &["disable", "web/b2"])?;
    assert!(words.contains("as if dead"), "{words}");
    let status = site.daemon.status()?;
    let b2 = status.backend("b2");
    assert_eq!((b2.admin.as_str(), b2.slots), ("disabled", 0));
    assert_eq!(b2.health, "up", "its checks go on");
    let report = site.get_many(SOME)?;
    assert_eq!(report.answered.keys().collect::<Vec<_>>(), ["b1", "b3"]);
    tell(&site.daemon, &["enable", "web/b2"])?;
    let report = site.get_many(SOME)?;
    assert!(report.answered.contains_key("b2"), "{report}");
    Ok(())
}

#[test]
fn waiting_for_a_drain_ends_when_it_is_over() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    // The window has only begun.
    let in_vain = ["drain", "web/b1", "--wait", "--timeout", "500ms"];
    let words = said(&site.daemon.cli().run(&in_vain)?, 3);
    assert!(words.contains("web/b1 is not drained after"), "{words}");
    holds(&site.daemon, "b1", "draining", 1)?;
    assert_ne!(site.daemon.status()?.backend("b1").drained, Some(true));
    tell(&site.daemon, &["undrain", "web/b1"])?;

    // Nothing is remembered, so nothing is waited for.
    site.daemon
        .set_config(|config| config.web().connections.tracking = Some("never"))?;
    said(&site.daemon.reload()?, 0);
    let words = tell(
        &site.daemon,
        &["drain", "web/b1", "--wait", "--timeout", "10s"],
    )?;
    assert!(words.contains("web/b1 is drained"), "{words}");
    let status = site.daemon.status()?;
    let b1 = status.backend("b1");
    assert_eq!((b1.flows, b1.drained), (Some(0), Some(true)));
    Ok(())
}

#[test]
fn a_long_connection_is_remembered_where_it_was() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let daemon = &site.daemon;
    let vip = testbed::topology::VIP.to_string();
    assert_eq!(tell(daemon, &["flows"])?, "no flow is remembered\n");
    site.client().block_on(async || -> Result<()> {
        let timeouts = Timeouts::default();
        let mut connection = http::Connection::open(vip.parse()?, timeouts).await?;
        let first = connection.get().await?;
        let (backend, source) = (first.backend().to_owned(), first.local.to_string());
        tell(daemon, &["drain", &format!("web/{backend}")])?;
        assert_eq!(connection.get().await?.backend(), backend);

        let list = tell(
            daemon,
            &["flows", "--service", "web", "--backend", &backend],
        )?;
        let line = list.lines().find(|line| line.contains(&source));
        let line = line.with_context(|| format!("{source} is not in:\n{list}"))?;
        assert!(line.contains("established"), "{line}");
        let counts = tell(daemon, &["flows", "--count", "--backend", &backend])?;
        assert!(counts.contains("established"), "{counts}");
        assert!(daemon.status()?.web().remembers(), "{:?}", daemon.status()?);

        let line = ["--output", "json", "explain", "tcp", &source, &vip];
        let explained: serde_json::Value = serde_json::from_str(&tell(daemon, &line)?)?;
        assert_eq!(explained["slot"]["state"], "transition", "{explained}");
        assert_eq!(explained["slot"]["previous"], *backend, "{explained}");
        assert_eq!(explained["entry"]["backend"], *backend, "{explained}");
        let new = explained["slot"]["current"].as_str().context("current")?;
        assert_ne!(new, backend, "{explained}");
        // A new connection from the same port would go elsewhere, this one stays.
        let [syn, segment] = &explained["packets"].as_array().context("packets")?[..] else {
            anyhow::bail!("{explained}");
        };
        for (packet, who) in [(syn, new), (segment, &*backend)] {
            assert_eq!(packet["backend"], *who, "{explained}");
            assert_eq!(packet["program"], *who, "{explained}");
        }
        assert_eq!(connection.get().await?.backend(), backend);
        Ok(())
    })
}

#[test]
fn explain_knows_where_connections_went() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    for _ in 0..10 {
        let reply = site.get()?;
        let source = reply.local.to_string();
        let vip = testbed::topology::VIP.to_string();
        let line = ["--output", "json", "explain", "tcp", &source, &vip];
        let explained: serde_json::Value = serde_json::from_str(&tell(&site.daemon, &line)?)?;
        assert_eq!(explained["service"], "web", "{explained}");
        assert_eq!(explained["slot"]["state"], "stable", "{explained}");
        let packets = explained["packets"].as_array().context("packets")?;
        assert_eq!(packets.len(), 2, "{explained}");
        for packet in packets {
            assert_eq!(packet["backend"], reply.backend(), "{explained}");
            assert_eq!(packet["program"], reply.backend(), "{explained}");
            assert_eq!(packet["agrees"], true, "{explained}");
        }
    }
    // Explaining is no packet.
    let before = site.daemon.status()?;
    let words = tell(
        &site.daemon,
        &["explain", "tcp", "192.0.2.7:4000", "10.77.0.80:80"],
    )?;
    assert!(
        words.contains("service  web, tracking transition"),
        "{words}"
    );
    let after = site.daemon.status()?;
    assert_eq!(after.web().new_flows, before.web().new_flows);
    assert_eq!(after.verdict("drop"), before.verdict("drop"));
    let words = tell(
        &site.daemon,
        &["explain", "tcp", "192.0.2.7:4000", "10.77.0.80:81"],
    )?;
    assert!(words.contains("none listens there"), "{words}");
    let words = tell(
        &site.daemon,
        &["explain", "udp", "192.0.2.7:4000", "10.77.0.80:80"],
    )?;
    assert!(words.contains("none listens there"), "{words}");
    Ok(())
}

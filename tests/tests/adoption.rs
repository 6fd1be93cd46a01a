//! Packets flow without a daemon, and the next one takes over what it finds.

use std::time::Duration;

use anyhow::Result;
use testbed::{
    config::OnStop, daemon::Daemon, site::Site, status::Status, sweep, topology::Topology,
};

const SOON: Duration = Duration::from_secs(10);
/// A second's worth of the load's requests.
const SOME: usize = 100;

/// The daemon goes, and comes back, under load: nobody may notice.
fn restarts_unnoticed(on_stop: OnStop, stop: impl FnOnce(&mut Daemon) -> Result<()>) -> Result<()> {
    let change = |config: &mut testbed::config::Config| config.daemon.on_stop = on_stop;
    let Some(mut site) = Site::build(&Topology::builder(), change)? else {
        return Ok(());
    };
    let load = site.load();
    let mut report = load.wait_for(SOME, SOON)?;
    let before = site.daemon.status()?;
    let programs = site.programs()?;

    stop(&mut site.daemon)?;
    let alone = load.wait_for(SOME, SOON)?;
    assert!(alone.failures.is_empty(), "without a daemon: {alone}");
    assert_eq!(alone.answered.len(), 3, "without a daemon: {alone}");
    assert_eq!(site.programs()?, programs, "the program stays attached");

    site.daemon.restart()?;
    let after = site.daemon.status()?;
    assert_eq!(after.slots(), before.slots());
    assert!(
        after.all_up(),
        "what was up is taken over as up: {:#?}",
        after.web()
    );
    assert_ne!(after.pid, before.pid);
    assert_counted_on(&before, &after);
    // Requests during the daemon's absence were counted too.
    let flows = after.web().new_flows - before.web().new_flows;
    assert!(flows >= alone.answered(), "{flows} flows, {alone}");

    let taken_over = load.wait_for(SOME, SOON)?;
    assert!(
        taken_over.failures.is_empty(),
        "with the next daemon: {taken_over}"
    );
    load.end()?
        .into_iter()
        .for_each(|outcome| report.add(outcome));
    assert!(
        report.failures.is_empty(),
        "{report}\n{}",
        site.daemon.log_tail()
    );
    Ok(())
}

fn assert_counted_on(before: &Status, after: &Status) {
    for backend in &before.web().backends {
        let now = after.backend(&backend.name);
        assert!(now.packets >= backend.packets, "{backend:?} {now:?}");
        assert!(now.bytes >= backend.bytes, "{backend:?} {now:?}");
        assert!(now.new_flows >= backend.new_flows, "{backend:?} {now:?}");
    }
    for (name, count) in &before.verdicts {
        assert!(
            after.verdict(name) >= *count,
            "{:?} {:?}",
            before.verdicts,
            after.verdicts
        );
    }
}

fn assert_nothing_left(site: &Site) -> Result<()> {
    let pins = sweep::files_below(&site.daemon.pins());
    assert!(pins.is_empty(), "{pins:?}");
    assert!(
        !site.daemon.pins().exists(),
        "an empty folder is something too"
    );
    assert_eq!(site.programs()?, [None, None]);
    assert!(
        !site.daemon.socket().exists(),
        "{}",
        site.daemon.socket().display()
    );
    Ok(())
}

#[test]
fn a_daemon_killed_under_load_and_its_successor_cost_no_request() -> Result<()> {
    restarts_unnoticed(OnStop::Detach, |daemon| {
        daemon.kill9();
        Ok(())
    })
}

#[test]
fn a_daemon_that_is_to_keep_packets_flowing_costs_no_request() -> Result<()> {
    restarts_unnoticed(OnStop::Keep, |daemon| {
        let status = daemon.terminate()?;
        assert_eq!(status.code(), Some(0), "{}", daemon.log_tail());
        Ok(())
    })
}

#[test]
fn a_daemon_that_is_to_detach_leaves_nothing() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    site.get_many(3)?;
    assert!(site.programs()?.iter().all(Option::is_some));
    let status = site.daemon.terminate()?;
    assert_eq!(status.code(), Some(0), "{}", site.daemon.log_tail());
    assert_nothing_left(&site)
}

#[test]
fn detach_cleans_up_without_a_daemon() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    site.daemon.kill9();
    assert!(site.programs()?.iter().all(Option::is_some));
    let output = site.daemon.cli().run(&["detach"])?;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        testbed::cli::stderr(&output)
    );
    assert_nothing_left(&site)?;
    // Nothing to clean is no failure.
    let output = site.daemon.cli().run(&["detach"])?;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        testbed::cli::stderr(&output)
    );
    Ok(())
}

#[test]
fn a_successor_with_another_file_applies_it() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    site.daemon.kill9();
    site.daemon.set_config(|config| {
        config.web().backends.remove(0);
    })?;
    site.daemon.restart()?;
    let status = site.daemon.wait_until_all_up()?;
    assert_eq!(status.slots().keys().collect::<Vec<_>>(), ["b2", "b3"]);
    let report = site.get_many(60)?;
    assert_eq!(report.answered.get("b1"), None, "{report}");
    Ok(())
}

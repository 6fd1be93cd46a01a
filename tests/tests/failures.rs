//! A backend that dies is left out in time, and noticed when it is back.

use std::time::Instant;

use anyhow::{Context, Result};
use testbed::{config::Health, site::Site, topology::Death};

const VICTIM: &str = "b2";

fn survives(death: Death) -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    let health = Health::quick();
    let table = site.daemon.status()?.web().table_size;
    let load = site.load();
    load.wait_for(20, health.detection())?;

    let died = Instant::now();
    let backend = site.topology.backend_mut(VICTIM).context("no victim")?;
    backend.die(death)?;
    let status =
        site.daemon
            .wait_until("the death to be noticed", health.detection(), |status| {
                status.backend(VICTIM).is_left_out()
            })?;
    let noticed = Instant::now();
    assert!(
        noticed - died <= health.detection(),
        "noticed after {:?}",
        noticed - died
    );
    let slots = status.slots();
    assert_eq!(
        slots.values().sum::<u64>(),
        table,
        "the others share its slots: {slots:?}"
    );

    let report = site.get_many(100)?;
    assert_eq!(report.answered.get(VICTIM), None, "{report}");
    assert_eq!(report.answered(), 100, "{report}");

    let backend = site.topology.backend_mut(VICTIM).context("no victim")?;
    backend.revive()?;
    site.daemon
        .wait_until("the return to be noticed", health.recovery(), |status| {
            status.backend(VICTIM).serves()
        })?;
    let report = site.get_many(100)?;
    assert!(
        report.answered.get(VICTIM).is_some_and(|count| *count > 0),
        "{report}"
    );

    // What failed in the background was under way while the death was unnoticed. Slots that went back to
    // the returned backend took nothing with them.
    let failures = load.end()?.into_iter().filter(|one| one.result.is_err());
    let late: Vec<_> = failures
        .filter(|failure| failure.started > noticed)
        .collect();
    assert!(late.is_empty(), "{late:#?}\n{}", site.daemon.log_tail());
    Ok(())
}

#[test]
fn a_killed_backend_is_left_out_and_its_return_noticed() -> Result<()> {
    survives(Death::Killed)
}

#[test]
fn a_stopped_backend_is_left_out_and_its_return_noticed() -> Result<()> {
    survives(Death::Stopped)
}

#[test]
fn an_unplugged_backend_is_left_out_and_its_return_noticed() -> Result<()> {
    survives(Death::Unplugged)
}

#[test]
fn without_a_backend_packets_are_dropped_and_counted_until_one_is_back() -> Result<()> {
    let network = testbed::topology::Topology::builder().backends(1);
    let Some(mut site) = Site::build(&network, |_| {})? else {
        return Ok(());
    };
    let health = Health::quick();
    site.topology.backends[0].die(Death::Killed)?;
    site.daemon
        .wait_until("the death to be noticed", health.detection(), |status| {
            // The table has nowhere else to lead, so it stays: the backend's entry says it is dead.
            status.backend("b1").health == "down"
        })?;
    assert!(site.get().is_err(), "nobody is there to answer");
    let status = site.daemon.status()?;
    assert!(status.drops["no_backend"] > 0, "{:?}", status.drops);
    site.topology.backends[0].revive()?;
    site.daemon.wait_until_all_up()?;
    assert_eq!(site.get()?.backend(), "b1");
    Ok(())
}

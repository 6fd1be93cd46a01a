//! Health checks over HTTP: the status of a backend's answer decides.

use std::time::Duration;

use anyhow::Result;
use testbed::{
    config::Health,
    site::Site,
    status::{Backend, Status},
    topology::Topology,
};

/// Every backend is as `judge` says, and its last check says `reason`.
fn all(status: &Status, reason: &str, judge: impl Fn(&Backend) -> bool) -> bool {
    let mut backends = status.web().backends.iter();
    backends.all(|one| judge(one) && one.reason() == reason)
}

#[test]
fn a_backend_serves_while_it_answers_with_an_expected_status() -> Result<()> {
    let network = Topology::builder().backends(2);
    let check = Health::quick_http("/healthz", &[200]);
    let (down, up) = (check.detection(), check.recovery());
    let Some(mut site) = Site::build(&network, |config| config.web().health = vec![check])? else {
        return Ok(());
    };
    let status = site.daemon.status()?;
    assert!(all(&status, "200", Backend::serves), "{status:#?}");
    let last = status.backend("b1").last_check.clone().expect("a check");
    assert!(last.ok && !last.at.is_empty(), "{last:?}");
    assert!(last.duration_ms < 200.0, "{last:?}");
    site.get_many(10)?;

    // They go on answering 200, which is not what counts now.
    site.daemon
        .set_config(|config| config.web().health[0].expect_status = vec![204])?;
    assert!(site.daemon.reload()?.status.success());
    let slack = Duration::from_secs(5);
    site.daemon
        .wait_until("all to be down", down + slack, |status| {
            all(status, "status 200", |one| one.health == "down")
        })?;

    site.daemon
        .set_config(|config| config.web().health[0].expect_status = vec![204, 200])?;
    assert!(site.daemon.reload()?.status.success());
    site.daemon
        .wait_until("all to be up", up + slack, |status| {
            all(status, "200", Backend::serves)
        })?;
    site.get_many(10)?;
    Ok(())
}

#[test]
fn a_backend_that_accepts_and_never_answers_is_taken_out_and_comes_back() -> Result<()> {
    let check = Health::quick_http("/", &[]);
    let (down, up) = (check.detection(), check.recovery());
    let Some(mut site) = Site::build(&Topology::builder(), |config| {
        config.web().health = vec![check];
    })?
    else {
        return Ok(());
    };
    let slack = Duration::from_secs(5);
    site.topology.backends[1].server.stop();
    let status = site
        .daemon
        .wait_until("b2 to be out", down + slack, |status| {
            status.backend("b2").is_left_out()
        })?;
    assert_eq!(status.backend("b2").reason(), "timed out after 200ms");
    let report = site.get_many(30)?;
    assert!(!report.answered.contains_key("b2"), "{report}");

    site.topology.backends[1].server.revive()?;
    site.daemon
        .wait_until("b2 to be back", up + slack, |status| {
            status.backend("b2").serves()
        })?;
    Ok(())
}

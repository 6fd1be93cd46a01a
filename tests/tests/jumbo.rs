//! Interfaces whose frames lie in several buffers have a program of their own, through everything that
//! replaces programs.

use std::time::Duration;

use anyhow::Result;
use testbed::{
    cli::stderr,
    mode::XdpMode::{Generic, Native},
    poll,
    site::Site,
    topology::Topology,
};

const JUMBO: u32 = 9000;
const SOON: Duration = Duration::from_secs(10);

fn frags(site: &Site) -> Result<Vec<bool>> {
    let status = site.daemon.status()?;
    Ok(status.interfaces.iter().map(|one| one.frags).collect())
}

fn serves(site: &Site) -> Result<()> {
    let report = site.get_many(30)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    Ok(())
}

#[test]
fn the_program_for_several_buffers_is_kept_through_traces_reloads_and_restarts() -> Result<()> {
    let network = Topology::builder().mtu(JUMBO);
    let Some(mut site) = Site::build(&network, |config| config.attach_as(Native))? else {
        return Ok(());
    };
    assert_eq!(frags(&site)?, [true, true]);
    serves(&site)?;

    let load = site.load();
    let before = site.programs()?;
    let output = site.daemon.cli().run(&["trace", "--limit", "5"])?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    poll::until_true("the tracing program to be gone", SOON, || {
        site.programs().is_ok_and(|now| now == before)
    })?;

    site.daemon.set_config(|config| config.add_udp())?;
    let output = site.daemon.reload()?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_ne!(site.programs()?, before, "UDP is a feature of the program");
    assert_eq!(frags(&site)?, [true, true]);

    let before = site.programs()?;
    site.daemon.kill9();
    site.daemon.restart()?;
    site.daemon.wait_until_all_up()?;
    assert_ne!(site.programs()?, before, "the next daemon loads its own");
    assert_eq!(frags(&site)?, [true, true]);
    serves(&site)?;
    let report = load.finish()?;
    assert!(
        report.failures.is_empty(),
        "{report}\n{}",
        site.daemon.log_tail()
    );
    Ok(())
}

#[test]
fn only_a_driver_that_has_no_room_gets_it() -> Result<()> {
    for (mtu, mode) in [(1500, Native), (JUMBO, Generic)] {
        let network = Topology::builder().mtu(mtu);
        let Some(site) = Site::build(&network, |config| config.attach_as(mode))? else {
            return Ok(());
        };
        assert_eq!(frags(&site)?, [false, false], "{mtu}, {mode:?}");
        serves(&site)?;
    }
    Ok(())
}

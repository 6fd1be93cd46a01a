//! Native XDP where the driver has it, generic where it does not, and nothing where that is not
//! allowed.

use std::time::Duration;

use anyhow::Result;
use testbed::{
    cli::stderr,
    config::{Config, Interface},
    daemon::Daemon,
    netlink,
    site::{self, Site},
    topology::Topology,
};

const SOON: Duration = Duration::from_secs(5);

fn with_mode(xdp: &'static str) -> impl FnOnce(&mut Config) {
    move |config| config.interfaces.iter_mut().for_each(|one| one.xdp = xdp)
}

/// Requests are answered by all backends, none is delayed, and all interfaces are in generic mode.
fn serves_in_generic_mode(site: &Site) -> Result<()> {
    let status = site.daemon.status()?;
    for interface in &status.interfaces {
        assert_eq!(interface.xdp, "generic", "{interface:?}");
    }
    for name in site.topology.lb_interfaces() {
        let program = site.topology.lb.link(name)?.xdp;
        assert!(
            program.is_some_and(|program| !program.native),
            "{program:?}"
        );
    }
    let report = site.get_many(100)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    let after = site.daemon.status()?;
    assert!(
        after.verdict("redirect") > status.verdict("redirect"),
        "{:?}",
        after.verdicts
    );
    assert_eq!(after.drops.values().sum::<u64>(), 0, "{:?}", after.drops);
    Ok(())
}

#[test]
fn generic_mode_serves_every_request() -> Result<()> {
    let Some(site) = Site::build(&Topology::builder(), with_mode("generic"))? else {
        return Ok(());
    };
    serves_in_generic_mode(&site)
}

#[test]
fn a_bridge_is_served_in_generic_mode_and_the_log_says_so() -> Result<()> {
    let Some(site) = Site::build(&Topology::builder().bridged(), with_mode("auto"))? else {
        return Ok(());
    };
    let log = site.daemon.log_tail();
    for name in site.topology.lb_interfaces() {
        let line = format!("interface {name}: the driver has no native XDP");
        assert!(log.contains(&line), "`{line}` is not in:\n{log}");
    }
    serves_in_generic_mode(&site)
}

#[test]
fn native_mode_on_a_bridge_is_refused() -> Result<()> {
    let network = Topology::builder().backends(1).bridged();
    let Some((topology, config)) = Site::prepare(&network, with_mode("native"))? else {
        return Ok(());
    };
    let daemon = Daemon::prepare(&topology.lb, config)?;
    let ended = daemon.run_to_end(|_| {})?;
    assert_eq!(ended.code(), Some(1), "{}", ended.output);
    let line = ended.only_line()?;
    assert!(
        line.contains("the driver of interface front has no native XDP; use xdp = \"auto\""),
        "{line}"
    );
    assert_eq!(site::programs(&topology)?, [None, None]);
    assert!(!daemon.pins().exists());
    Ok(())
}

#[test]
fn a_macvlan_is_attached_to_in_generic_mode() -> Result<()> {
    let network = Topology::builder().backends(1);
    let Some(mut site) = Site::build(&network, |_| {})? else {
        return Ok(());
    };
    let lb = site.topology.lb.clone();
    lb.run(|| netlink::add_macvlan("above", "front"))?;
    lb.set_up("above", true)?;
    site.daemon.set_config(|config| {
        config.interfaces.push(Interface {
            name: "above".to_owned(),
            xdp: "auto",
            vlan: false,
        });
    })?;
    let output = site.daemon.reload()?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(modes(&site)?, ["native", "native", "generic"]);
    site.get_many(10)?;
    Ok(())
}

#[test]
fn auto_is_native_where_the_driver_has_it() -> Result<()> {
    let network = Topology::builder().backends(1);
    let Some(site) = Site::build(&network, with_mode("auto"))? else {
        return Ok(());
    };
    let up = |status: &testbed::status::Status| {
        let mut interfaces = status.interfaces.iter();
        interfaces.all(|one| one.up && one.xdp == "native")
    };
    site.daemon.wait_until("native mode", SOON, up)?;
    Ok(())
}

#[test]
fn a_reload_changes_the_mode_and_another_changes_it_back() -> Result<()> {
    let Some(mut site) = Site::build(&Topology::builder(), with_mode("native"))? else {
        return Ok(());
    };
    site.daemon.set_config(with_mode("generic"))?;
    let output = site.daemon.reload()?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serves_in_generic_mode(&site)?;
    site.daemon.set_config(with_mode("auto"))?;
    let output = site.daemon.reload()?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let modes = modes(&site)?;
    assert!(modes.iter().all(|mode| mode == "native"), "{modes:?}");
    Ok(())
}

#[test]
fn native_mode_refused_by_a_reload_leaves_generic_mode_in_force() -> Result<()> {
    let Some(mut site) = Site::build(&Topology::builder().bridged(), with_mode("generic"))? else {
        return Ok(());
    };
    site.daemon.set_config(with_mode("native"))?;
    let output = site.daemon.reload()?;
    assert_ne!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(said.contains("has no native XDP"), "{said}");
    site.daemon.wait_until("generic mode", SOON, |status| {
        let mut interfaces = status.interfaces.iter();
        interfaces.all(|one| one.xdp == "generic") && status.alarms.is_empty()
    })?;
    serves_in_generic_mode(&site)
}

#[test]
fn a_successor_attaches_in_the_mode_that_its_file_says() -> Result<()> {
    let Some(mut site) = Site::build(&Topology::builder(), with_mode("native"))? else {
        return Ok(());
    };
    site.daemon.kill9();
    site.daemon.set_config(with_mode("generic"))?;
    site.daemon.restart()?;
    site.daemon.wait_until_all_up()?;
    serves_in_generic_mode(&site)
}

fn modes(site: &Site) -> Result<Vec<String>> {
    let status = site.daemon.status()?;
    Ok(status.interfaces.into_iter().map(|one| one.xdp).collect())
}

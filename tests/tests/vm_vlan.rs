//! A network whose hosts have addresses on the kernel's VLAN devices alone, with one tag and with two: the
//! load balancer's routes lead out of them, and packets leave by the interfaces below. In the guest, since not
//! every kernel has them.

use std::time::Duration;

use anyhow::Result;
use testbed::{
    capture::Tag,
    cli,
    config::Config,
    mode::XdpMode::{self, Generic, Native},
    site::Site,
    status::Status,
    tagged::{DOT1Q, QINQ},
    tagged_ways,
    topology::Topology,
    transfer::MODEST,
    ways::{REWRITTEN, Way, Ways},
};

const SOON: Duration = Duration::from_secs(20);

/// Nothing of what packets go through is Sluice's but the load balancer: kernels take them out of tunnels,
/// too.
fn everything_arrives(ways: &[Way], tags: &'static [Tag], xdp: XdpMode) -> Result<()> {
    let network = Topology::builder().backends(2).vlan(tags).kernel_tunnels();
    let behind_tags = |config: &mut Config| {
        config.attach_as(xdp);
        config.look_behind_tags();
    };
    let Some(all) = Ways::start(network, ways, behind_tags)? else {
        return Ok(());
    };
    for &way in ways {
        tagged_ways::ask(&all, way, tags)?;
        all.transfer_bytes(way, MODEST)?;
    }
    let status = all.site.daemon.status()?;
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    let mut alarms = status.alarms.iter();
    assert!(
        !alarms.any(|alarm| alarm.contains("VLAN device")),
        "{:?}",
        status.alarms
    );
    Ok(())
}

#[test]
fn one_tag_where_addresses_are_rewritten() -> Result<()> {
    everything_arrives(REWRITTEN, DOT1Q, Native)
}

#[test]
fn two_tags_where_addresses_are_rewritten() -> Result<()> {
    everything_arrives(REWRITTEN, QINQ, Generic)
}

#[test]
fn one_tag_before_backends_that_answer_themselves() -> Result<()> {
    everything_arrives(&tagged_ways::direct(), DOT1Q, Generic)
}

#[test]
fn two_tags_before_backends_that_answer_themselves() -> Result<()> {
    everything_arrives(&tagged_ways::direct(), QINQ, Native)
}

#[test]
fn a_way_through_a_vlan_device_needs_to_be_asked_for() -> Result<()> {
    let network = Topology::builder().backends(1).vlan(DOT1Q);
    let alarmed = |status: &Status| {
        let wanted = "leads out of VLAN device back.7: set vlan = true for interface back";
        status.alarms.iter().any(|alarm| alarm.contains(wanted))
    };
    let Some(mut site) = Site::build_until(&network, |_| {}, alarmed)? else {
        return Ok(());
    };
    site.daemon.set_config(Config::look_behind_tags)?;
    let output = site.daemon.reload()?;
    assert!(output.status.success(), "{}", cli::stderr(&output));
    let serves = |status: &Status| status.all_up() && status.alarms.is_empty();
    site.daemon
        .wait_until("a backend behind a VLAN device", SOON, serves)?;
    site.get_many(5)?;
    Ok(())
}

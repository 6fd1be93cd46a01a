//! Real VLAN devices on the load balancer: its kernel's routes lead out of them, packets leave by the
//! interfaces below with the tag that they came in with. In the guest, since not every kernel has them.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use testbed::{
    config::{Backend, Config},
    host::Host,
    http::{self, Timeouts},
    netlink,
    server::Server,
    site::Site,
    status::Status,
    topology::{Topology, VIP},
};

const SOON: Duration = Duration::from_secs(30);
const ID: u16 = 7;

/// The networks of the VLAN: clients' and backends'.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 88, 1, 10);
const LB_FRONT: Ipv4Addr = Ipv4Addr::new(10, 88, 1, 1);
const LB_BACK: Ipv4Addr = Ipv4Addr::new(10, 88, 2, 1);
const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 88, 2, 11);

/// `eth0.7` above `eth0`.
fn vlan(host: &Host, below: &str, address: Ipv4Addr) -> Result<()> {
    let name = format!("{below}.{ID}");
    host.run(|| -> Result<()> {
        netlink::add_vlan(&name, below, ID)?;
        netlink::set_up(&name, true)
    })?;
    host.address(&name, address, 24)
}

fn behind_tags(config: &mut Config) {
    for interface in &mut config.interfaces {
        interface.vlan = true;
    }
    let web = config.web();
    web.health.clear();
    web.backends = vec![Backend::new("b1", format!("{BACKEND}:80"))];
}

/// The network, with the VLAN; `None`: skipped.
fn prepare() -> Result<Option<(Topology, Config, Server)>> {
    let network = Topology::builder().backends(1).tags(1);
    let Some((topology, config)) = Site::prepare(&network, behind_tags)? else {
        return Ok(None);
    };
    let backend = topology.backend("b1").context("there is one")?;
    vlan(&topology.client, "eth0", CLIENT)?;
    vlan(&topology.lb, "front", LB_FRONT)?;
    vlan(&topology.lb, "back", LB_BACK)?;
    vlan(&backend.host, "eth0", BACKEND)?;
    topology.client.reroute(*VIP.ip(), 32, LB_FRONT)?;
    backend.host.route(CLIENT, 32, LB_BACK)?;
    let server = Server::start(&backend.host, "b1", &[(BACKEND, 80).into()])?;
    Ok(Some((topology, config, server)))
}

fn has_slots(status: &Status) -> bool {
    status.service("web").backends.iter().all(|b| b.slots > 0)
}

#[test]
fn packets_of_a_vlan_reach_backends_and_clients_by_the_interfaces_below() -> Result<()> {
    let Some((topology, config, _server)) = prepare()? else {
        return Ok(());
    };
    let daemon = testbed::daemon::Daemon::start(&topology.lb, config)?;
    let status = daemon.wait_until("a backend behind a VLAN device", SOON, has_slots)?;
    assert_eq!(status.alarms, [""; 0]);
    for n in 1..=20 {
        let reply = topology
            .client
            .block_on(|| http::get(VIP.into(), Timeouts::default()));
        let reply = reply.with_context(|| format!("request {n}\n{}", daemon.log_tail()))?;
        assert_eq!(reply.backend(), "b1");
    }
    let status = daemon.status()?;
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    // Beside those that the kernel sent while it did not know the client yet.
    assert!(status.verdicts["redirect"] > 100, "{:?}", status.verdicts);
    Ok(())
}

#[test]
fn a_way_through_a_vlan_device_needs_to_be_asked_for() -> Result<()> {
    let Some((topology, mut config, _server)) = prepare()? else {
        return Ok(());
    };
    for interface in &mut config.interfaces {
        interface.vlan = false;
    }
    let mut daemon = testbed::daemon::Daemon::start(&topology.lb, config)?;
    let status = daemon.wait_until("an alarm", SOON, |status| !status.alarms.is_empty())?;
    let wanted = "leads out of VLAN device back.7: set vlan = true for interface back";
    let told = status.alarms.iter().any(|alarm| alarm.contains(wanted));
    assert!(told, "{:?}", status.alarms);
    daemon.set_config(behind_tags)?;
    let output = daemon.reload()?;
    assert!(output.status.success(), "{}", testbed::cli::stderr(&output));
    let status = daemon.wait_until("a backend behind a VLAN device", SOON, has_slots)?;
    assert_eq!(status.alarms, [""; 0]);
    Ok(())
}

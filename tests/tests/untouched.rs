//! Traffic that is not for a VIP's port passes as if nobody were there.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use testbed::{
    echo::{EchoServer, echo},
    http::{self, Timeouts},
    icmp::ping,
    site::Site,
    topology::{LB_BACK, LB_FRONT, VIP},
};

const SOON: Duration = Duration::from_secs(2);
const ECHO: u16 = 7;

#[test]
fn the_load_balancers_own_services_are_reached() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let before = site.daemon.status()?;
    let target = SocketAddr::from((LB_FRONT, ECHO));
    let server = EchoServer::start(&site.topology.lb, target)?;
    // More than a segment, and more than one.
    echo(site.client(), target, &vec![0x5a; 100_000], SOON)?;
    ping(site.client(), LB_FRONT, SOON)?;
    ping(&site.topology.backends[0].host, LB_BACK, SOON)?;
    assert_eq!(server.connections(), 1);

    let after = site.daemon.status()?;
    assert!(
        after.verdict("pass") > before.verdict("pass"),
        "{:?}",
        after.verdicts
    );
    assert_eq!((after.web().packets, after.web().new_flows), (0, 0));
    assert_eq!(after.drops.values().sum::<u64>(), 0, "{:?}", after.drops);
    Ok(())
}

#[test]
fn another_port_of_the_vip_is_not_swallowed() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    // The operator has given the host the VIP, and something listens there beside the service.
    site.topology.lb.address("lo", *VIP.ip(), 32)?;
    let target = SocketAddr::from((*VIP.ip(), ECHO));
    let server = EchoServer::start(&site.topology.lb, target)?;
    let before = site.daemon.status()?;
    echo(site.client(), target, b"not for a backend", SOON)?;
    ping(site.client(), *VIP.ip(), SOON)?;
    assert_eq!(server.connections(), 1);
    let after = site.daemon.status()?;
    assert!(
        after.verdict("pass") >= before.verdict("pass") + 4,
        "{:?}",
        after.verdicts
    );
    assert_eq!(after.web().packets, before.web().packets);
    // And the service itself still is the backends'.
    site.get_many(10)?;
    Ok(())
}

#[test]
fn what_the_host_forwards_it_still_forwards() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let backend = &site.topology.backends[0];
    let target = SocketAddr::new(backend.address.ip(), ECHO);
    let server = EchoServer::start(&backend.host, target)?;
    echo(site.client(), target, &vec![0xa5; 100_000], SOON)?;
    assert_eq!(server.connections(), 1);
    assert_eq!(site.daemon.status()?.web().packets, 0);
    Ok(())
}

#[test]
fn the_hosts_own_connections_to_a_backend_are_not_rewritten() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    for backend in &site.topology.backends {
        let fetch = || http::get(backend.address, Timeouts::default());
        let reply = site.topology.lb.block_on(fetch)?;
        assert_eq!(reply.backend(), backend.name);
        assert_eq!(reply.local.ip(), LB_BACK);
    }
    // Health checks are such connections too: every backend is up, and they counted nothing.
    let status = site.daemon.status()?;
    assert!(status.all_up(), "{:#?}", status.web());
    assert_eq!((status.web().packets, status.web().new_flows), (0, 0));
    Ok(())
}

//! The way to a backend changes, and the daemon follows without being told.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use testbed::{
    config::{Backend, Config},
    host::Host,
    netlink::Neighbour,
    site::Site,
    status::Status,
    sweep,
    topology::{Death, LB_BACK, ROUTER_FRONT, Topology, plug},
};

/// Netlink tells at once; what follows from it takes a plan.
const SOON: Duration = Duration::from_secs(5);
/// A silent neighbour is noticed by its silence.
const LATER: Duration = Duration::from_secs(15);

/// Nothing but the neighbours says how a backend is.
fn without_checks(config: &mut Config) {
    config.web().health.clear();
}

/// A site whose backends are not checked, all of them in use.
fn start_without_checks(change: impl FnOnce(&mut Config)) -> Result<Option<Site>> {
    let network = Topology::builder();
    let prepared = Site::prepare(&network, |config| {
        without_checks(config);
        change(config);
    })?;
    let Some((topology, config)) = prepared else {
        return Ok(None);
    };
    topology.lb.hasten_neighbours("back")?;
    let daemon = testbed::daemon::Daemon::start(&topology.lb, config)?;
    let site = Site { daemon, topology };
    site.daemon.wait_until("the backends", SOON, |status| {
        ["b1", "b2", "b3"]
            .iter()
            .all(|name| is_resolved(status, name))
    })?;
    Ok(Some(site))
}

fn is_resolved(status: &Status, name: &str) -> bool {
    let backend = status.backend(name);
    backend.neighbor == "resolved" && backend.slots > 0
}

fn neighbour(host: &Host, address: IpAddr) -> Result<Option<Neighbour>> {
    let all = host.neighbours()?;
    Ok(all.into_iter().find(|one| one.address == address))
}

/// Waits until requests come through: the kernel tells the daemon of a change and waits for nobody.
fn settle(site: &Site) -> Result<()> {
    testbed::poll::until("requests to come through", SOON, || site.get_many(15).ok())?;
    Ok(())
}

#[test]
fn a_backend_with_another_mac_address_is_followed() -> Result<()> {
    const MAC: [u8; 6] = [2, 0, 0, 0, 0x77, 2];
    let Some(site) = start_without_checks(|_| {})? else {
        return Ok(());
    };
    let backend = &site.topology.backends[0];
    backend.host.set_mac("eth0", MAC)?;
    testbed::poll::until("the new address", LATER, || {
        let entry = neighbour(&site.topology.lb, backend.address.ip()).ok()??;
        (entry.mac == Some(MAC)).then_some(())
    })?;
    // Frames to the old address reach nobody: a request that one of them belongs to fails.
    settle(&site)?;
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    assert_eq!(site.daemon.status()?.config.generation, 1);
    Ok(())
}

#[test]
fn a_backend_that_moves_to_another_gateway_is_followed() -> Result<()> {
    const SECOND: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 252);
    const BETWEEN: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 4, 1), Ipv4Addr::new(10, 77, 4, 2)];
    let Some(site) = Site::build(&Topology::builder().backends(1).far_backend(), |_| {})? else {
        return Ok(());
    };
    let Topology {
        lb,
        router,
        backends,
        gateway,
        ..
    } = &site.topology;
    let far = backends.last().context("no backend")?;
    assert_eq!(far.name, "b2");
    let (far_address, far) = (far.address.ip(), &far.host);

    let second = Host::new(&format!("{}-gateway2", sweep::unique_name()))?;
    plug(&second, "back", SECOND, router, "gateway2", "back")?;
    second.forward()?;
    second.join("far", far, "eth1")?;
    second.address("far", BETWEEN[0], 24)?;
    far.address("eth1", BETWEEN[1], 24)?;
    second.route(far_address, 32, BETWEEN[1])?;
    second.route(Ipv4Addr::new(10, 77, 1, 0), 24, LB_BACK)?;

    lb.reroute(Ipv4Addr::new(10, 77, 3, 0), 24, SECOND)?;
    far.reroute(testbed::netlink::ANYWHERE, 0, BETWEEN[0])?;
    // The first one is no more.
    gateway
        .as_ref()
        .context("no gateway")?
        .set_up("back", false)?;

    let mac = second.link("back")?.mac;
    testbed::poll::until("the second gateway", SOON, || {
        let entry = neighbour(lb, SECOND.into()).ok()??;
        (entry.mac == Some(mac) && entry.managed).then_some(())
    })?;
    site.daemon
        .wait_until("both to serve", LATER, Status::all_up)?;
    settle(&site)?;
    let before = second.link("far")?.counters.tx_packets;
    let report = site.get_many(60)?;
    let answered = report.answered.get("b2").copied().unwrap_or_default();
    assert!(answered > 0, "{report}");
    let forwarded = second.link("far")?.counters.tx_packets - before;
    assert!(
        forwarded > answered,
        "{forwarded} packets through the second gateway, {report}"
    );
    Ok(())
}

#[test]
fn a_backend_that_moves_to_another_interface_is_followed() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let before = site.daemon.status()?;
    // From where the clients are, and back there: through the router.
    let lb = &site.topology.lb;
    for backend in &site.topology.backends[..2] {
        lb.route(backend.address.ip(), 32, ROUTER_FRONT)?;
    }
    let mac = site.topology.router.link("front")?.mac;
    testbed::poll::until("the router", SOON, || {
        let entry = neighbour(lb, ROUTER_FRONT.into()).ok()??;
        (entry.mac == Some(mac) && entry.managed).then_some(())
    })?;
    settle(&site)?;
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    let after = site
        .daemon
        .wait_until("all to serve", SOON, Status::all_up)?;
    // Out of the interface that they came in by, which nothing did before.
    assert!(
        after.verdict("tx") > before.verdict("tx"),
        "{:?}",
        after.verdicts
    );
    assert_eq!(after.config.generation, before.config.generation);
    Ok(())
}

#[test]
fn a_backend_that_moves_behind_a_foreign_interface_keeps_its_last_way_with_an_alarm() -> Result<()>
{
    let Some(site) = start_without_checks(|_| {})? else {
        return Ok(());
    };
    let lb = &site.topology.lb;
    let other = Host::new(&format!("{}-other", sweep::unique_name()))?;
    lb.join("foreign", &other, "eth0")?;
    lb.address("foreign", Ipv4Addr::new(10, 77, 9, 1), 24)?;
    other.address("eth0", Ipv4Addr::new(10, 77, 9, 2), 24)?;
    let address = site.topology.backends[0].address.ip();
    lb.route(address, 32, Ipv4Addr::new(10, 77, 9, 2))?;

    let words = ["web/b1", "interface foreign", "not attached"];
    let status = site.daemon.wait_until("the alarm", SOON, |status| {
        status.has_alarm(&words) && status.backend("b1").neighbor == "unreachable"
    })?;
    assert!(status.backend("b1").slots > 0);
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");

    lb.delete_link("foreign")?;
    site.daemon.wait_until("the alarm to end", SOON, |status| {
        !status.has_alarm(&words) && is_resolved(status, "b1")
    })?;
    Ok(())
}

#[test]
fn a_neighbour_that_fails_keeps_its_last_mac_address_with_an_alarm() -> Result<()> {
    let Some(mut site) = start_without_checks(|_| {})? else {
        return Ok(());
    };
    let slots = site.daemon.status()?.slots();
    site.topology.backends[0].die(Death::Unplugged)?;
    let words = ["web/b1", "does not answer", "where they went last"];
    let status = site.daemon.wait_until("the alarm", LATER, |status| {
        status.has_alarm(&words) && status.backend("b1").neighbor == "failed"
    })?;
    // There is no check to say that it is dead.
    assert_eq!(status.slots(), slots);
    assert!(!status.has_alarm(&["web/b2"]), "{:?}", status.alarms);

    site.topology.backends[0].revive()?;
    site.daemon.wait_until("its return", LATER, |status| {
        !status.has_alarm(&["web/b1"]) && is_resolved(status, "b1")
    })?;
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    Ok(())
}

#[test]
fn a_backend_that_was_never_resolved_is_not_used_until_it_is() -> Result<()> {
    const ABSENT: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 99);
    let absent = SocketAddr::from((ABSENT, 80));
    let with_absent =
        |config: &mut Config| config.web().backends.push(Backend::new("absent", absent));
    let Some(site) = start_without_checks(with_absent)? else {
        return Ok(());
    };
    let words = ["web/absent", "does not answer", "gets no packets"];
    let status = site
        .daemon
        .wait_until("the alarm", SOON, |status| status.has_alarm(&words))?;
    let backend = status.backend("absent");
    assert_eq!(
        (backend.neighbor.as_str(), backend.slots),
        ("unresolved", 0)
    );
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");

    // Somebody takes the address.
    site.topology.backends[0].host.address("eth0", ABSENT, 24)?;
    site.daemon.wait_until("it to be used", LATER, |status| {
        !status.has_alarm(&words) && is_resolved(status, "absent")
    })?;
    Ok(())
}

#[test]
fn neighbours_are_kept_resolved_while_the_daemon_runs_and_released_with_it() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    for backend in &site.topology.backends {
        let entry = neighbour(&site.topology.lb, backend.address.ip())?;
        let entry = entry.with_context(|| format!("{} is no neighbour", backend.name))?;
        assert!(entry.managed && entry.mac.is_some(), "{entry:?}");
    }
    site.daemon.terminate()?;
    let managed = |entry: &Neighbour| entry.managed;
    let left: Vec<_> = site.topology.lb.neighbours()?;
    assert!(!left.iter().any(managed), "{left:?}");
    Ok(())
}

#[test]
fn neighbours_that_a_killed_daemon_left_are_released_by_detach() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    site.daemon.kill9();
    let managed = |entry: &Neighbour| entry.managed;
    let kept = site.topology.lb.neighbours()?;
    assert_eq!(
        kept.iter().filter(|one| managed(one)).count(),
        3,
        "{kept:?}"
    );
    let output = site.daemon.cli().run(&["detach"])?;
    assert_eq!(output.status.code(), Some(0));
    let left = site.topology.lb.neighbours()?;
    assert!(!left.iter().any(managed), "{left:?}");
    Ok(())
}

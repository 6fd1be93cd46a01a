//! `dsr`: backends answer clients themselves, and the load balancer sees requests alone.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use testbed::{
    capture::{Capture, Flow},
    config::{Config, Health},
    http::{self, Timeouts},
    mode::Forward,
    server::Server,
    site::Site,
    status::Status,
    topology::{CLIENT, Death, Topology, TopologyBuilder, VIP},
    udp,
};

const SOON: Duration = Duration::from_secs(5);

fn network() -> TopologyBuilder {
    Topology::builder().forward(Forward::Dsr)
}

fn start() -> Result<Option<Site>> {
    Site::build(&network(), Config::add_udp)
}

/// The counters once nothing moves them any more: two equal looks in a row.
fn at_rest(site: &Site) -> Result<Status> {
    let mut last = None;
    site.daemon
        .wait_until("the counters to rest", SOON, |status| {
            let now: Vec<_> = status.services.iter().map(|one| one.packets).collect();
            last.replace(now.clone()) == Some(now)
        })
}

fn ask(site: &Site, count: usize) -> Result<()> {
    site.client().block_on(async || -> Result<()> {
        for n in 1..=count {
            let answer = udp::ask(VIP.into(), 0, SOON).await;
            answer.with_context(|| format!("question {n} of {count}"))?;
        }
        Ok(())
    })
}

#[test]
fn answers_come_through_the_router_and_none_reaches_the_load_balancer() -> Result<()> {
    let Some(site) = start()? else {
        return Ok(());
    };
    let router = &site.topology.router;
    // The load balancer's links are captured at their other ends: its XDP program hides nothing there.
    let front = Capture::start(router, "lb-front")?;
    let back = Capture::start(router, "lb-back")?;
    let client = Capture::start(site.client(), "eth0")?;

    let report = site.get_many(90)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    ask(&site, 30)?;
    at_rest(&site)?;

    let is_request = |flow: &&Flow| flow.source.ip() == CLIENT && flow.destination == VIP.into();
    for (link, capture) in [("front", front), ("back", back)] {
        let seen = capture.flows()?;
        let requests = seen.iter().filter(is_request).count();
        assert!(requests >= 90 * 4 + 30, "{link} saw {requests} requests");
        let answers: Vec<_> = seen
            .iter()
            .filter(|flow| flow.source == VIP.into())
            .collect();
        assert!(answers.is_empty(), "{link} saw {answers:#?}");
        let to_client = seen.iter().filter(|flow| flow.destination.ip() == CLIENT);
        assert_eq!(to_client.count(), 0, "{link}: {seen:#?}");
    }
    let mac = router.link("front")?.mac;
    let seen = client.flows()?;
    let answers: Vec<_> = seen
        .iter()
        .filter(|flow| flow.source == VIP.into())
        .collect();
    assert!(answers.len() >= 90 * 3 + 30, "{} answers", answers.len());
    // Sent with 64, and one hop away.
    assert!(
        answers
            .iter()
            .all(|flow| flow.source_mac == mac && flow.ttl == 63),
        "{answers:#?}"
    );
    Ok(())
}

#[test]
fn the_packets_counted_are_those_from_client_to_backend() -> Result<()> {
    let Some(site) = start()? else {
        return Ok(());
    };
    let backends = &site.topology.backends;
    let captures: Vec<_> = backends
        .iter()
        .map(|backend| Ok((&backend.name, Capture::start(&backend.host, "eth0")?)))
        .collect::<Result<_>>()?;
    site.get_many(60)?;
    ask(&site, 30)?;
    let status = at_rest(&site)?;

    assert_eq!(status.web().new_flows, 60, "{:#?}", status.web());
    assert_eq!(status.service("udp").packets, 30);
    for (name, capture) in captures {
        let seen = capture.flows()?;
        let arrived: Vec<_> = seen
            .iter()
            .filter(|flow| flow.source.ip() == CLIENT)
            .collect();
        assert!(
            arrived
                .iter()
                .all(|flow| flow.destination == VIP.into() && flow.ttl == 63),
            "{name}: {arrived:#?}"
        );
        let both = status.services.iter().flat_map(|service| &service.backends);
        let counted: u64 = both
            .filter(|backend| backend.name == *name)
            .map(|one| one.packets)
            .sum();
        assert_eq!(counted, arrived.len() as u64, "{name}: {arrived:#?}");
    }
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    Ok(())
}

fn is_left_out_and_serves_again(death: Death) -> Result<()> {
    const VICTIM: &str = "b2";
    let Some(mut site) = start()? else {
        return Ok(());
    };
    let health = Health::quick();
    let load = site.load();
    load.wait_for(20, health.detection())?;
    let victim = site.topology.backend_mut(VICTIM).context("no victim")?;
    victim.die(death)?;
    let gone = |status: &Status| {
        let both = status.services.iter().flat_map(|service| &service.backends);
        both.filter(|one| one.name == VICTIM)
            .all(|one| one.is_left_out())
    };
    site.daemon
        .wait_until("the death to be noticed", health.detection(), gone)?;
    let noticed = Instant::now();
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 2, "{report}");
    assert_eq!(report.answered.get(VICTIM), None, "{report}");
    ask(&site, 30)?;

    let victim = site.topology.backend_mut(VICTIM).context("no victim")?;
    victim.revive()?;
    site.daemon.wait_until(
        "the return to be noticed",
        health.recovery(),
        Status::all_up,
    )?;
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");

    // What failed in the background was under way while the death was unnoticed.
    let mut late = load.end()?;
    late.retain(|outcome| outcome.result.is_err() && outcome.started > noticed);
    assert!(late.is_empty(), "{late:#?}\n{}", site.daemon.log_tail());
    Ok(())
}

#[test]
fn a_killed_backend_is_left_out_and_serves_again_when_it_is_back() -> Result<()> {
    is_left_out_and_serves_again(Death::Killed)
}

#[test]
fn a_stopped_backend_is_left_out_and_serves_again_when_it_goes_on() -> Result<()> {
    is_left_out_and_serves_again(Death::Stopped)
}

#[test]
fn health_is_asked_at_the_backends_own_address() -> Result<()> {
    let Some(site) = start()? else {
        return Ok(());
    };
    let backend = &site.topology.backends[0];
    let capture = Capture::start(&backend.host, "eth0")?;
    let before = backend.server.connections();
    testbed::poll::until_true("two health checks", SOON, || {
        backend.server.connections() >= before + 2
    })?;
    let checks = capture.flows()?;
    let own = backend.address;
    let (asked, answered): (Vec<Flow>, Vec<Flow>) =
        checks.iter().partition(|flow| flow.destination == own);
    assert!(!asked.is_empty(), "nothing was asked: {checks:#?}");
    assert!(
        answered.iter().all(|flow| flow.source == own),
        "{answered:#?}"
    );
    Ok(())
}

#[test]
fn a_service_of_every_port_serves_two_and_only_the_ports_that_backends_have() -> Result<()> {
    let every_port = |config: &mut Config| {
        config.web().listen.extend([
            format!("tcp://{}:0", VIP.ip()),
            format!("udp://{}:0", VIP.ip()),
        ]);
    };
    let Some(site) = Site::build(&network(), every_port)? else {
        return Ok(());
    };
    let ports = [8081, 8443].map(|port| SocketAddr::from((*VIP.ip(), port)));
    let _more: Vec<_> = site
        .topology
        .backends
        .iter()
        .map(|backend| Server::start(&backend.host, &backend.name, &ports))
        .collect::<Result<_>>()?;

    for port in ports {
        let mut http = BTreeSet::new();
        let mut by_udp = BTreeSet::new();
        site.client().block_on(async || -> Result<()> {
            for _ in 0..40 {
                let reply = http::get(port, Timeouts::default()).await?;
                http.insert(reply.backend().to_owned());
                by_udp.insert(udp::ask(port, 0, SOON).await?.backend);
            }
            Ok(())
        })?;
        assert_eq!((http.len(), by_udp.len()), (3, 3), "{http:?} {by_udp:?}");
    }
    assert_eq!(site.get_many(30)?.answered.len(), 3);
    // Where no backend listens, a backend refuses: the packet has gone its way.
    let nobody = SocketAddr::from((*VIP.ip(), 8082));
    let error = site
        .client()
        .block_on(|| http::get(nobody, Timeouts::default()))
        .expect_err("nobody listens there");
    assert!(format!("{error:#}").contains("refused"), "{error:#}");
    Ok(())
}

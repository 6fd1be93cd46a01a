//! Requests are spread over the backends as the table says, and counted.

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{
    capture::Capture,
    site::Site,
    status::Status,
    topology::{CLIENT, Topology},
};

const SOON: Duration = Duration::from_secs(5);

/// The counters once nothing moves them any more: two equal looks in a row.
fn at_rest(site: &Site) -> Result<Status> {
    let mut last = None;
    site.daemon
        .wait_until("the counters to rest", SOON, |status| {
            let now = (
                status.web().packets,
                status.web().bytes,
                status.web().new_flows,
            );
            last.replace(now) == Some(now)
        })
}

#[test]
fn every_request_is_one_new_flow_of_the_backend_that_answered_it() -> Result<()> {
    const REQUESTS: usize = 300;
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let before = at_rest(&site)?;
    assert_eq!(
        (before.web().packets, before.web().new_flows),
        (0, 0),
        "health checks count"
    );

    // No SYN was sent twice: get_many fails where connecting took that long.
    let report = site.get_many(REQUESTS)?;
    assert_eq!(report.answered(), REQUESTS as u64);

    let after = at_rest(&site)?;
    assert_eq!(after.web().new_flows, REQUESTS as u64, "{:#?}", after.web());
    for backend in &site.topology.backends {
        let counted = after.backend(&backend.name);
        let answered = report.answered.get(&backend.name).copied().unwrap_or(0);
        assert!(answered > 0, "{} served nothing: {report}", backend.name);
        assert_eq!(counted.new_flows, answered, "{report}");
        assert_eq!(backend.server.requests(), answered, "{report}");
        // SYN, ACK, request, FIN at least, and no packet is shorter than 40 bytes.
        assert!(counted.packets >= 4 * answered, "{counted:?}");
        assert!(counted.bytes >= 40 * counted.packets, "{counted:?}");
    }
    let sum = |field: fn(&testbed::status::Backend) -> u64| {
        after.web().backends.iter().map(field).sum::<u64>()
    };
    assert_eq!(after.web().packets, sum(|backend| backend.packets));
    assert_eq!(after.web().bytes, sum(|backend| backend.bytes));
    assert_eq!(after.drops.values().sum::<u64>(), 0, "{:?}", after.drops);
    Ok(())
}

#[test]
fn the_packets_counted_are_the_packets_that_arrive() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let captures: Vec<_> = site
        .topology
        .backends
        .iter()
        .map(|backend| Ok((&backend.name, Capture::start(&backend.host, "eth0")?)))
        .collect::<Result<_>>()?;
    site.get_many(60)?;
    let status = at_rest(&site)?;
    for (name, capture) in captures {
        let frames = capture.finish()?;
        let segments = frames.iter().filter_map(|frame| frame.segment());
        let arrived: Vec<_> = segments
            .filter(|segment| segment.source == CLIENT)
            .collect();
        assert_eq!(
            status.backend(name).packets,
            arrived.len() as u64,
            "{name}: {arrived:#?}"
        );
        let syns = arrived.iter().filter(|segment| segment.syn).count();
        assert_eq!(status.backend(name).new_flows, syns as u64, "{name}");
        // Sent with 64, and one hop away.
        assert!(
            arrived.iter().all(|segment| segment.ttl == 63),
            "{name}: {arrived:#?}"
        );
    }
    Ok(())
}

#[test]
fn the_table_is_shared_evenly() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let status = site.daemon.status()?;
    let slots = status.slots();
    assert_eq!(
        slots.values().sum::<u64>(),
        status.web().table_size,
        "{slots:?}"
    );
    let (least, most) = (slots.values().min(), slots.values().max());
    let (least, most) = (least.context("no backend")?, most.context("no backend")?);
    assert!(most * 100 <= least * 102, "{slots:?}");
    Ok(())
}

#[test]
fn weights_share_the_table() -> Result<()> {
    let change = |config: &mut testbed::config::Config| {
        config.web().backends[0].weight = 2;
    };
    let Some(site) = Site::build(&Topology::builder(), change)? else {
        return Ok(());
    };
    let status = site.daemon.status()?;
    let half = status.web().table_size / 2;
    let slots = status.backend("b1").slots;
    assert!(slots.abs_diff(half) * 50 <= half, "{:?}", status.slots());
    Ok(())
}

#[test]
fn one_interface_is_enough() -> Result<()> {
    let Some(site) = Site::build(&Topology::builder().one_armed(), |_| {})? else {
        return Ok(());
    };
    let before = site.daemon.status()?;
    let report = site.get_many(100)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    let after = at_rest(&site)?;
    assert_eq!(after.web().new_flows, 100);
    let sent = after.verdict("tx") - before.verdict("tx");
    assert!(
        sent >= after.web().packets,
        "sent back {sent} of {}",
        after.web().packets
    );
    Ok(())
}

#[test]
fn a_backend_behind_a_gateway_serves() -> Result<()> {
    let network = Topology::builder().backends(1).far_backend();
    let Some(site) = Site::build(&network, |_| {})? else {
        return Ok(());
    };
    let report = site.get_many(60)?;
    for name in ["b1", "b2"] {
        assert!(
            report.answered.get(name).is_some_and(|count| *count > 0),
            "{report}"
        );
    }
    Ok(())
}

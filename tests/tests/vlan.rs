//! Clients and backends in a VLAN, with one tag or two: the tags stay on packets whatever else
//! becomes of those, on their way to backends and back.

use anyhow::{Context, Result, ensure};
use testbed::{
    capture::{Capture, Frame, Tag},
    config::Config,
    decap::Decap,
    mode::XdpMode,
    tagged::{DOT1Q, QINQ, TAGGED, Tagged},
    topology::Topology,
    transfer::LARGE,
    ways::{DIRECT, REQUESTS, REWRITTEN, Way, Ways},
};

const GUE_PORT: u16 = 6080;

/// A transfer has no fewer frames than this, one way.
const MANY: u64 = LARGE / 1500;

fn tags_are_kept(ways: &[Way], tags: &'static [Tag], xdp: XdpMode) -> Result<()> {
    let network = Topology::builder().backends(2).tags(tags.len());
    let behind_tags = |config: &mut Config| {
        config.attach_as(xdp);
        for interface in &mut config.interfaces {
            interface.vlan = true;
        }
    };
    let Some(all) = Ways::start(network, ways, behind_tags)? else {
        return Ok(());
    };
    let topology = &all.site.topology;
    let tagged = Tagged::start(topology, tags)?;
    let mut decaps = Vec::new();
    for backend in &topology.backends {
        if backend.decap.is_some() {
            decaps.push(Decap::start(
                &backend.host,
                TAGGED,
                topology.tunnel_sources(),
            )?);
        }
    }
    for &way in ways {
        let ports = ["client", "lb-front", "lb-back", "b1", "b2"];
        let links = ports.map(|port| Capture::start(&topology.router, port));
        all.ask(way)?;
        for (port, link) in ports.into_iter().zip(links) {
            let frames = link?.finish()?;
            check_tags(way, tags, &frames).with_context(|| format!("{} {port}", way.name()))?;
        }

        let arrived = || {
            tagged
                .backends
                .iter()
                .map(|one| one.received())
                .sum::<u64>()
        };
        let (sent, received) = (tagged.client.sent(), tagged.client.received());
        let before = arrived();
        all.transfer(way)?;
        assert!(tagged.client.sent() - sent > MANY);
        assert!(arrived() - before > MANY);
        let answers = tagged.client.received() - received;
        // The router, which passes the others on, has no VLAN device.
        assert_eq!(answers > MANY, !way.forward.answers_directly());
    }
    let status = all.site.daemon.status()?;
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    Ok(())
}

/// Requests have the tags, and with `dnat` answers too.
fn check_tags(way: Way, tags: &[Tag], frames: &[Frame]) -> Result<()> {
    let vip = way.vip();
    let (mut requests, mut answers) = (0, 0);
    for frame in frames {
        let inner = frame.inner(GUE_PORT);
        let Some(flow) = inner.as_ref().unwrap_or(frame).flow() else {
            continue;
        };
        let is_request = flow.destination.port() == vip.port();
        let is_answer = flow.source.port() == vip.port();
        if is_request || is_answer && !way.forward.answers_directly() {
            ensure!(frame.tags() == tags, "{flow:?} has {:?}", frame.tags());
        }
        requests += usize::from(is_request);
        answers += usize::from(is_answer);
    }
    // Each backend has its part.
    ensure!(
        requests > REQUESTS,
        "{requests} requests, {answers} answers"
    );
    Ok(())
}

/// One of each mode, of both families, within and around.
fn direct() -> Vec<Way> {
    let names = ["dsr-4in4", "dsr-6in6", "ipip-4in6", "gue-6in4"];
    let ways = DIRECT.iter().copied();
    ways.filter(|way| names.contains(&way.name().as_str()))
        .collect()
}

#[test]
fn one_tag_is_kept_where_addresses_are_rewritten() -> Result<()> {
    tags_are_kept(REWRITTEN, DOT1Q, XdpMode::Native)
}

#[test]
fn two_tags_are_kept_where_addresses_are_rewritten() -> Result<()> {
    tags_are_kept(REWRITTEN, QINQ, XdpMode::Generic)
}

#[test]
fn one_tag_is_kept_before_backends_that_answer_themselves() -> Result<()> {
    tags_are_kept(&direct(), DOT1Q, XdpMode::Generic)
}

#[test]
fn two_tags_are_kept_before_backends_that_answer_themselves() -> Result<()> {
    tags_are_kept(&direct(), QINQ, XdpMode::Native)
}

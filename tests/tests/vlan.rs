//! Clients and backends in a VLAN, with one tag or two: the tags stay on packets whatever else
//! becomes of those, on their way to backends and back.

use anyhow::Result;
use testbed::{
    capture::Tag,
    config::Config,
    decap::Decap,
    mode::XdpMode,
    tagged::{DOT1Q, QINQ, TAGGED, Tagged},
    tagged_ways,
    topology::Topology,
    transfer::LARGE,
    ways::{REWRITTEN, Way, Ways},
};

/// A transfer has no fewer frames than this, one way.
const MANY: u64 = LARGE / 1500;

fn tags_are_kept(ways: &[Way], tags: &'static [Tag], xdp: XdpMode) -> Result<()> {
    let network = Topology::builder().backends(2).tags(tags.len());
    let behind_tags = |config: &mut Config| {
        config.attach_as(xdp);
        config.look_behind_tags();
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
        tagged_ways::ask(&all, way, tags)?;

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
    tags_are_kept(&tagged_ways::direct(), DOT1Q, XdpMode::Generic)
}

#[test]
fn two_tags_are_kept_before_backends_that_answer_themselves() -> Result<()> {
    tags_are_kept(&tagged_ways::direct(), QINQ, XdpMode::Native)
}

//! What tunnels alone can do: reach backends behind a router, and send by addresses that are the load
//! balancer's to choose.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};
use testbed::{
    capture::{Capture, Frame},
    config::Config,
    mode::{Family, Forward},
    status::Status,
    topology::Topology,
    ways::{DIRECT, Way, Ways},
};

const SOON: Duration = Duration::from_secs(5);
const GUE_PORT: u16 = 6080;

/// Where GUE packets come from: RFC 6335's dynamic ports.
const FIRST_PORT: u16 = 0xc000;

fn tunnels() -> Vec<Way> {
    let ways = DIRECT.iter().copied();
    ways.filter(|way| way.forward.is_tunnel()).collect()
}

#[test]
fn a_backend_behind_a_router_is_reached() -> Result<()> {
    let network = Topology::builder().backends(1).far_backend();
    let Some(all) = Ways::start(network, &tunnels(), |_| {})? else {
        return Ok(());
    };
    for way in tunnels() {
        all.ask(way)?;
    }
    Ok(())
}

#[test]
fn a_packet_that_is_too_long_with_its_tunnel_is_dropped_and_counted() -> Result<()> {
    /// As much as an Ethernet frame holds, without room for anything around it.
    const PACKET: usize = 1500;
    const UDP: usize = 8;
    let network = Topology::builder().backends(1);
    let Some(all) = Ways::start(network, &tunnels(), |_| {})? else {
        return Ok(());
    };
    for (before, way) in (0..).zip(tunnels()) {
        let header = usize::try_from(way.vip.header())?;
        let datagram = vec![0; PACKET - header - UDP];
        let any = SocketAddr::new(way.vip.anywhere(), 0);
        let sent = all
            .site
            .client()
            .run(|| UdpSocket::bind(any)?.send_to(&datagram, way.vip()));
        assert_eq!(sent?, datagram.len());
        let counted = |status: &Status| {
            let dropped = status.drops.get("tunnel_too_big").copied();
            dropped == Some(before + 1) && status.service(&way.name()).packets == 0
        };
        all.site.daemon.wait_until(&way.name(), SOON, counted)?;
    }
    Ok(())
}

#[test]
fn the_source_of_a_tunnel_is_the_configured_one() -> Result<()> {
    let network = Topology::builder()
        .backends(2)
        .tunnel_sources(&["10.64.0.0/16", "fd00:64::/64"]);
    let sources = |config: &mut Config| {
        config.daemon.tunnel_source_ipv4 = Some("10.64.0.1/16".to_owned());
        config.daemon.tunnel_source_ipv6 = Some("fd00:64::1/64".to_owned());
    };
    let Some(all) = Ways::start(network, &tunnels(), sources)? else {
        return Ok(());
    };
    for way in tunnels() {
        let capture = Capture::start(&all.site.topology.router, "lb-back")?;
        all.ask(way)?;
        let frames = capture.finish()?;
        check_sources(way, &frames).with_context(|| way.name())?;
    }
    Ok(())
}

/// With `ipip` the bits behind the prefix length tell flows apart, for whoever spreads packets over
/// several links; with `gue` the port does.
fn check_sources(way: Way, frames: &[Frame]) -> Result<()> {
    let whole: IpAddr = match way.backends {
        Family::Ipv4 => Ipv4Addr::new(10, 64, 0, 1).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 1).into(),
    };
    let requests = frames.iter().filter(|frame| {
        let inner = frame.inner(GUE_PORT).and_then(|inner| inner.flow());
        inner.is_some_and(|flow| flow.destination == way.vip())
    });
    let (mut flows, mut sources, mut ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for frame in requests {
        let inner = frame.inner(GUE_PORT).and_then(|inner| inner.flow());
        let inner = inner.context("it was there")?;
        flows.insert((inner.source, inner.protocol));
        let source = frame.ip().context("no IP")?.source;
        assert_eq!(network(source), network(whole), "{source}");
        sources.insert(source);
        if let Some(outer) = frame.flow() {
            assert!(outer.source.port() >= FIRST_PORT, "{outer:?}");
            ports.insert(outer.source.port());
        }
    }
    // Two flows in a few may have the same bits, of which there are 14 at least.
    let differs = |count: usize| assert!(count + 3 > flows.len(), "{count} of {}", flows.len());
    match way.forward {
        Forward::Gue => {
            differs(ports.len());
            assert_eq!(sources, BTreeSet::from([whole]));
        }
        _ => differs(sources.len()),
    }
    Ok(())
}

/// The bits before the configured prefix length.
fn network(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets()[..2].to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

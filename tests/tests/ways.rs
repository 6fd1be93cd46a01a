//! Real clients by every way that packets can take: each mode, both families and tunnels of one
//! through the other, in the driver and in the stack, with frames of 1500 bytes and of 9000.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use testbed::{
    capture::{Capture, Frame},
    mode::{
        Family,
        XdpMode::{self, Generic, Native},
    },
    topology::{LB_BACK, Topology},
    ways::{DIRECT, REQUESTS, REWRITTEN, Way, Ways},
};

const ETHERNET: u32 = 1500;
const JUMBO: u32 = 9000;
const GUE_PORT: u16 = 6080;

/// More frames than neighbours and routers exchange, and fewer than answers to requests have.
const FEW: u64 = 150;

fn everything_arrives(ways: &[Way], xdp: XdpMode, mtu: u32) -> Result<()> {
    let network = Topology::builder().backends(2).mtu(mtu);
    let Some(all) = Ways::start(network, ways, |config| config.attach_as(xdp))? else {
        return Ok(());
    };
    let status = all.site.daemon.status()?;
    let attached = status.interfaces.iter().all(|one| one.xdp == xdp.word());
    assert!(attached, "{:?}", status.interfaces);
    let router = &all.site.topology.router;
    let before = answers_at_the_load_balancer(&all)?;
    for &way in ways {
        let links = ["lb-front", "lb-back"].map(|port| Capture::start(router, port));
        all.ask(way)?;
        let [front, back] = links.map(|link| link.and_then(Capture::finish));
        let (front, back) = (front?, back?);
        if way.forward.answers_directly() {
            check_requests(&all, way, &back).with_context(|| way.name())?;
            check_no_answers(&[front, back].concat()).with_context(|| way.name())?;
        }
        all.transfer(way)?;
    }
    let answers = answers_at_the_load_balancer(&all)? - before;
    let status = all.site.daemon.status()?;
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    for way in ways {
        let service = status.service(&way.name());
        // One is the transfer's.
        assert_eq!(service.new_flows, REQUESTS as u64 + 1, "{service:#?}");
        // Many of these packets are nothing but acknowledgements; the others are the longer.
        let long = service.bytes > service.packets * u64::from(ETHERNET);
        assert_eq!(long, mtu == JUMBO, "{service:#?}");
        if way.forward.answers_directly() {
            assert!(answers < FEW, "{answers} frames may have been answers");
        }
    }
    Ok(())
}

/// Frames that left the load balancer towards the client, and that reached it from backends.
fn answers_at_the_load_balancer(all: &Ways) -> Result<u64> {
    let router = &all.site.topology.router;
    let to_client = router.link("lb-front")?.counters.rx_packets;
    Ok(to_client + router.link("lb-back")?.counters.tx_packets)
}

/// Requests on their way from load balancer to backends are packed as the way says.
fn check_requests(all: &Ways, way: Way, frames: &[Frame]) -> Result<()> {
    let lb = way.backends.at(LB_BACK.into());
    let backends = all.site.topology.backends.iter();
    let backends: Vec<IpAddr> = backends.map(|one| one.at(way.backends).ip()).collect();
    let unpacked = |frame: &Frame| {
        if !way.forward.is_tunnel() {
            return Some(frame.clone());
        }
        let ip = frame.ip()?;
        let ours = ip.source == lb && backends.contains(&ip.destination) && ip.ttl == 64;
        ours.then(|| frame.inner(GUE_PORT))?
    };
    let flows = frames.iter().filter_map(unpacked);
    let flows: Vec<_> = flows.filter_map(|frame| frame.flow()).collect();
    let requests = flows.iter().filter(|flow| flow.destination == way.vip());
    // Sent with 64, and one hop away.
    let requests = requests.filter(|flow| flow.ttl == 63).count();
    // SYN, ACK, request and FIN at least, and a question.
    ensure!(
        requests >= 5 * REQUESTS,
        "{requests} requests of {flows:#?}"
    );
    Ok(())
}

fn check_no_answers(frames: &[Frame]) -> Result<()> {
    let vips = Family::ALL.map(|family| family.vip().ip());
    let from_vip = |frame: &Frame| frame.ip().is_some_and(|ip| vips.contains(&ip.source));
    let found = frames
        .iter()
        .find(|frame| from_vip(frame) || frame.inner(GUE_PORT).is_some_and(|one| from_vip(&one)));
    ensure!(found.is_none(), "an answer: {found:02x?}");
    Ok(())
}

#[test]
fn rewritten_in_the_driver() -> Result<()> {
    everything_arrives(REWRITTEN, Native, ETHERNET)
}

#[test]
fn rewritten_in_the_stack() -> Result<()> {
    everything_arrives(REWRITTEN, Generic, ETHERNET)
}

#[test]
fn rewritten_in_jumbo_frames_in_the_driver() -> Result<()> {
    everything_arrives(REWRITTEN, Native, JUMBO)
}

#[test]
fn rewritten_in_jumbo_frames_in_the_stack() -> Result<()> {
    everything_arrives(REWRITTEN, Generic, JUMBO)
}

#[test]
fn answered_by_backends_in_the_driver() -> Result<()> {
    everything_arrives(DIRECT, Native, ETHERNET)
}

#[test]
fn answered_by_backends_in_the_stack() -> Result<()> {
    everything_arrives(DIRECT, Generic, ETHERNET)
}

#[test]
fn answered_by_backends_in_jumbo_frames_in_the_driver() -> Result<()> {
    everything_arrives(DIRECT, Native, JUMBO)
}

#[test]
fn answered_by_backends_in_jumbo_frames_in_the_stack() -> Result<()> {
    everything_arrives(DIRECT, Generic, JUMBO)
}

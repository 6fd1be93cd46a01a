//! Tagged frames, made and read without a VLAN device: two backends talk through their switch.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use testbed::{
    capture::{Capture, Frame, Tag},
    host::Host,
    mode::Family,
    sweep,
    tagged::{self, DOT1Q, QINQ, TAGGED, Tagged, TaggedPort},
    topology::{CLIENT, Topology},
    transfer::{LARGE, TransferServer, transfer},
    udp,
};

const PATIENCE: Duration = Duration::from_secs(30);
const FROM: &str = "10.99.0.1";
const TO: &str = "10.99.0.2:7000";
const TO6: &str = "[fd99::2]:7000";

fn a_transfer_passes_with(tags: &'static [Tag]) -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(2).build()?;
    let [from, to] = [0, 1].map(|n| &topology.backends[n].host);
    let ports = [from, to].map(|host| TaggedPort::start(host, "eth0", tags));
    let [sender, receiver] = ports;
    let (sender, receiver) = (sender?, receiver?);
    let addresses: [SocketAddr; 2] = [TO.parse()?, TO6.parse()?];
    from.address(TAGGED, FROM.parse::<std::net::IpAddr>()?, 24)?;
    from.address(TAGGED, "fd99::1".parse::<std::net::IpAddr>()?, 64)?;
    for address in addresses {
        to.address(
            TAGGED,
            address.ip(),
            if address.is_ipv4() { 24 } else { 64 },
        )?;
        let server = TransferServer::start(to, address)?;
        let capture = Capture::start(&topology.router, "b2")?;
        let (sent, received) = (sender.sent(), receiver.received());

        transfer(from, address, LARGE, PATIENCE)?;

        assert_eq!(server.intact(), 1);
        // Segments of 1460 bytes at most.
        let least = LARGE / 1460;
        assert!(sender.sent() - sent > least && receiver.received() - received > least);
        let frames = capture.finish()?;
        let mut segments = 0;
        for frame in &frames {
            if let Some(flow) = frame.flow() {
                assert_eq!(frame.tags(), tags, "{flow:?}");
                segments += u64::from(flow.destination == address);
            }
        }
        assert!(segments > least, "{segments} of {} frames", frames.len());
    }
    Ok(())
}

#[test]
fn a_transfer_passes_with_one_tag() -> Result<()> {
    a_transfer_passes_with(DOT1Q)
}

#[test]
fn a_transfer_passes_with_two_tags() -> Result<()> {
    a_transfer_passes_with(QINQ)
}

/// Whether a datagram from `host` to `target` passes a port of the router with `tags`, to `mac`.
fn leaves_with(
    tags: &[Tag],
    host: &Host,
    target: SocketAddr,
    (router, port): (&Host, &str),
    mac: [u8; 6],
) -> Result<bool> {
    let capture = Capture::start(router, port)?;
    // Nobody answers.
    let _ = host.block_on(|| udp::ask(target, 0, Duration::from_millis(50)));
    let frames = capture.finish()?;
    let right = |frame: &Frame| {
        frame.flow().is_some_and(|flow| flow.destination == target)
            && frame.tags() == tags
            && frame.0.starts_with(&mac)
    };
    Ok(frames.iter().any(right))
}

#[test]
fn between_clients_and_backends_both_directions_have_tags() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(1).build()?;
    let Topology {
        client,
        lb,
        router,
        backends,
        ..
    } = &topology;
    let _tagged = Tagged::start(&topology, QINQ)?;
    let (front, back) = (lb.link("front")?.mac, lb.link("back")?.mac);
    for family in Family::ALL {
        let to_lb = (router, "lb-front");
        assert!(leaves_with(QINQ, client, family.vip(), to_lb, front)?);
        let to_client = SocketAddr::new(family.at(CLIENT.into()), 9);
        let backend = &backends[0];
        let to_lb = (router, "lb-back");
        assert!(leaves_with(QINQ, &backend.host, to_client, to_lb, back)?);
        // The load balancer's own conversation with it has none.
        let asked = lb.block_on(|| udp::ask(backend.at(family), 0, PATIENCE))?;
        assert_eq!(asked.backend, "b1");
    }
    Ok(())
}

#[test]
fn a_frame_arrives_with_the_tags_it_was_sent_with() -> Result<()> {
    const OURS: [u8; 2] = [0x88, 0xb5];
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(2).build()?;
    let [from, to] = [0, 1].map(|n| &topology.backends[n].host);
    let (source, destination) = (from.link("eth0")?.mac, to.link("eth0")?.mac);
    // An EtherType that is left for experiments.
    let frame = [&destination[..], &source, &OURS, b"a frame of ours"].concat();
    for tags in [&[][..], DOT1Q, QINQ] {
        let capture = Capture::start(to, "eth0")?;
        tagged::send(from, "eth0", &frame, tags)?;
        let frames = capture.finish()?;
        let ours = frames.iter().find(|one| one.0.ends_with(b"ours"));
        let ours = ours.with_context(|| format!("{tags:?}: it is not in {frames:02x?}"))?;
        assert_eq!(ours.0, tagged::put_on(&frame, tags));
        assert_eq!(ours.tags(), tags);
    }
    Ok(())
}

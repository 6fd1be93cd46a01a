//! The testbed's network by IPv4 and IPv6 and with jumbo frames, without a load balancer: the kernel
//! forwards.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use testbed::{
    capture::{Capture, Flow},
    host::Host,
    http::{self, Reply, Timeouts},
    icmp::ping,
    mode::{Family, Forward},
    site::NO_RETRANSMISSION,
    sweep,
    topology::{CLIENT, LB_BACK, LB_FRONT, ROUTER_BACK, ROUTER_FRONT, Topology},
    transfer::{LARGE, TransferServer, transfer},
    udp,
};

const SOON: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
const PORT: u16 = 7000;

/// A fresh connection, which no host had to wait for: neither for a neighbour nor for an address.
fn get(host: &Host, target: SocketAddr) -> Result<Reply> {
    let reply = host.block_on(|| http::get(target, Timeouts::default()))?;
    ensure!(reply.connect < NO_RETRANSMISSION, "{reply:?}");
    Ok(reply)
}

fn ask(host: &Host, target: SocketAddr) -> Result<String> {
    let answer = host.block_on(|| udp::ask(target, 0, SOON))?;
    Ok(answer.backend)
}

#[test]
fn every_host_is_reached_by_both_families_at_once() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(2).far_backend().build()?;
    for family in Family::ALL {
        for address in [LB_FRONT, ROUTER_FRONT, LB_BACK, ROUTER_BACK] {
            ping(&topology.client, family.at(address.into()), SOON)?;
        }
        for backend in &topology.backends {
            let target = backend.at(family);
            let reply = get(&topology.client, target).context(target)?;
            assert_eq!(reply.backend(), backend.name);
            assert_eq!(reply.local.ip(), family.at(CLIENT.into()));
            assert_eq!(ask(&topology.client, target)?, backend.name);
        }
    }
    for backend in &topology.backends {
        let counts = (backend.server.requests(), backend.server.datagrams());
        assert_eq!(counts, (2, 2), "{}", backend.name);
    }
    Ok(())
}

#[test]
fn one_armed_the_way_leads_through_the_router_by_both_families() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(1).one_armed().build()?;
    for family in Family::ALL {
        ping(&topology.client, family.at(LB_BACK.into()), SOON)?;
        let reply = get(&topology.client, topology.backends[0].at(family))?;
        assert_eq!(reply.backend(), "b1");
    }
    Ok(())
}

/// A route to the backend stands for the load balancer.
#[test]
fn a_backend_with_the_vip_answers_through_the_router_by_both_families() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let network = Topology::builder().backends(1).forward(Forward::Dsr);
    let topology = network.build()?;
    let backend = &topology.backends[0];
    for family in Family::ALL {
        let vip = family.vip();
        let host = if vip.is_ipv4() { 32 } else { 128 };
        topology.lb.route(vip.ip(), host, backend.at(family).ip())?;
        let links = ["lb-front", "lb-back"].map(|port| Capture::start(&topology.router, port));
        let client = Capture::start(&topology.client, "eth0")?;

        assert_eq!(get(&topology.client, vip)?.backend(), "b1");
        assert_eq!(ask(&topology.client, vip)?, "b1");

        for link in links {
            let seen = link?.flows()?;
            let requests = seen.iter().filter(|flow| flow.destination == vip).count();
            // SYN, ACK, request and FIN at least, and a question.
            assert!(requests > 4, "{family:?}: {seen:#?}");
            assert!(!seen.iter().any(|flow| flow.source == vip), "{seen:#?}");
        }
        let router = topology.router.link("front")?.mac;
        let seen = client.flows()?;
        let answers: Vec<&Flow> = seen.iter().filter(|flow| flow.source == vip).collect();
        assert!(answers.len() > 3, "{family:?}: {seen:#?}");
        // Sent with 64, and one hop away.
        let through_router = |flow: &&Flow| flow.source_mac == router && flow.ttl == 63;
        assert!(answers.iter().all(through_router), "{answers:#?}");
    }
    Ok(())
}

#[test]
fn jumbo_frames_pass_where_every_link_has_room_for_them() -> Result<()> {
    const JUMBO: u32 = 9000;
    if !sweep::ready() {
        return Ok(());
    }
    let network = Topology::builder().backends(1).far_backend().mtu(JUMBO);
    let topology = network.build()?;
    for (host, interface) in [
        (&topology.router, "front"),
        (&topology.router, "lb-back"),
        (&topology.lb, "front"),
    ] {
        let mtu = host.link(interface)?.mtu;
        assert_eq!(mtu, JUMBO, "{} {interface}", host.name());
    }
    // What the client sends is captured as it leaves; what arrives, the kernel has merged.
    let longest_sent = |capture: Capture| -> Result<Option<usize>> {
        let frames = capture.finish()?.into_iter();
        let sent = frames.filter(|frame| {
            frame
                .flow()
                .is_some_and(|flow| flow.destination.port() == PORT)
        });
        Ok(sent.map(|frame| frame.0.len()).max())
    };
    for backend in &topology.backends {
        for family in Family::ALL {
            let address = SocketAddr::new(backend.at(family).ip(), PORT);
            let server = TransferServer::start(&backend.host, address)?;
            let capture = Capture::start(&topology.client, "eth0")?;
            transfer(&topology.client, address, LARGE, PATIENCE)?;
            assert_eq!(server.intact(), 1);
            let longest = longest_sent(capture)?;
            assert_eq!(longest, Some(14 + JUMBO as usize), "{address}");
        }
    }

    topology.set_link_mtu("client", 1500)?;
    topology.set_link_mtu("b1", 1500)?;
    topology.set_link_mtu("lb-front", 1500)?;
    assert!(topology.set_link_mtu("b7", 1500).is_err());
    assert_eq!(topology.client.link("eth0")?.mtu, 1500);
    assert_eq!(topology.router.link("front")?.mtu, 1500);
    let address = SocketAddr::new(topology.backends[0].address.ip(), PORT);
    let _server = TransferServer::start(&topology.backends[0].host, address)?;
    let capture = Capture::start(&topology.client, "eth0")?;
    transfer(&topology.client, address, LARGE, PATIENCE)?;
    assert_eq!(longest_sent(capture)?, Some(14 + 1500));
    Ok(())
}

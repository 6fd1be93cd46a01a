//! The testbed itself, without a load balancer: the kernel forwards.

use std::{
    fs,
    net::SocketAddr,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use testbed::{
    capture::Capture,
    echo::{EchoServer, echo},
    ethtool,
    host::Host,
    http::{self, Connection, Timeouts},
    icmp::ping,
    netlink, netns, poll,
    process::Process,
    site, sweep,
    topology::{CLIENT, Death, LB_BACK, LB_FRONT, ROUTER_FRONT, Topology},
    xdp,
};

const SOON: Duration = Duration::from_secs(5);
const QUICK: Timeouts = Timeouts {
    connect: Duration::from_millis(400),
    answer: Duration::from_millis(400),
};

fn get(host: &Host, target: SocketAddr) -> Result<http::Reply> {
    host.block_on(|| http::get(target, QUICK))
}

#[test]
fn the_client_reaches_every_backend_through_the_load_balancers_host() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().far_backend().build()?;
    assert_eq!(topology.backends.len(), 4);
    let before = topology.lb.link("front")?.counters;
    for backend in &topology.backends {
        let reply = get(&topology.client, backend.address).context(backend.name.clone())?;
        assert_eq!(
            (reply.status, reply.body),
            (200, format!("{}\n", backend.name))
        );
        assert_eq!(reply.local.ip(), CLIENT);
        assert_eq!(
            (backend.server.connections(), backend.server.requests()),
            (1, 1)
        );
    }
    let after = topology.lb.link("front")?.counters;
    // SYN, ACK, request, FIN at least, each way.
    assert!(
        after.rx_packets >= before.rx_packets + 16,
        "{before:?} {after:?}"
    );
    assert!(
        after.tx_packets >= before.tx_packets + 16,
        "{before:?} {after:?}"
    );
    ping(&topology.client, LB_FRONT, SOON)?;
    ping(&topology.client, ROUTER_FRONT, SOON)?;
    Ok(())
}

#[test]
fn a_one_armed_load_balancer_is_reached_through_the_router() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(1).one_armed().build()?;
    assert_eq!(topology.lb_interfaces(), ["back"]);
    ping(&topology.client, LB_BACK, SOON)?;
    let reply = get(&topology.client, topology.backends[0].address)?;
    assert_eq!(reply.backend(), "b1");
    Ok(())
}

#[test]
fn a_connection_is_kept_for_several_requests() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(1).build()?;
    let backend = &topology.backends[0];
    topology.client.block_on(|| async {
        let mut connection = Connection::open(backend.address, QUICK).await?;
        for _ in 0..3 {
            assert_eq!(connection.get().await?.backend(), "b1");
        }
        anyhow::Ok(())
    })?;
    assert_eq!(
        (backend.server.connections(), backend.server.requests()),
        (1, 3)
    );
    Ok(())
}

#[test]
fn a_backend_dies_three_ways_and_comes_back() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let mut topology = Topology::builder().backends(1).build()?;
    let client = topology.client.clone();
    let backend = &mut topology.backends[0];
    for death in [Death::Killed, Death::Stopped, Death::Unplugged] {
        let first = get(&client, backend.address);
        assert_eq!(
            first
                .with_context(|| format!("before {death:?}"))?
                .backend(),
            "b1"
        );
        backend.die(death)?;
        let error = get(&client, backend.address).expect_err("a dead backend answered");
        let text = format!("{error:#}");
        let expected = match death {
            Death::Killed => "refused",
            Death::Stopped => "no answer",
            Death::Unplugged => "no connection",
        };
        assert!(text.contains(expected), "{death:?}: {text}");
        backend.revive()?;
        poll::until_true("the backend's return", SOON, || {
            get(&client, backend.address).is_ok()
        })?;
    }
    Ok(())
}

#[test]
fn both_ends_of_a_link_compute_checksums_and_have_gro() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(1).build()?;
    let ends = [
        (&topology.client, "eth0"),
        (&topology.lb, "front"),
        (&topology.lb, "back"),
        (&topology.router, "lb-front"),
        (&topology.router, "b1"),
        (&topology.backends[0].host, "eth0"),
    ];
    for (host, interface) in ends {
        let (tx, gro) = host.run(|| ethtool::offloads(interface))?;
        assert!(
            !tx && gro,
            "{} {interface}: tx {tx}, gro {gro}",
            host.name()
        );
    }
    Ok(())
}

#[test]
fn a_capture_shows_the_segments_of_a_connection() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(1).build()?;
    let target = SocketAddr::from((LB_FRONT, 7));
    let server = EchoServer::start(&topology.lb, target)?;
    let capture = Capture::start(&topology.lb, "front")?;
    echo(&topology.client, target, b"hello", SOON)?;
    let frames = capture.finish()?;
    let segments: Vec<_> = frames.iter().filter_map(|frame| frame.segment()).collect();
    let syns: Vec<_> = segments
        .iter()
        .filter(|segment| segment.syn && !segment.ack)
        .collect();
    assert_eq!(syns.len(), 1, "{segments:?}");
    assert_eq!(
        (syns[0].source, syns[0].destination_port),
        (CLIENT.into(), 7)
    );
    assert!(
        segments
            .iter()
            .any(|segment| segment.syn && segment.ack && segment.source_port == 7)
    );
    assert_eq!(server.connections(), 1);
    Ok(())
}

#[test]
fn a_forgotten_neighbour_is_gone() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(0).build()?;
    ping(&topology.lb, CLIENT, SOON)?;
    let knows = || -> Result<bool> {
        Ok(topology
            .lb
            .neighbours()?
            .iter()
            .any(|entry| entry.address == CLIENT))
    };
    assert!(knows()?);
    assert!(topology.lb.forget_neighbour("front", CLIENT)?);
    assert!(!topology.lb.forget_neighbour("front", CLIENT)?);
    assert!(!knows()?);
    let mac = topology.client.link("eth0")?.mac;
    topology.lb.set_neighbour("front", CLIENT, mac)?;
    assert!(knows()?);
    ping(&topology.lb, CLIENT, SOON)?;
    Ok(())
}

#[test]
fn a_passing_xdp_program_is_seen_on_its_interface_and_passes() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(1).build()?;
    assert_eq!(site::programs(&topology)?, [None, None]);
    let program = xdp::load_passing_program()?;
    topology
        .lb
        .run(|| netlink::attach_xdp("back", program.as_fd()))?;
    let attached = topology
        .lb
        .link("back")?
        .xdp
        .context("no program is seen")?;
    assert!(attached.native && attached.id > 0, "{attached:?}");
    assert_eq!(site::programs(&topology)?, [None, Some(attached.id)]);
    assert_eq!(
        get(&topology.client, topology.backends[0].address)?.backend(),
        "b1"
    );
    Ok(())
}

#[test]
fn a_host_leaves_no_name_behind() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let name = format!("{}-guard", sweep::unique_name());
    let host = Host::new(&name)?;
    assert!(netns::list().contains(&name));
    let clone = host.clone();
    drop(host);
    assert!(netns::list().contains(&name), "a clone still holds it");
    drop(clone);
    assert!(!netns::list().contains(&name));
    Ok(())
}

#[test]
fn the_leftovers_of_a_dead_process_are_swept_and_others_kept() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let mut dead = Command::new("true").spawn()?;
    let pid = dead.id();
    dead.wait()?;
    let orphan = format!("slt-{pid}-0-orphan");
    let mine = format!("{}-mine", sweep::unique_name());
    // As a killed process leaves it: no drop runs.
    std::mem::forget(Host::new(&orphan)?);
    let pins = Path::new(sweep::PINS).join(format!("slt-{pid}-0"));
    fs::create_dir_all(pins.join("maps"))?;
    let run = Path::new(sweep::RUN).join(format!("slt-{pid}-0"));
    fs::create_dir_all(&run)?;
    fs::write(run.join("admin.sock"), "")?;
    let host = Host::new(&mine)?;

    sweep::sweep();
    assert!(!netns::list().contains(&orphan));
    assert!(!pins.exists() && !run.exists());
    assert!(netns::list().contains(&mine));
    drop(host);
    Ok(())
}

#[test]
fn a_child_outlives_the_thread_that_asked_for_it_and_dies_with_its_guard() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let sleeper = || {
        let mut command = Command::new("sleep");
        command.arg("600").stdout(Stdio::null());
        Process::spawn(command)
    };
    // The thread that asked for the child ends at once.
    let mut child = std::thread::spawn(sleeper)
        .join()
        .expect("the thread panicked")?;
    let still = poll::until("the child's end", Duration::from_millis(200), || {
        child.try_wait().ok().flatten()
    });
    assert!(still.is_err(), "{still:?}");
    let pid = child.pid();
    drop(child);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

#[test]
fn a_command_runs_in_its_host_and_nowhere_else() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let name = format!("{}-command", sweep::unique_name());
    let host = Host::new(&name)?;
    let outside = fs::read_link("/proc/self/ns/net")?;
    let output = host.command("readlink").arg("/proc/self/ns/net").output()?;
    assert_eq!(output.status.signal(), None);
    let inside = String::from_utf8(output.stdout)?;
    assert!(inside.starts_with("net:["), "{inside}");
    assert_ne!(inside.trim(), outside.display().to_string());
    assert_eq!(fs::read_link("/proc/self/ns/net")?, outside);
    Ok(())
}

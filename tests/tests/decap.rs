//! `sluice decap` on a backend: what was in a tunnel arrives at a socket that listens at the VIP, and
//! keeps doing so whatever happens to the interface and the process.

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use testbed::{
    capture::Capture,
    decap::Decap,
    ordinary::Ordinary,
    packets::tunnel::{Encapsulation, Tunnel, around, datagram, syn},
    poll,
    tunnel_end::{CLIENTS, INTERFACE, TunnelEnd, VIPS, arguments},
    xdp,
};

const SOON: Duration = Duration::from_secs(5);

/// The program is looked after every five seconds.
const MENDED: Duration = Duration::from_secs(15);

/// An IPv4 packet in IPIP.
fn tunnel(payload: &[u8]) -> Tunnel {
    let inner = datagram(CLIENTS[0], VIPS[0], 0, payload);
    Tunnel::new("10.77.2.1", "10.77.2.11", Encapsulation::Ipip, &inner)
}

fn one_arrives(end: &TunnelEnd) -> Result<()> {
    let socket = end.listen(VIPS[0], SOON)?;
    end.arrives(&socket, &tunnel(b"question"), CLIENTS[0], b"question")
}

/// In every kind of tunnel, of either family.
fn all_arrive(end: &TunnelEnd, decap: &Decap) -> Result<()> {
    for (client, vip) in CLIENTS.into_iter().zip(VIPS) {
        let socket = end.listen(vip, SOON)?;
        for (name, tunnel) in around(&datagram(client, vip, 0, name_of(vip))) {
            end.arrives(&socket, &tunnel, client, name_of(vip))
                .with_context(|| format!("{name} to {vip}\n{}", decap.log()))?;
        }
    }
    for name in ["ipip_ipv4", "ipip_ipv6", "gue_ipv4", "gue_ipv6"] {
        assert_eq!(decap.counter("decapsulated", name)?, 2, "{name}");
    }
    Ok(())
}

const fn name_of(vip: &str) -> &[u8] {
    vip.as_bytes()
}

#[test]
fn every_kind_of_tunnel_ends_at_a_socket_of_the_vip() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    for (mode, native) in [("auto", true), ("native", true), ("generic", false)] {
        let mut decap = Decap::prepare(&end.backend, &arguments(&["--xdp-mode", mode]))?;
        decap.restart()?;
        let program = end.program()?.context("no program")?;
        assert_eq!(program.1, native, "{mode}");
        all_arrive(&end, &decap).with_context(|| mode)?;
    }
    Ok(())
}

#[test]
fn a_syn_in_a_tunnel_is_answered_by_the_vip() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut decap = end.decap()?;
    decap.restart()?;
    for (client, vip) in CLIENTS.into_iter().zip(VIPS) {
        let (mut client, vip): (SocketAddr, SocketAddr) = (client.parse()?, vip.parse()?);
        let _listener = end.backend.run(|| TcpListener::bind(vip))?;
        for kind in 0..around(&[]).len() {
            // Each from another port: a SYN that comes again is not answered at once.
            client.set_port(client.port() + 1);
            let syn = syn(&client.to_string(), &vip.to_string());
            let (name, tunnel) = &around(&syn)[kind];
            is_answered(&end, tunnel, client, vip).with_context(|| format!("{name} to {vip}"))?;
        }
    }
    Ok(())
}

/// Sends a SYN, and waits for the answer.
fn is_answered(
    end: &TunnelEnd,
    tunnel: &Tunnel,
    client: SocketAddr,
    vip: SocketAddr,
) -> Result<()> {
    let capture = Capture::start(&end.balancer, INTERFACE)?;
    end.send(&tunnel.bytes())?;
    let table = if vip.is_ipv4() { "tcp" } else { "tcp6" };
    poll::until_true("the connection", SOON, || {
        let path = format!("/proc/thread-self/net/{table}");
        let sockets = end.backend.run(|| fs::read_to_string(path));
        // The client's port, then SYN_RECV.
        let half_open = format!(":{:04X} 03 ", client.port());
        sockets.is_ok_and(|text| text.contains(&half_open))
    })?;
    let frames = capture.finish()?;
    let mut segments = frames.iter().filter_map(|frame| frame.segment());
    let answered = segments.any(|segment| {
        let from = SocketAddr::new(segment.source, segment.source_port);
        let to = SocketAddr::new(segment.destination, segment.destination_port);
        segment.syn && segment.ack && from == vip && to == client
    });
    ensure!(answered, "no answer among {frames:02x?}");
    Ok(())
}

#[test]
fn a_tunnel_of_somebody_else_ends_nowhere() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut decap = end.decap()?;
    decap.restart()?;
    let socket = end.listen(VIPS[0], SOON)?;
    for source in ["10.77.2.2", "192.0.2.7"] {
        let forged = Tunnel {
            source: source.parse()?,
            ..tunnel(b"forged")
        };
        end.send(&forged.bytes())?;
    }
    // What was sent before it would have come before it.
    end.arrives(&socket, &tunnel(b"question"), CLIENTS[0], b"question")?;
    socket.set_nonblocking(true)?;
    let more = socket.recv(&mut [0; 64]).map_err(|error| error.kind());
    assert_eq!(more, Err(ErrorKind::WouldBlock));
    assert_eq!(decap.counter("passed", "refused_source")?, 2);
    assert_eq!(decap.counter("decapsulated", "ipip_ipv4")?, 1);
    Ok(())
}

#[test]
fn jumbo_frames_are_taken_by_the_program_for_several_buffers() -> Result<()> {
    const MTU: u32 = 9000;
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    for host in [&end.balancer, &end.backend] {
        host.set_mtu(INTERFACE, MTU)?;
    }
    let mut decap = Decap::prepare(&end.backend, &arguments(&["--xdp-mode", "native"]))?;
    decap.restart()?;
    assert!(decap.log().contains("several buffers"), "{}", decap.log());
    let payload = vec![0x5a; 8000];
    let socket = end.listen(VIPS[0], SOON)?;
    for (name, tunnel) in around(&datagram(CLIENTS[0], VIPS[0], 0, &payload)) {
        end.arrives(&socket, &tunnel, CLIENTS[0], &payload)
            .with_context(|| name)?;
    }
    Ok(())
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut decap = end.decap()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        decap.restart()?;
        one_arrives(&end)?;
        let status = decap.stop(signal)?;
        assert!(status.success(), "{signal}: {status}\n{}", decap.log());
        assert_eq!(end.program()?, None, "{signal}");
        assert!(!decap.pins().exists(), "{signal}");
        let log = decap.log();
        let last = log.lines().last().context("a log")?;
        assert!(
            last.contains("stopping; decapsulated 1 (ipip_ipv4 1), passed "),
            "{log}"
        );
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    }
    Ok(())
}

#[test]
fn a_killed_one_goes_on_and_the_next_takes_its_place() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut decap = end.decap()?;
    decap.restart()?;
    let first = end.program()?;
    decap.kill9();
    one_arrives(&end)?;
    assert_eq!(decap.counter("decapsulated", "ipip_ipv4")?, 1);

    decap.restart()?;
    let second = end.program()?;
    assert!(second.is_some() && second != first, "{first:?}, {second:?}");
    assert_eq!(decap.counter("decapsulated", "ipip_ipv4")?, 0);
    one_arrives(&end)?;

    // In another mode, which a link cannot change.
    decap.kill9();
    decap.set_arguments(&arguments(&["--xdp-mode", "generic"]));
    decap.restart()?;
    assert!(end.program()?.is_some_and(|(_, native)| !native));
    one_arrives(&end)?;
    decap.kill9();
    decap.set_arguments(&arguments(&[]));
    decap.restart()?;
    assert!(end.program()?.is_some_and(|(_, native)| native));
    one_arrives(&end)?;
    assert!(decap.stop(Signal::SIGTERM)?.success());
    assert_eq!(end.program()?, None);
    assert!(!decap.pins().exists());
    Ok(())
}

#[test]
fn no_packet_is_missed_while_the_next_takes_over() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut decap = end.decap()?;
    decap.restart()?;
    let socket = end.listen(VIPS[0], SOON)?;
    let (stop, arrived) = (AtomicBool::new(false), AtomicU32::new(0));
    let (wire, stop, arrived) = (&end.wire()?, &stop, &arrived);
    let sent = thread::scope(|scope| -> Result<u32> {
        let sender = scope.spawn(move || -> Result<u32> {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                // No more than the socket has room for: each takes a page and more.
                if sent - arrived.load(Ordering::Relaxed) < 16 {
                    wire.send(&tunnel(b"question").bytes())?;
                    sent += 1;
                }
            }
            wire.send(&tunnel(b"").bytes())?;
            Ok(sent)
        });
        let receiver = scope.spawn(move || -> Result<()> {
            while socket.recv(&mut [0; 64])? > 0 {
                arrived.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        decap.kill9();
        let restarted = decap.restart();
        stop.store(true, Ordering::Relaxed);
        restarted?;
        receiver.join().expect("the receiver")?;
        sender.join().expect("the sender")
    })?;
    assert!(sent > 100, "{sent}");
    assert_eq!(arrived.load(Ordering::Relaxed), sent);
    Ok(())
}

#[test]
fn interfaces_that_a_killed_one_had_are_left_by_the_next() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    end.balancer.join("eth1", &end.backend, "eth1.7")?;
    let other = || -> Result<bool> { Ok(end.backend.link("eth1.7")?.xdp.is_some()) };
    let mut decap = Decap::prepare(&end.backend, &arguments(&["--interface", "eth1.7"]))?;
    decap.restart()?;
    assert!(other()?);
    decap.kill9();
    assert!(other()?);
    decap.set_arguments(&arguments(&[]));
    decap.restart()?;
    assert!(!other()?, "{}", decap.log());
    one_arrives(&end)
}

#[test]
fn what_a_killed_one_left_is_removed_by_command() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut decap = end.decap()?;
    decap.restart()?;
    let refused = decap.cli(&["--detach"])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(end.program()?.is_some());
    decap.kill9();
    for words in ["removed", "nothing"] {
        let output = decap.cli(&["--detach"])?;
        let said = String::from_utf8(output.stdout)?;
        assert!(output.status.success() && said.contains(words), "{said}");
        assert_eq!(end.program()?, None);
        assert!(!decap.pins().exists());
    }
    Ok(())
}

#[test]
fn a_program_that_somebody_took_away_comes_back() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut decap = end.decap()?;
    decap.restart()?;
    let ours = end.program()?;
    let link = decap.pins().join("links").join(INTERFACE);
    let is_back = |times| -> Result<()> {
        poll::until_true("the program to be back", MENDED, || {
            decap.log().matches("it is back").count() == times
        })?;
        assert_eq!(end.program()?, ours);
        one_arrives(&end)
    };
    xdp::detach_link(&link)?;
    is_back(1)?;
    let other = xdp::load_passing_program()?;
    xdp::replace_in_link(&link, other.as_fd())?;
    is_back(2)
}

#[test]
fn an_interface_that_comes_back_is_attached_to_again() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    end.balancer.join("eth1", &end.backend, "eth1")?;
    let mut decap = Decap::prepare(&end.backend, &arguments(&["--interface", "eth1"]))?;
    decap.restart()?;
    end.backend.delete_link("eth1")?;
    poll::until_true("the loss to be noticed", MENDED, || {
        decap.log().contains("interface eth1 is gone")
    })?;
    one_arrives(&end)?;
    end.balancer.join("eth1", &end.backend, "eth1")?;
    poll::until_true("the program to be on it", MENDED, || {
        let link = end.backend.link("eth1");
        link.is_ok_and(|link| link.xdp.is_some())
    })?;
    assert!(decap.stop(Signal::SIGTERM)?.success());
    assert!(end.backend.link("eth1")?.xdp.is_none());
    Ok(())
}

#[test]
fn an_ordinary_user_with_three_capabilities_takes_tunnels_off() -> Result<()> {
    const NEEDED: [&str; 3] = ["net_admin", "perfmon", "bpf"];
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    for missing in NEEDED {
        let granted: Vec<_> = NEEDED.into_iter().filter(|name| *name != missing).collect();
        let user = Ordinary::with(&granted)?;
        let mut decap = end.decap()?;
        decap.run_as(&user);
        let ended = decap.run_to_end()?;
        let line = ended.only_line()?;
        let named = format!("missing CAP_{} (", missing.to_uppercase());
        assert_eq!(ended.code(), Some(1), "{line}");
        assert!(line.contains(&named), "{line}");
        assert_eq!(end.program()?, None);
    }
    let user = Ordinary::with(&NEEDED)?;
    let mut decap = end.decap()?;
    decap.run_as(&user);
    decap.restart()?;
    one_arrives(&end)?;
    assert!(decap.stop(Signal::SIGTERM)?.success(), "{}", decap.log());
    assert_eq!(end.program()?, None);
    assert!(!decap.pins().exists());
    Ok(())
}

//! UDP services: every question reaches the backend that the flow's hash names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::UdpSocket,
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lb_common::{
    endian::{Be16, Be32},
    hash::FlowHash,
    tuple::FlowTuple,
};
use lb_userspace::plan::{Endpoint, Seed, maglev};
use testbed::{
    capture::Capture,
    config::{Backend, Config, Service},
    mode::Forward,
    site::Site,
    topology::{CLIENT, Topology, VIP},
    udp,
};

const DEADLINE: Duration = Duration::from_secs(2);
const PROTOCOL_UDP: u8 = 17;
/// Below the ports that the kernel gives to others.
const PORTS: std::ops::Range<u16> = 20_000..20_120;

/// The backend of every source port by the published algorithm: seed, table, hash.
fn expected(site: &Site) -> Result<BTreeMap<u16, String>> {
    let config = site.daemon.config();
    let seed = Seed::derive(Some(&config.daemon.seed));
    let backends = &site.topology.backends;
    let names: BTreeMap<Endpoint, &str> = backends
        .iter()
        .map(|backend| {
            let port = (site.topology.forward == Forward::Dnat).then(|| backend.address.port());
            let address = backend.address.ip();
            (Endpoint { address, port }, backend.name.as_str())
        })
        .collect();
    let weights = names.keys().map(|endpoint| (*endpoint, 1)).collect();
    let size = config.services[0].table_size;
    let table = maglev::table(&weights, size, seed.table);
    let owner = |port: u16| {
        let hash = FlowHash::ipv4(
            seed.flow,
            FlowTuple {
                source: Be32::from(CLIENT),
                destination: Be32::from(*VIP.ip()),
                source_port: Be16::new(port),
                destination_port: Be16::new(VIP.port()),
                protocol: PROTOCOL_UDP,
            },
        );
        let position = table.get(hash.slot(size) as usize)?;
        let name = names.values().nth(*position as usize)?;
        Some((port, (*name).to_owned()))
    };
    PORTS
        .map(|port| owner(port).context("the table is short"))
        .collect()
}

/// Who answers each source port. A wrong source address of an answer is an error.
fn asked(site: &Site) -> Result<BTreeMap<u16, String>> {
    let questions = async || -> Result<BTreeMap<u16, String>> {
        let mut answers = BTreeMap::new();
        for port in PORTS {
            let answer = udp::ask(VIP.into(), port, DEADLINE).await;
            let answer = answer.with_context(|| format!("the question from port {port}"))?;
            assert_eq!(answer.from, VIP.into());
            answers.insert(port, answer.backend);
        }
        Ok(answers)
    };
    site.client()
        .block_on(questions)
        .with_context(|| site.daemon.log_tail())
}

fn the_hash_decides(forward: Forward) -> Result<()> {
    let network = Topology::builder().forward(forward);
    let Some(site) = Site::build(&network, Config::add_udp)? else {
        return Ok(());
    };
    let expected = expected(&site)?;
    let first = asked(&site)?;
    assert_eq!(first, expected);
    let names: BTreeSet<_> = first.values().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    // The same ports again: the same backends.
    assert_eq!(asked(&site)?, first);

    let status = site.daemon.status()?;
    let service = status.service("udp");
    assert_eq!(service.packets, 2 * PORTS.len() as u64, "{service:#?}");
    for backend in &site.topology.backends {
        let own = first.values().filter(|name| **name == backend.name);
        let own = 2 * own.count() as u64;
        assert_eq!(backend.server.datagrams(), own, "{}", backend.name);
        let counted = service.backends.iter().find(|one| one.name == backend.name);
        assert_eq!(counted.map(|one| one.packets), Some(own));
    }
    assert_eq!(status.web().packets, 0, "UDP counted as TCP");
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    Ok(())
}

#[test]
fn a_question_goes_where_its_hash_says_and_the_vip_answers() -> Result<()> {
    the_hash_decides(Forward::Dnat)
}

#[test]
fn by_dsr_a_question_goes_where_its_hash_says_and_the_vip_answers() -> Result<()> {
    the_hash_decides(Forward::Dsr)
}

#[test]
fn one_service_takes_both_protocols_on_the_same_port() -> Result<()> {
    let both = |config: &mut Config| {
        let web = config.web();
        web.listen.push(format!("udp://{VIP}"));
        // With several listeners the listener's port is kept.
        for backend in &mut web.backends {
            let address = backend.address.trim_end_matches(":80").to_owned();
            *backend = Backend::new(&backend.name, address);
        }
    };
    let Some(site) = Site::build(&Topology::builder(), both)? else {
        return Ok(());
    };
    let answers = asked(&site)?;
    let names: BTreeSet<_> = answers.values().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    for backend in &site.topology.backends {
        let own = answers.values().filter(|name| **name == backend.name);
        assert_eq!(backend.server.datagrams(), own.count() as u64);
        let requests = report.answered.get(&backend.name).copied();
        assert_eq!(Some(backend.server.requests()), requests);
    }
    Ok(())
}

#[test]
fn a_datagram_without_checksum_arrives_and_keeps_none() -> Result<()> {
    let Some(site) = Site::build(&Topology::builder().backends(1), Config::add_udp)? else {
        return Ok(());
    };
    let backend = &site.topology.backends[0];
    let capture = Capture::start(&backend.host, "eth0")?;
    site.client().run(|| -> Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(DEADLINE))?;
        leave_checksum_out(&socket)?;
        socket.send_to(b"unchecked", VIP)?;
        let (_, from) = socket.recv_from(&mut [0; 64]).context("no answer")?;
        assert_eq!(from, VIP.into());
        Ok(())
    })?;
    let frames = capture.finish()?;
    let frame = frames
        .iter()
        .find(|frame| frame.flow().is_some_and(|flow| flow.source.ip() == CLIENT));
    let frame = frame.context("the datagram did not arrive")?;
    // Ethernet, IPv4 without options, ports, length.
    assert_eq!(frame.0[14 + 20 + 6..14 + 20 + 8], [0, 0], "{frame:?}");
    Ok(())
}

/// What `SO_NO_CHECK` says: datagrams leave with checksum 0, which means none (RFC 768).
fn leave_checksum_out(socket: &UdpSocket) -> Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on))?;
    // SAFETY: the option is an int, which outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const on).cast(),
            length,
        )
    };
    ensure!(set == 0, std::io::Error::last_os_error());
    Ok(())
}

#[test]
fn a_flow_that_speaks_keeps_its_backend_through_changes() -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(3);
    let mut third = Vec::new();
    let two = |config: &mut Config| {
        config.add_udp();
        let udp = config.services.last_mut().expect("it was added");
        udp.connections.transition_window = Some(WINDOW);
        udp.connections.flow_idle = Some(2 * WINDOW);
        third.extend(udp.backends.pop());
    };
    let Some(mut site) = Site::build(&Topology::builder(), two)? else {
        return Ok(());
    };
    let first = asked(&site)?;
    let reload = |site: &mut Site, change: &mut dyn FnMut(&mut Service)| -> Result<()> {
        site.daemon.set_config(|config| {
            change(config.services.last_mut().expect("it was added"));
        })?;
        let output = site.daemon.reload()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    };
    reload(&mut site, &mut |udp| udp.backends.append(&mut third))?;
    let deadline = Duration::from_secs(10);
    site.daemon
        .wait_until("the third backend", deadline, |status| {
            status.service("udp").slots.transition > 0
        })?;
    assert_eq!(asked(&site)?, first, "a backend was added");
    reload(&mut site, &mut |udp| udp.backends[1].weight = 3)?;
    assert_eq!(asked(&site)?, first, "a weight was changed");
    let output = site.daemon.cli().run(&["drain", "udp/b1"])?;
    ensure!(output.status.success(), "{output:?}");
    assert_eq!(asked(&site)?, first, "a backend is drained");
    loop {
        assert_eq!(asked(&site)?, first, "the window is open");
        if site.daemon.status()?.service("udp").slots.transition == 0 {
            break;
        }
    }
    assert_eq!(asked(&site)?, first, "the window ended");
    assert!(first.values().any(|name| name == "b1"), "{first:?}");
    // New flows go elsewhere; when the old ones are silent, the drain is over.
    let new = async || -> Result<Vec<String>> {
        let mut names = Vec::new();
        for port in 21_000..21_030 {
            names.push(udp::ask(VIP.into(), port, DEADLINE).await?.backend);
        }
        Ok(names)
    };
    let names = site.client().block_on(new)?;
    assert!(!names.iter().any(|name| name == "b1"), "{names:?}");
    let line = ["drain", "udp/b1", "--wait", "--timeout", "60s"];
    let output = site.daemon.cli().run(&line)?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let status = site.daemon.status()?;
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    Ok(())
}

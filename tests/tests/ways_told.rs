//! What `explain`, `trace` and `flows` tell of packets by every mode, both families and tunnels.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::admin::{FlowList, explain::Explanation};
use testbed::{
    cli::stderr,
    poll,
    site::Site,
    topology::{CLIENT, Topology},
    ways::{DIRECT, REWRITTEN, Way, Ways},
};

/// Below the ports that the kernel gives to others.
const PORTS: std::ops::Range<u16> = 22_000..22_008;
const SOON: Duration = Duration::from_secs(10);

fn json<T: serde::de::DeserializeOwned>(site: &Site, line: &[&str]) -> Result<T> {
    let line = [&["--output", "json"], line].concat();
    let output = site.daemon.cli().run(&line)?;
    ensure!(output.status.success(), "{}", stderr(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn client(way: Way, port: u16) -> SocketAddr {
    SocketAddr::new(way.vip.at(CLIENT.into()), port)
}

/// The program is on the way to a backend, the one that the rules say.
fn explain_agrees(all: &Ways, way: Way) -> Result<()> {
    for port in PORTS {
        let (client, vip) = (client(way, port).to_string(), way.vip().to_string());
        for protocol in ["tcp", "udp"] {
            let line = ["explain", protocol, &client, &vip];
            let told: Explanation = json(&all.site, &line)?;
            assert_eq!(told.service.as_deref(), Some(&*way.name()));
            for packet in &told.packets {
                assert_eq!(packet.agrees, Some(true), "{told:#?}");
                assert!(packet.program.is_some(), "{told:#?}");
                assert_eq!(packet.program, packet.backend, "{told:#?}");
            }
        }
    }
    Ok(())
}

/// Of a traced packet to the VIP: where it came from, and where it went if that shows.
fn trace_tells(all: &Ways, way: Way) -> Result<()> {
    let programs = all.site.programs()?;
    let name = way.name();
    let line = ["trace", "--service", &name, "--limit", "60"];
    let mut command = all.site.daemon.cli().command(&line)?;
    command.stdout(Stdio::piped());
    let trace = command.spawn().context("starting the trace")?;
    poll::until_true("the tracing program", SOON, || {
        all.site.programs().is_ok_and(|now| now != programs)
    })?;
    all.ask(way)?;
    let output = trace.wait_with_output()?;
    poll::until_true("the tracing program to be gone", SOON, || {
        all.site.programs().is_ok_and(|now| now == programs)
    })?;
    let text = String::from_utf8(output.stdout)?;
    let (vip, any) = (way.vip(), client(way, 0).to_string());
    let wanted = format!("{}:", any.trim_end_matches(":0"));
    // Replies are of the service, too.
    let line = text
        .lines()
        .find(|line| line.contains(&format!("> {vip} ")));
    let line = line.with_context(|| text.clone())?;
    assert!(line.contains(&wanted), "{wanted} is not in {line}");
    if way.forward.is_tunnel() {
        let (_, after) = line.split_once(" as ").with_context(|| line.to_owned())?;
        let (_, to) = after.split_once(" > ").with_context(|| line.to_owned())?;
        let backends = &all.site.topology.backends;
        let mut ends = backends.iter().map(|b| b.at(way.backends).ip().to_string());
        assert!(ends.any(|end| to.contains(&end)), "{line}");
    }
    Ok(())
}

/// With every flow remembered, each request is among those that are listed.
fn flows_list(all: &Ways, way: Way) -> Result<()> {
    all.ask(way)?;
    let flows: FlowList = json(&all.site, &["flows", "--service", &way.name()])?;
    assert!(!flows.flows.is_empty(), "{}", way.name());
    for flow in &flows.flows {
        let source: SocketAddr = flow.source.parse()?;
        assert_eq!(source.ip(), way.vip.at(CLIENT.into()));
        assert_eq!(flow.destination, way.vip().to_string());
        assert!(flow.backend.is_some(), "{flow:?}");
    }
    Ok(())
}

fn is_told(ways: &[Way]) -> Result<()> {
    let network = Topology::builder().backends(2);
    let Some(all) = Ways::start(network, ways, |config| {
        config.web().connections.tracking = Some("always");
    })?
    else {
        return Ok(());
    };
    for &way in ways {
        let told = explain_agrees(&all, way)
            .and_then(|()| flows_list(&all, way))
            .and_then(|()| trace_tells(&all, way));
        told.with_context(|| format!("{}\n{}", way.name(), all.site.daemon.log_tail()))?;
    }
    let mixed = ["explain", "tcp", "[fd77:1::10]:1", "10.77.0.80:80"];
    let output = all.site.daemon.cli().run(&mixed)?;
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("both IPv6"), "{said}");
    Ok(())
}

#[test]
fn packets_that_are_rewritten_are_told_of() -> Result<()> {
    is_told(REWRITTEN)
}

#[test]
fn packets_that_backends_answer_themselves_are_told_of() -> Result<()> {
    is_told(DIRECT)
}

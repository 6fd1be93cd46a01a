//! What `explain` says is what becomes of packets: in slots at rest and in motion, while tables change
//! their size, and however flows are tracked.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::admin::explain::Explanation;
use testbed::{
    cli::stderr,
    config::{Config, Service},
    site::Site,
    topology::{CLIENT, Topology, VIP},
    udp,
};

const DEADLINE: Duration = Duration::from_secs(2);
/// Below the ports that the kernel gives to others.
const SPOKEN: std::ops::Range<u16> = 22_000..22_012;
const LATER: std::ops::Range<u16> = 22_100..22_112;

fn explained(site: &Site, protocol: &str, port: u16) -> Result<Explanation> {
    let (source, vip) = (format!("{CLIENT}:{port}"), VIP.to_string());
    let line = ["--output", "json", "explain", protocol, &source, &vip];
    let output = site.daemon.cli().run(&line)?;
    ensure!(output.status.success(), "{}", stderr(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Each port's flow is explained, then speaks, and the answer comes from where that said.
fn holds(
    site: &Site,
    what: &str,
    ports: &mut dyn Iterator<Item = u16>,
) -> Result<BTreeSet<String>> {
    let mut states = BTreeSet::new();
    for port in ports {
        let tcp = explained(site, "tcp", port)?;
        assert!(tcp.agrees && tcp.packets.len() == 2, "{what}: {tcp:#?}");
        let before = explained(site, "udp", port)?;
        assert!(before.agrees, "{what}: {before:#?}");
        let [datagram] = &before.packets[..] else {
            anyhow::bail!("{what}: {before:#?}");
        };
        let slot = before.slot.as_ref().context("it has a slot")?;
        states.insert(match &slot.before {
            Some(_) => "resizing".to_owned(),
            None => slot.state.clone(),
        });
        let answer = site
            .client()
            .block_on(async || udp::ask(VIP.into(), port, DEADLINE).await);
        match &datagram.backend {
            Some(backend) => assert_eq!(answer?.backend, *backend, "{what}: {before:#?}"),
            None => assert!(answer.is_err(), "{what}: {before:#?}"),
        }
    }
    Ok(states)
}

fn change(site: &mut Site, change: impl Fn(&mut Service)) -> Result<()> {
    site.daemon
        .set_config(|config| config.services.iter_mut().for_each(change))?;
    let output = site.daemon.reload()?;
    ensure!(output.status.success(), "{}", stderr(&output));
    Ok(())
}

fn tell(site: &Site, command: &str, backend: &str) -> Result<()> {
    for service in ["web", "udp"] {
        let target = format!("{service}/{backend}");
        let output = site.daemon.cli().run(&[command, &target])?;
        ensure!(output.status.success(), "{}", stderr(&output));
    }
    Ok(())
}

#[test]
fn packets_go_where_explain_says_through_changes() -> Result<()> {
    let small = |config: &mut Config| {
        config.add_udp();
        for service in &mut config.services {
            service.table_size = 127;
            service.connections.transition_window = Some(Duration::from_secs(8));
            service.connections.flow_idle = Some(Duration::from_secs(20));
        }
    };
    let Some(mut site) = Site::build(&Topology::builder(), small)? else {
        return Ok(());
    };
    let (spoken, all) = (|| SPOKEN, || SPOKEN.chain(LATER));
    let mut seen = holds(&site, "at rest", &mut spoken())?;
    tell(&site, "drain", "b1")?;
    seen.extend(holds(&site, "a drain", &mut all())?);
    tell(&site, "disable", "b2")?;
    seen.extend(holds(&site, "a backend as if dead", &mut all())?);
    tell(&site, "enable", "b2")?;
    seen.extend(holds(&site, "and alive again", &mut all())?);
    change(&mut site, |service| service.table_size = 251)?;
    seen.extend(holds(&site, "a resize", &mut all())?);
    tell(&site, "undrain", "b1")?;
    seen.extend(holds(
        &site,
        "a resize, and the drain taken back",
        &mut all(),
    )?);
    change(&mut site, |service| {
        service.connections.tracking = Some("always")
    })?;
    seen.extend(holds(&site, "always tracked", &mut all())?);
    tell(&site, "drain", "b3")?;
    seen.extend(holds(&site, "always tracked, a drain", &mut all())?);
    change(&mut site, |service| {
        service.connections.tracking = Some("transition")
    })?;
    seen.extend(holds(&site, "no longer always tracked", &mut all())?);
    for backend in ["b1", "b2"] {
        tell(&site, "drain", backend)?;
    }
    seen.extend(holds(&site, "all are drained", &mut spoken())?);
    change(&mut site, |service| {
        service.connections.tracking = Some("never")
    })?;
    for backend in ["b1", "b2", "b3"] {
        tell(&site, "undrain", backend)?;
    }
    seen.extend(holds(&site, "never tracked", &mut all())?);
    for state in ["stable", "transition", "tracked", "resizing"] {
        assert!(seen.contains(state), "{state} is not among {seen:?}");
    }
    Ok(())
}

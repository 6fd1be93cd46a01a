//! Every way to run the playground: each forwarding mode, each XDP mode, with UDP and without; and
//! that what a kernel's stack would merge or cut passes in each.

use std::{
    fs::{self, File},
    net::SocketAddr,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use testbed::{
    config::Config,
    daemon::Daemon,
    mode::{Family, Forward, XdpMode},
    process::Process,
    programs,
    site::Site,
    sweep,
    topology::{Topology, VIP},
    transfer::{LARGE, TransferServer, transfer},
};

const PATIENCE: Duration = Duration::from_secs(60);
const FORWARD: [Forward; 2] = [Forward::Dnat, Forward::Dsr];
const XDP: [XdpMode; 2] = [XdpMode::Native, XdpMode::Generic];
const PORT: u16 = 7000;

/// Runs a playground of 3 s to its end: its exit code and what it wrote.
fn play(forward: Forward, xdp: XdpMode, udp: bool) -> Result<(Option<i32>, String)> {
    let folder = tempfile::Builder::new()
        .prefix(&sweep::unique_name())
        .tempdir()?;
    let path = folder.path().join("output");
    let output = File::create(&path)?;
    let mut command = Command::new(programs::playground()?);
    command
        .args(["run", "--duration", "3s", "--forward", forward.word()])
        .args(["--xdp-mode", xdp.word()])
        .args(udp.then_some("--udp"))
        .stdout(output.try_clone()?)
        .stderr(output);
    let status = Process::spawn(command)?.wait(PATIENCE);
    let text = fs::read_to_string(path)?;
    let status = status.with_context(|| text.clone())?;
    Ok((status.code(), text))
}

/// The summary's line that begins with `name`.
fn line<'a>(summary: &'a str, name: &str) -> Result<&'a str> {
    let lines = summary.lines().map(str::trim_start);
    lines
        .rev()
        .find(|line| line.split_whitespace().next() == Some(name))
        .with_context(|| format!("no {name} in: {summary}"))
}

/// The playground's names are fixed, so they run one after the other.
#[test]
fn the_playground_serves_in_every_combination_of_modes() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    for (forward, xdp, udp) in FORWARD
        .into_iter()
        .flat_map(|forward| XDP.map(|xdp| (forward, xdp)))
        .flat_map(|(forward, xdp)| [(forward, xdp, false), (forward, xdp, true)])
    {
        let what = format!("{forward:?}, {xdp:?}, UDP: {udp}");
        let (code, output) = play(forward, xdp, udp)?;
        assert_eq!(code, Some(0), "{what}: {output}");
        let modes = format!("{}, {}, ", forward.word(), xdp.word());
        assert!(line(&output, "XDP")?.contains(&modes), "{what}: {output}");
        for name in ["b1", "b2", "b3"] {
            let served = line(&output, name)?;
            assert!(!served.contains(" 0 "), "{what}: {served}");
            assert_eq!(served.contains("UDP requests"), udp, "{what}: {served}");
        }
        assert!(line(&output, "requests")?.contains("failed 0 "), "{output}");
        if udp {
            assert!(line(&output, "UDP")?.contains("failed 0 "), "{output}");
        }
    }
    Ok(())
}

/// Ten megabytes each way: segments that offloads merge on their way, and frames as long as the MTU.
fn a_large_transfer_arrives(forward: Forward, xdp: XdpMode) -> Result<()> {
    let vip = SocketAddr::from((*VIP.ip(), PORT));
    let at_another_port = |config: &mut Config| {
        config.attach_as(xdp);
        let service = config.web().at_port("transfer", PORT);
        config.services.push(service);
    };
    let network = Topology::builder().forward(forward);
    let Some((topology, config)) = Site::prepare(&network, at_another_port)? else {
        return Ok(());
    };
    let servers: Vec<_> = topology
        .backends
        .iter()
        .map(|one| TransferServer::start(&one.host, one.receives_at(Family::Ipv4, PORT)))
        .collect::<Result<_>>()?;
    let daemon = Daemon::start(&topology.lb, config)?;
    daemon.wait_until("slots for everybody", PATIENCE, |status| {
        let mut backends = status.services.iter().flat_map(|service| &service.backends);
        backends.all(|backend| backend.slots > 0)
    })?;
    let status = daemon.status()?;
    assert!(
        status.interfaces.iter().all(|one| one.xdp == xdp.word()),
        "{:?}",
        status.interfaces
    );
    transfer(&topology.client, vip, LARGE, PATIENCE).with_context(|| daemon.log_tail())?;
    let intact: u64 = servers.iter().map(TransferServer::intact).sum();
    assert_eq!(intact, 1);
    Ok(())
}

#[test]
fn a_large_transfer_arrives_by_dnat_in_the_driver() -> Result<()> {
    a_large_transfer_arrives(Forward::Dnat, XdpMode::Native)
}

#[test]
fn a_large_transfer_arrives_by_dnat_in_the_stack() -> Result<()> {
    a_large_transfer_arrives(Forward::Dnat, XdpMode::Generic)
}

#[test]
fn a_large_transfer_arrives_by_dsr_in_the_driver() -> Result<()> {
    a_large_transfer_arrives(Forward::Dsr, XdpMode::Native)
}

#[test]
fn a_large_transfer_arrives_by_dsr_in_the_stack() -> Result<()> {
    a_large_transfer_arrives(Forward::Dsr, XdpMode::Generic)
}

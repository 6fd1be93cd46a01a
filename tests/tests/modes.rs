//! Every way to run the playground: each forwarding mode, each XDP mode, with UDP and IPv6 and without.

use std::{
    fs::{self, File},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use testbed::{
    mode::{Forward, XdpMode},
    process::Process,
    programs, sweep,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a playground of 2 s to its end: its exit code and what it wrote.
fn play(forward: Forward, xdp: XdpMode, more: &[&str]) -> Result<(Option<i32>, String)> {
    let folder = tempfile::Builder::new()
        .prefix(&sweep::unique_name())
        .tempdir()?;
    let path = folder.path().join("output");
    let output = File::create(&path)?;
    let mut command = Command::new(programs::playground()?);
    command
        .args(["run", "--duration", "2s", "--forward", forward.word()])
        .args(["--xdp-mode", xdp.word()])
        .args(more)
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

fn serves(forward: Forward, xdp: XdpMode, more: &[&str]) -> Result<()> {
    let [udp, ipv6] = ["--udp", "--ipv6"].map(|option| more.contains(&option));
    let what = format!("{forward:?}, {xdp:?}, {more:?}");
    let (code, output) = play(forward, xdp, more)?;
    assert_eq!(code, Some(0), "{what}: {output}");
    let families = if ipv6 { ", IPv4 and IPv6" } else { "" };
    let modes = format!(" {}, {}{families}, ", forward.word(), xdp.word());
    assert!(line(&output, "XDP")?.contains(&modes), "{what}: {output}");
    for name in ["b1", "b2", "b3"] {
        let served = line(&output, name)?;
        assert!(!served.contains(" 0 "), "{what}: {served}");
        assert_eq!(served.contains("UDP requests"), udp, "{what}: {served}");
    }
    for name in [Some("requests"), udp.then_some("UDP")]
        .into_iter()
        .flatten()
    {
        let requests = line(&output, name)?;
        assert!(requests.contains("failed 0 "), "{what}: {output}");
        assert_eq!(requests.contains(" by IPv6)"), ipv6, "{what}: {output}");
        assert!(!requests.contains("(0 by IPv6)"), "{what}: {output}");
    }
    Ok(())
}

/// The playground's names are fixed, so they run one after the other.
#[test]
fn the_playground_serves_in_every_combination_of_modes() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    for forward in Forward::ALL {
        serves(forward, XdpMode::Native, &["--udp", "--ipv6"])?;
        serves(forward, XdpMode::Generic, &["--ipv6", "--udp"])?;
    }
    for more in [&[][..], &["--udp"], &["--ipv6"]] {
        serves(Forward::Dnat, XdpMode::Native, more)?;
    }
    Ok(())
}

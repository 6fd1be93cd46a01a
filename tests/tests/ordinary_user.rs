//! The daemon without root: four capabilities and a BPF file system of its own are enough, and
//! nothing less is.

use anyhow::{Context, Result};
use testbed::{
    config::Config,
    daemon::Daemon,
    ordinary::{CAPABILITIES, Ordinary},
    site::{self, Site},
    sweep,
    topology::Topology,
};

/// A network, and a daemon that `user` would start. `None`: skipped.
fn prepare(user: &Ordinary) -> Result<Option<(Daemon, Topology)>> {
    let network = Topology::builder().backends(2);
    let adapt = |config: &mut Config| user.adapt(config);
    let Some((topology, config)) = Site::prepare(&network, adapt)? else {
        return Ok(None);
    };
    let mut daemon = Daemon::prepare(&topology.lb, config)?;
    daemon.run_as(user)?;
    Ok(Some((daemon, topology)))
}

fn refuses(daemon: &Daemon, topology: &Topology, words: &[&str]) -> Result<String> {
    let ended = daemon.run_to_end(|_| {})?;
    assert_eq!(ended.code(), Some(1), "{}", ended.output);
    let line = ended.only_line()?.to_owned();
    for word in words {
        assert_eq!(line.matches(word).count(), 1, "`{word}` in: {line}");
    }
    assert_eq!(site::programs(topology)?, [None, None]);
    assert!(!daemon.pins().exists() && !daemon.socket().exists());
    Ok(line)
}

fn named(capability: &str) -> String {
    format!("CAP_{}", capability.to_uppercase())
}

#[test]
fn an_ordinary_user_with_four_capabilities_runs_the_daemon() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let user = Ordinary::with(&CAPABILITIES)?;
    let Some((mut daemon, topology)) = prepare(&user)? else {
        return Ok(());
    };
    daemon.restart()?;
    daemon.wait_until_all_up()?;
    let mut site = Site { daemon, topology };
    site.get_many(20)?;

    // Attaching another program is part of tracing, reading and writing maps of reloading.
    let load = site.load();
    let traced = site.daemon.cli().run(&["trace", "--limit", "3"])?;
    assert!(traced.status.success(), "{traced:?}");
    assert_eq!(String::from_utf8(traced.stdout)?.lines().count(), 3);
    site.daemon
        .set_config(|config| config.web().backends[0].weight = 2)?;
    assert!(site.daemon.reload()?.status.success());

    // Adopting needs no more than making.
    site.daemon.kill9();
    site.daemon.restart()?;
    let report = load.finish()?;
    assert!(
        report.failures.is_empty() && report.answered() > 0,
        "{report}"
    );
    site.get_many(20)?;

    let status = site.daemon.terminate()?;
    assert!(status.success(), "{status}: {}", site.daemon.log_tail());
    assert_eq!(site.programs()?, [None, None]);
    assert!(!site.daemon.pins().exists() && !site.daemon.socket().exists());
    let log = site.daemon.log_tail();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    Ok(())
}

#[test]
fn every_missing_capability_is_named() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    for missing in [
        &["net_admin"][..],
        &["net_raw"],
        &["perfmon"],
        &["bpf"],
        &["net_raw", "perfmon"],
        &CAPABILITIES,
    ] {
        let granted: Vec<_> = CAPABILITIES
            .into_iter()
            .filter(|name| !missing.contains(name))
            .collect();
        let user = Ordinary::with(&granted)?;
        let Some((daemon, topology)) = prepare(&user)? else {
            return Ok(());
        };
        let line = refuses(&daemon, &topology, &["no privilege"])?;
        for name in CAPABILITIES {
            let is_named = line.contains(&named(name));
            assert_eq!(is_named, missing.contains(&name), "{name}: {line}");
        }
    }
    Ok(())
}

#[test]
fn a_bpf_file_system_of_somebody_else_is_refused() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let user = Ordinary::with(&CAPABILITIES)?;
    user.take_away(&user.bpffs())?;
    let Some((daemon, topology)) = prepare(&user)? else {
        return Ok(());
    };
    let place = user.bpffs().join("sluice");
    let words = [&*place.to_string_lossy(), "Permission denied"];
    refuses(&daemon, &topology, &words).map(drop)
}

#[test]
fn a_socket_folder_of_somebody_else_is_refused() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let user = Ordinary::with(&CAPABILITIES)?;
    user.take_away(&user.run())?;
    let Some((daemon, topology)) = prepare(&user)? else {
        return Ok(());
    };
    let socket = daemon.socket().to_string_lossy().into_owned();
    refuses(&daemon, &topology, &[&socket, "Permission denied"])
        .map(drop)
        .context("the admin socket")
}

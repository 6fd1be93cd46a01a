//! `sluice run --interface` without a configuration: every packet passes and is counted, and what is
//! printed is a configuration to begin with.

use std::{
    fs::{self, File},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use nix::sys::signal::Signal;
use testbed::{
    cli::{Cli, stderr},
    daemon::START,
    icmp::ping,
    poll,
    process::Process,
    programs, site, sweep,
    topology::{LB_FRONT, Topology},
};

/// What a test that fails leaves to be removed.
struct Instance(String);

impl Drop for Instance {
    fn drop(&mut self) {
        sweep::remove_instance(&self.0);
    }
}

#[test]
fn an_interface_alone_passes_counts_and_prints_a_configuration() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let topology = Topology::builder().backends(1).build()?;
    let instance = Instance(sweep::unique_name());
    let folder = tempfile::tempdir()?;
    let (out, log) = (
        folder.path().join("starter.toml"),
        folder.path().join("log"),
    );
    let cli = Cli::inside(&instance.0, &topology.lb);
    let mut command = cli.command(&["run", "--interface", "front"])?;
    command
        .stdout(File::create(&out)?)
        .stderr(File::create(&log)?);
    let mut daemon = Process::spawn(command)?;
    poll::until_true("a configuration on the standard output", START, || {
        fs::read_to_string(&out).is_ok_and(|text| text.contains("web-2"))
    })?;

    // It is printed once the daemon is ready.
    let before = cli.status()?;
    assert_eq!(before.instance, instance.0);
    assert!(before.services.is_empty());
    let [front, back] = site::programs(&topology)?
        .try_into()
        .expect("two interfaces");
    assert!(front.is_some() && back.is_none(), "{front:?} {back:?}");
    ping(&topology.client, LB_FRONT, Duration::from_secs(2))?;
    let after = cli.status()?;
    assert!(after.verdict("pass") > before.verdict("pass"), "{after:#?}");
    assert_eq!(after.packets_seen(), after.verdict("pass"), "{after:#?}");

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait(START)?.success());
    assert_eq!(site::programs(&topology)?, [None, None]);

    // Nothing else is on the standard output: as it is, it is a file for the next run.
    let text = fs::read_to_string(&out)?;
    assert!(text.contains("name = \"front\""), "{text}");
    let checked = Command::new(programs::sluice()?)
        .arg("check")
        .arg(&out)
        .output()?;
    assert!(checked.status.success(), "{}\n{text}", stderr(&checked));
    assert_eq!(stderr(&checked), "", "a warning");
    Ok(())
}

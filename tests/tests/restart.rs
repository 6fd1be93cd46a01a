//! The daemon goes and comes back, or another takes its place, in the middle of a drain: held connections
//! notice nothing, and what was begun is brought to its end.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{Array, Map, MapData},
    programs::ProgramInfo,
};
use lb_common::abi::{ABI_VERSION, AbiStamp};
use testbed::{
    config::OnStop,
    daemon::Daemon,
    held::{Held, SERVICE, service_of, wait_for_rest},
    programs,
    site::Site,
    status::{Backend, Status},
    stream::client::{Hold, Streams},
};

const CONNECTIONS: u32 = 150;
const DRAINED: &str = "streams/b2";

fn b2(status: &Status) -> &Backend {
    let mut backends = status.service(SERVICE).backends.iter();
    let found = backends.find(|one| one.name == "b2");
    found.expect("it is configured")
}

/// The kernel's digest of the program that is attached.
fn tag(daemon: &Daemon) -> Result<u64> {
    Ok(ProgramInfo::from_pin(daemon.pins().join("progs/xdp"))?.tag())
}

fn drops(status: &Status) -> BTreeMap<String, u64> {
    status.drops.clone()
}

/// Drains `b2`, and has the daemon replaced while windows are open.
fn replaced_in_the_middle_of_a_drain(replace: impl FnOnce(&mut Held) -> Result<()>) -> Result<()> {
    let keep = |config: &mut testbed::config::Config| config.daemon.on_stop = OnStop::Keep;
    let Some(mut held) = Held::build(CONNECTIONS, keep)? else {
        return Ok(());
    };
    held.tell(&["weight", "streams/b3", "2"])?;
    held.tell(&["drain", DRAINED])?;
    let before = held.site.daemon.status()?;
    assert!(
        before.service(SERVICE).slots.transition > 200,
        "{before:#?}"
    );

    replace(&mut held)?;
    let after = held.site.daemon.status()?;
    assert_ne!(after.pid, before.pid);
    let slots = after.service(SERVICE).slots;
    assert!(slots.transition > 200, "the window goes on: {slots:?}");
    assert_eq!(b2(&after).admin, "draining");
    assert_eq!(b2(&after).slots, 0);
    let b3 = &after.service(SERVICE).backends[2];
    assert_eq!(b3.effective_weight, 2, "{b3:?}");
    held.all_speak("the next daemon took over")?;

    held.wait_for_window()?;
    held.all_speak("the window ended")?;
    let status = held
        .site
        .daemon
        .wait_until("a pass", Duration::from_secs(20), |status| {
            b2(status).flows > Some(0)
        })?;
    assert_eq!(b2(&status).drained, Some(false), "{:?}", b2(&status));
    assert_eq!(drops(&status), drops(&before), "a packet was lost");
    assert_eq!(status.alarms, Vec::<String>::new());
    let refused = status.service(SERVICE).flows.context("tracked")?.refused;
    assert_eq!(refused, 0);
    // New ones go elsewhere.
    let more = Streams::open(
        held.site.client(),
        Hold::new(testbed::held::vip(), 30),
        Duration::from_secs(10),
    )?;
    for ended in more.finish()? {
        ensure!(ended.backend.as_deref() != Some("b2"), "{ended}");
    }

    let (site, _servers) = held.hang_up()?;
    wait(&site)?;
    let status = site.daemon.status()?;
    assert_eq!(b2(&status).drained, Some(true), "{:?}", b2(&status));
    wait_for_rest(&site)
}

/// `drain --wait` to its end.
fn wait(site: &Site) -> Result<()> {
    let line = ["drain", DRAINED, "--wait", "--timeout", "90s"];
    let output = site.daemon.cli().run(&line)?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    Ok(())
}

#[test]
fn a_killed_daemon_is_replaced_in_the_middle_of_a_drain() -> Result<()> {
    replaced_in_the_middle_of_a_drain(|held| {
        held.site.daemon.kill9();
        held.all_speak("there is no daemon")?;
        held.site.daemon.restart()
    })
}

#[test]
fn a_daemon_that_keeps_packets_flowing_is_replaced_in_the_middle_of_a_drain() -> Result<()> {
    replaced_in_the_middle_of_a_drain(|held| {
        let status = held.site.daemon.terminate()?;
        assert_eq!(status.code(), Some(0));
        held.all_speak("there is no daemon")?;
        held.site.daemon.restart()
    })
}

#[test]
fn an_upgrade_to_another_program_takes_over_in_the_middle_of_a_drain() -> Result<()> {
    replaced_in_the_middle_of_a_drain(|held| {
        let folder = tempfile::tempdir()?;
        let binary = folder.path().join("sluice");
        with_another_program(&programs::sluice()?, &binary)?;
        let old = tag(&held.site.daemon)?;
        held.site.daemon.terminate()?;
        held.all_speak("there is no daemon")?;
        held.site.daemon.upgrade_to(&binary);
        held.site.daemon.restart()?;
        assert_ne!(tag(&held.site.daemon)?, old, "the same program again");
        Ok(())
    })
}

#[test]
fn maps_of_another_version_are_refused_and_packets_flow_on() -> Result<()> {
    let keep = |config: &mut testbed::config::Config| config.daemon.on_stop = OnStop::Keep;
    let Some(mut held) = Held::build(CONNECTIONS, keep)? else {
        return Ok(());
    };
    held.tell(&["drain", DRAINED])?;
    let (pins, attached) = (held.site.daemon.pins(), held.site.programs()?);
    held.site.daemon.kill9();
    let stamp = |version| -> Result<()> {
        let data = MapData::from_pin(pins.join("abi"))?;
        let mut map: Array<_, AbiStamp> = Map::Array(data).try_into()?;
        let reserved = 0;
        map.set(0, AbiStamp { version, reserved }, 0)?;
        Ok(())
    };
    stamp(ABI_VERSION + 1)?;
    let refused = held.site.daemon.run_to_end(|_| {})?;
    assert_eq!(refused.code(), Some(1), "{}", refused.output);
    let line = refused.only_line()?;
    for words in [
        format!("ABI version {}", ABI_VERSION + 1),
        format!("this is version {ABI_VERSION}"),
        "detach".to_owned(),
    ] {
        assert!(line.contains(&words), "{line}");
    }
    assert_eq!(held.site.programs()?, attached, "the old program serves on");
    // Their own version's daemon takes them over; nothing was lost meanwhile.
    stamp(ABI_VERSION)?;
    held.site.daemon.restart()?;
    held.all_speak("a daemon was refused")?;
    assert_eq!(b2(&held.site.daemon.status()?).admin, "draining");
    held.wait_for_window()?;
    held.all_speak("the window ended")?;
    held.hang_up()?;
    Ok(())
}

#[test]
fn a_service_that_was_always_tracked_is_tracked_in_transition_by_the_next_daemon() -> Result<()> {
    let always = |config: &mut testbed::config::Config| {
        config.daemon.on_stop = OnStop::Keep;
        service_of(config).connections.tracking = Some("always");
    };
    let Some(mut held) = Held::build(CONNECTIONS, always)? else {
        return Ok(());
    };
    // Where its connections are is known to the table of flows alone.
    held.tell(&["drain", DRAINED])?;
    held.all_speak("a drain began")?;
    held.wait_for_window()?;
    held.site.daemon.kill9();
    held.site.daemon.set_config(|config| {
        service_of(config).connections.tracking = Some("transition");
    })?;
    held.site.daemon.restart()?;
    held.all_speak("the next daemon tracks in transition")?;
    // And once more, while flows are left in the table that is no longer used.
    held.site.daemon.kill9();
    held.site.daemon.restart()?;
    held.all_speak("the daemon after that")?;
    held.wait_for_window()?;
    held.all_speak("the window ended")?;
    let (site, _servers) = held.hang_up()?;
    wait_for_rest(&site)
}

#[test]
fn a_daemon_killed_while_tables_change_their_size_is_replaced_by_one_with_another_size()
-> Result<()> {
    let keep = |config: &mut testbed::config::Config| config.daemon.on_stop = OnStop::Keep;
    let Some(mut held) = Held::build(CONNECTIONS, keep)? else {
        return Ok(());
    };
    held.tell(&["drain", DRAINED])?;
    held.reload(|service| service.table_size = 2039)?;
    held.site.daemon.kill9();
    held.site.daemon.set_config(|config| {
        let service = service_of(config);
        service.table_size = 509;
        service.backends[0].weight = 3;
    })?;
    held.all_speak("there is no daemon")?;
    held.site.daemon.restart()?;
    held.all_speak("the next daemon, with another size")?;
    held.tell(&["undrain", DRAINED])?;
    held.all_speak("the drain was taken back")?;
    let resized = |status: &Status| {
        let service = status.service(SERVICE);
        service.table_size == 509 && service.slots.transition == 0
    };
    let daemon = &held.site.daemon;
    daemon.wait_until("the resize to end", Duration::from_secs(60), resized)?;
    held.all_speak("the resize ended")?;
    assert_eq!(held.site.daemon.status()?.drops.values().sum::<u64>(), 0);
    let (site, _servers) = held.hang_up()?;
    wait_for_rest(&site)
}

#[test]
fn a_daemon_that_is_killed_right_after_each_change_loses_nothing() -> Result<()> {
    let drains = |config: &mut testbed::config::Config| {
        config.daemon.on_stop = OnStop::Keep;
        service_of(config).connections.drain_timeout = Some(Duration::from_mins(2));
    };
    let Some(mut held) = Held::build(CONNECTIONS, drains)? else {
        return Ok(());
    };
    let mut away = Vec::new();
    for round in 0..6 {
        match round % 3 {
            0 => held.tell(&["drain", DRAINED])?,
            1 => held.reload(|service| match away.pop() {
                Some(backend) => service.backends.push(backend),
                None => away.extend(service.backends.pop()),
            })?,
            _ => held.tell(&["undrain", DRAINED])?,
        }
        held.site.daemon.kill9();
        held.site.daemon.restart()?;
        held.all_speak("a change, a kill, and the next daemon")?;
    }
    held.wait_for_window()?;
    held.all_speak("the window ended")?;
    assert_eq!(held.site.daemon.status()?.drops.values().sum::<u64>(), 0);
    let (site, _servers) = held.hang_up()?;
    wait_for_rest(&site)
}

#[test]
fn a_service_that_was_never_tracked_is_tracked_by_the_next_daemon_and_moves_at_once() -> Result<()>
{
    let never = |config: &mut testbed::config::Config| {
        config.daemon.on_stop = OnStop::Keep;
        for service in &mut config.services {
            service.connections.tracking = Some("never");
        }
    };
    let Some(mut held) = Held::build(400, never)? else {
        return Ok(());
    };
    held.site.daemon.kill9();
    held.site.daemon.set_config(|config| {
        for service in &mut config.services {
            service.connections.tracking = Some("transition");
        }
        service_of(config).backends[0].weight = 0;
    })?;
    held.site.daemon.restart()?;
    assert!(
        held.service()?.slots.transition > 200,
        "{:?}",
        held.service()?
    );
    held.all_speak("the next daemon tracks")?;
    held.hang_up()?;
    Ok(())
}

/// Copies `sluice`, with other instructions in its programs that do the same: `r = n` becomes `w = n`,
/// which clears the upper half, where `n` is not negative. To the kernel it is another program; to a
/// daemon it is what an upgrade brings.
fn with_another_program(from: &Path, to: &Path) -> Result<()> {
    const MOV64_IMMEDIATE: u8 = 0xb7;
    const MOV32_IMMEDIATE: u8 = 0xb4;

    let mut binary = fs::read(from)?;
    let mut changed = 0;
    for (start, length) in bpf_sections(&binary) {
        let code = binary
            .get_mut(start..start + length)
            .context("a section outside of the file")?;
        for instruction in code.chunks_exact_mut(8) {
            if instruction[0] == MOV64_IMMEDIATE && instruction[7] < 0x80 {
                instruction[0] = MOV32_IMMEDIATE;
                changed += 1;
            }
        }
    }
    ensure!(changed > 0, "no such instruction in {}", from.display());
    fs::write(to, binary)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    Ok(())
}

/// Where the code of the BPF objects inside a file is.
fn bpf_sections(file: &[u8]) -> Vec<(usize, usize)> {
    // ELF64, little-endian: e_machine is 247 for BPF, sh_flags has 4 for code.
    const MAGIC: &[u8] = b"\x7fELF\x02\x01\x01";
    const EM_BPF: u64 = 247;
    const SHF_EXECINSTR: u64 = 4;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = file.get(at..at + bytes)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |n, byte| n << 8 | u64::from(*byte)),
        )
    };
    let place = |at: usize, bytes| number(at, bytes).and_then(|n| usize::try_from(n).ok());
    let sections = |object: usize| -> Option<Vec<(usize, usize)>> {
        if number(object + 0x12, 2)? != EM_BPF {
            return None;
        }
        let (table, entry) = (place(object + 0x28, 8)?, place(object + 0x3a, 2)?);
        let headers = (0..place(object + 0x3c, 2)?).map(|n| object + table + n * entry);
        headers
            .filter(|at| number(at + 8, 8).is_some_and(|flags| flags & SHF_EXECINSTR != 0))
            .map(|at| Some((object + place(at + 0x18, 8)?, place(at + 0x20, 8)?)))
            .collect()
    };
    let starts = file.windows(MAGIC.len()).enumerate();
    starts
        .filter(|(_, bytes)| *bytes == MAGIC)
        .filter_map(|(at, _)| sections(at))
        .flatten()
        .collect()
}

//! Changes that follow each other too fast, or undo each other, under held connections.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    config::Config,
    held::{Held, SERVICE, service_of, vip, wait_for_rest},
    status::Status,
    stream::client::{Hold, Streams},
};

const CONNECTIONS: u32 = 120;
const SOON: Duration = Duration::from_secs(20);

/// Nothing was lost, nothing is amiss, and after the connections all comes to rest.
fn finish(mut held: Held) -> Result<()> {
    held.all_speak("all is done")?;
    let status = held.site.daemon.status()?;
    assert_eq!(status.alarms, Vec::<String>::new());
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    let (site, _servers) = held.hang_up()?;
    wait_for_rest(&site)
}

#[test]
fn a_table_that_changes_its_size_again_and_again_keeps_connections() -> Result<()> {
    let Some(mut held) = Held::build(CONNECTIONS, |_| {})? else {
        return Ok(());
    };
    // Into a resize that is under way, and back again, with a drain amidst.
    for (size, drain) in [(2039, "drain"), (509, "undrain"), (1021, "drain")] {
        held.reload(|service| service.table_size = size)?;
        held.all_speak("the table was resized")?;
        held.tell(&[drain, "streams/b1"])?;
        held.all_speak("a drain while the table was resized")?;
    }
    held.wait_for_window()?;
    held.all_speak("the window ended")?;
    held.tell(&["undrain", "streams/b1"])?;
    finish(held)
}

#[test]
fn tracking_that_changes_keeps_connections() -> Result<()> {
    let Some(mut held) = Held::build(CONNECTIONS, |_| {})? else {
        return Ok(());
    };
    for (tracking, admin) in [
        ("always", "drain"),
        ("transition", "undrain"),
        ("always", "drain"),
        ("transition", "undrain"),
    ] {
        held.reload(|service| service.connections.tracking = Some(tracking))?;
        held.all_speak(tracking)?;
        held.tell(&[admin, "streams/b1"])?;
        held.all_speak(admin)?;
    }
    // Leaving tracking for good is announced to break what is not at rest: so rest comes first.
    finish(held)
}

#[test]
fn tracking_that_is_given_up_at_rest_and_taken_up_again_keeps_connections() -> Result<()> {
    let Some(mut held) = Held::build(CONNECTIONS, |_| {})? else {
        return Ok(());
    };
    for tracking in ["never", "transition", "never", "always", "transition"] {
        held.reload(|service| service.connections.tracking = Some(tracking))?;
        held.all_speak(tracking)?;
    }
    finish(held)
}

#[test]
fn a_full_table_costs_time_and_no_connection() -> Result<()> {
    let few = |config: &mut Config| config.limits.flows_ipv4 = Some(64);
    let Some(mut held) = Held::build(500, few)? else {
        return Ok(());
    };
    for admin in ["drain", "undrain", "drain", "undrain"] {
        held.tell(&[admin, "streams/b1"])?;
        held.all_speak(admin)?;
    }
    let flows = held.service()?.flows.context("tracked")?;
    assert!(flows.refused > 0, "{flows:?}");
    held.tell(&["drain", "streams/b2"])?;
    held.all_speak("a drain that has no room")?;
    held.all_speak("a drain that has no room")?;
    held.tell(&["undrain", "streams/b2"])?;
    finish(held)
}

#[test]
fn thirty_reloads_in_a_row_keep_connections() -> Result<()> {
    let Some(mut held) = Held::build(CONNECTIONS, |_| {})? else {
        return Ok(());
    };
    let memory = held.site.daemon.pid().map(resident).context("it runs")??;
    for round in 0..30_u16 {
        held.reload(|service| service.backends[usize::from(round % 3)].weight = round % 4)?;
    }
    held.all_speak("thirty reloads")?;
    held.reload(|service| service.backends.iter_mut().for_each(|one| one.weight = 1))?;
    let now = held.site.daemon.pid().map(resident).context("it runs")??;
    assert!(now < memory + 16_384, "{memory} kB before, {now} after");
    finish(held)
}

#[test]
fn with_everybody_drained_connections_go_on_and_new_ones_begin_again_after() -> Result<()> {
    let Some(mut held) = Held::build(CONNECTIONS, |_| {})? else {
        return Ok(());
    };
    for backend in ["streams/b1", "streams/b2", "streams/b3"] {
        held.tell(&["drain", backend])?;
    }
    held.all_speak("everybody is drained")?;
    held.wait_for_window()?;
    held.all_speak("everybody is drained, and the window ended")?;
    let refused = Streams::open(
        held.site.client(),
        Hold::new(vip(), 1),
        Duration::from_secs(2),
    );
    assert!(refused.is_err(), "somebody took a new connection");
    for backend in ["streams/b3", "streams/b1", "streams/b2"] {
        held.tell(&["undrain", backend])?;
    }
    held.all_speak("nobody is drained")?;
    let more = Streams::open(held.site.client(), Hold::new(vip(), 30), SOON)?;
    drop(more);
    held.all_speak("more came")?;
    let (site, _servers) = held.hang_up()?;
    wait_for_rest(&site)
}

#[test]
fn a_backend_that_leaves_and_is_back_before_its_drain_ended_keeps_its_connections() -> Result<()> {
    let drains = |config: &mut Config| {
        service_of(config).connections.drain_timeout = Some(Duration::from_mins(2));
    };
    let Some(mut held) = Held::build(CONNECTIONS, drains)? else {
        return Ok(());
    };
    let mut taken = Vec::new();
    held.reload(|service| taken.push(service.backends.remove(0)))?;
    held.all_speak("a backend left")?;
    held.reload(|service| service.backends.append(&mut taken))?;
    held.all_speak("it is back")?;
    // The last ones, too.
    held.reload(|service| taken.append(&mut service.backends))?;
    held.all_speak("all left")?;
    held.reload(|service| service.backends.append(&mut taken))?;
    held.all_speak("all are back")?;
    held.site
        .daemon
        .wait_until("all up", SOON, Status::all_up)?;
    finish(held)
}

#[test]
fn a_backend_that_left_is_listed_until_its_drain_ends_and_its_place_is_used_again() -> Result<()> {
    let drains = |config: &mut Config| {
        let service = service_of(config);
        service.connections.drain_timeout = Some(Duration::from_mins(2));
        service.backends.truncate(2);
    };
    let Some(mut held) = Held::build(CONNECTIONS, drains)? else {
        return Ok(());
    };
    let third = format!(
        "{}:{}",
        held.site.topology.backends[2].address.ip(),
        vip().port()
    );
    held.reload(|service| {
        service.backends.remove(0);
    })?;
    held.all_speak("a backend left")?;
    let listed = |status: &Status, name: &str| {
        let mut backends = status.service(SERVICE).backends.iter();
        backends.any(|one| one.address.starts_with(name))
    };
    let first = held.servers[0].address().to_string();
    assert!(
        listed(&held.site.daemon.status()?, &first),
        "{:?}",
        held.service()?
    );
    let (site, _servers) = held.hang_up()?;
    let daemon = &site.daemon;
    daemon.wait_until("the drain to end", Duration::from_secs(90), |status| {
        !listed(status, &first)
    })?;
    wait_for_rest(&site)?;
    let mut site = site;
    site.daemon.set_config(|config| {
        let service = service_of(config);
        service
            .backends
            .push(testbed::config::Backend::new("third", third));
    })?;
    ensure!(site.daemon.reload()?.status.success());
    site.daemon.wait_until("all up", SOON, Status::all_up)?;
    let streams = Streams::open(site.client(), Hold::new(vip(), CONNECTIONS), SOON)?;
    let ended = streams.finish()?;
    let with = |name: &str| {
        ended
            .iter()
            .filter(|one| one.backend.as_deref() == Some(name))
            .count()
    };
    assert!(with("b3") > 0, "the new one has its place");
    assert_eq!(with("b1"), 0);
    wait_for_rest(&site)
}

#[test]
fn a_renamed_service_loses_no_packet() -> Result<()> {
    let Some(mut held) = Held::build(CONNECTIONS, |_| {})? else {
        return Ok(());
    };
    for name in ["renamed", SERVICE, "again", SERVICE] {
        held.reload(|service| service.name = name.to_owned())?;
        held.all_speak(name)?;
    }
    finish(held)
}

#[test]
fn a_check_that_is_added_takes_no_backend_out_before_it_failed() -> Result<()> {
    let Some(mut held) = Held::build(CONNECTIONS, |_| {})? else {
        return Ok(());
    };
    let mut checks = Vec::new();
    held.reload(|service| checks.append(&mut service.health))?;
    held.all_speak("without checks")?;
    held.reload(|service| service.health.append(&mut checks))?;
    held.all_speak("with checks again")?;
    finish(held)
}

#[test]
fn false_alarms_again_and_again_break_nothing_where_flows_outlive_them() -> Result<()> {
    let keep = |config: &mut Config| service_of(config).connections.on_death = Some("keep");
    let Some(mut held) = Held::build(CONNECTIONS, keep)? else {
        return Ok(());
    };
    for healthy in [false, true, false, true, false, true] {
        held.servers[0].set_healthy(healthy);
        let daemon = &held.site.daemon;
        daemon.wait_until("the check to notice", SOON, |status| {
            let b1 = &status.service(SERVICE).backends[0];
            (b1.health == "up") == healthy && (b1.slots > 0) == healthy
        })?;
        held.all_speak("an alarm, or its end")?;
    }
    finish(held)
}

#[test]
fn a_daemon_whose_slots_are_at_rest_does_nearly_nothing() -> Result<()> {
    let Some(held) = Held::build(10, |_| {})? else {
        return Ok(());
    };
    let (site, _servers) = held.hang_up()?;
    wait_for_rest(&site)?;
    let pid = site.daemon.pid().context("it runs")?;
    let before = ticks(pid)?;
    std::thread::sleep(Duration::from_secs(5));
    let used = ticks(pid)? - before;
    // A tick is 10 ms: health checks of six backends every 200 ms are most of it.
    assert!(used < 100, "{used} ticks in 5 s");
    eprintln!("{used} ticks in 5 s at rest");
    Ok(())
}

/// Memory of a process, kB.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}

/// CPU time of a process.
fn ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no command")?;
    // utime and stime are fields 14 and 15, the state behind the command is 3.
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|field| Ok(field.parse::<u64>()?)).sum()
}

#[test]
fn a_backend_whose_health_flaps_takes_no_connection_from_the_others() -> Result<()> {
    let Some(mut held) = Held::build(CONNECTIONS, |_| {})? else {
        return Ok(());
    };
    // Quicker than the window, so that slots go to and fro within it.
    for healthy in [false, true, false, true, false, true, false, true] {
        held.servers[0].set_healthy(healthy);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let others: Vec<_> = held
            .ended()
            .iter()
            .filter(|one| one.backend.as_deref() != Some("b1"))
            .map(ToString::to_string)
            .collect();
        assert!(others.is_empty(), "{others:#?}");
    }
    let (site, _servers) = held.part()?;
    let status = site.daemon.status()?;
    assert_eq!(status.alarms, Vec::<String>::new());
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    wait_for_rest(&site)
}

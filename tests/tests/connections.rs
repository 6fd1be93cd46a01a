//! Connections survive changes of the backends that they are not with, and the slots come to rest.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use lb_common::{
    endian::{Be16, Be32},
    hash::FlowHash,
    tuple::FlowTuple,
};
use lb_userspace::plan::{Endpoint, Seed, maglev};
use testbed::{
    cli::stderr,
    config::{Backend, Config, Connections, OnStop, Service},
    daemon::Daemon,
    echo::EchoServer,
    site::Site,
    status::{self, Slots},
    talkers::Talkers,
    topology::{CLIENT, Topology, VIP},
};

const PORT: u16 = 7;
const PROTOCOL_TCP: u8 = 6;
const TABLE_SIZE: u64 = 1021;
const TALKERS: u64 = 60;
const PACE: Duration = Duration::from_millis(300);
/// A window of 3 s, the 30 s that a closed connection is remembered, two passes, and a machine that is
/// busy.
const AT_REST: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(15);

/// The site with a service of echo servers, and connections to it.
struct Bed {
    talkers: Talkers,
    site: Site,
    servers: Vec<EchoServer>,
}

impl Bed {
    /// `None`: skipped. The service begins with `backends` of three.
    fn build(backends: usize, change: impl FnOnce(&mut Config)) -> Result<Option<Self>> {
        let change = |config: &mut Config| {
            config.daemon.on_stop = OnStop::Keep;
            let web = config.web().clone();
            let addresses = web.backends.iter().take(backends).map(echo);
            config.services.push(Service {
                name: "echo".to_owned(),
                listen: vec![format!("tcp://{}:{PORT}", VIP.ip())],
                table_size: 1021,
                connections: Connections {
                    transition_window: Some(Duration::from_secs(3)),
                    flow_idle: Some(Duration::from_secs(10)),
                    ..Connections::default()
                },
                health: Vec::new(),
                backends: addresses.collect(),
                ..web
            });
            change(config);
        };
        let Some((topology, config)) = Site::prepare(&Topology::builder(), change)? else {
            return Ok(None);
        };
        let daemon = Daemon::start(&topology.lb, config)?;
        // Nobody checks the echo servers: a check would be a connection.
        daemon.wait_until("all backends to have slots", SOON, |status| {
            let mut backends = status.services.iter().flat_map(|one| &one.backends);
            backends.all(|one| one.slots > 0)
        })?;
        let site = Site { daemon, topology };
        let hosts = site.topology.backends.iter();
        let servers = hosts
            .map(|one| EchoServer::start(&one.host, SocketAddr::new(one.address.ip(), PORT)))
            .collect::<Result<_>>()?;
        let talkers = Talkers::start(site.client(), vip(), TALKERS, PACE)?;
        Ok(Some(Self {
            talkers,
            site,
            servers,
        }))
    }

    fn service(&self) -> Result<status::Service> {
        Ok(self.site.daemon.status()?.service("echo").clone())
    }

    fn reload(&mut self, change: impl FnOnce(&mut Service)) -> Result<()> {
        self.site.daemon.set_config(|config| {
            let echo = config.services.iter_mut().find(|one| one.name == "echo");
            change(echo.expect("it was configured"));
        })?;
        let output = self.site.daemon.reload()?;
        assert!(output.status.success(), "{}", stderr(&output));
        Ok(())
    }

    /// Every flow belongs to the backend that the published algorithm names under this seed.
    #[track_caller]
    fn assert_spread_by(&self, seed: &str) -> Result<()> {
        let seed = Seed::derive(Some(seed));
        let backends = self.site.topology.backends.iter();
        let names: BTreeMap<Endpoint, &str> = backends
            .map(|backend| {
                let (address, port) = (backend.address.ip(), Some(PORT));
                (Endpoint { address, port }, backend.name.as_str())
            })
            .collect();
        let weights = names.keys().map(|endpoint| (*endpoint, 1)).collect();
        let size = u32::try_from(TABLE_SIZE)?;
        let table = maglev::table(&weights, size, seed.table);
        let vip = vip().to_string();
        for port in 20_000..20_020 {
            let hash = FlowHash::ipv4(
                seed.flow,
                FlowTuple {
                    source: Be32::from(CLIENT),
                    destination: Be32::from(*VIP.ip()),
                    source_port: Be16::new(port),
                    destination_port: Be16::new(PORT),
                    protocol: PROTOCOL_TCP,
                },
            );
            let position = table[hash.slot(size) as usize] as usize;
            let wanted = names.values().nth(position).context("no such backend")?;
            let source = format!("{CLIENT}:{port}");
            let line = ["--output", "json", "explain", "tcp", &source, &vip];
            let output = self.site.daemon.cli().run(&line)?;
            let explained: serde_json::Value = serde_json::from_slice(&output.stdout)?;
            assert_eq!(explained["agrees"], true, "{explained}");
            // What a copy of the program did with a SYN.
            assert_eq!(explained["packets"][0]["program"], **wanted, "{explained}");
        }
        Ok(())
    }

    #[track_caller]
    fn tell(&self, arguments: &[&str]) -> Result<()> {
        let output = self.site.daemon.cli().run(arguments)?;
        assert!(output.status.success(), "{}", stderr(&output));
        Ok(())
    }

    /// Everybody talks on, and nobody was lost.
    #[track_caller]
    fn assert_whole(&self, what: &str) -> Result<()> {
        self.talkers.wait_for(3 * TALKERS, SOON)?;
        let broken = self.talkers.broken();
        assert!(broken.is_empty(), "{what}: {broken:?}");
        Ok(())
    }

    /// Closes the connections; the site stays.
    fn hang_up(self) -> Result<Site> {
        let Self {
            talkers,
            site,
            servers: _gone,
        } = self;
        talkers.end()?;
        Ok(site)
    }
}

/// Slots went through the window and came to rest, and nothing is remembered any more.
fn wait_for_rest(site: &Site) -> Result<()> {
    let stable = Slots {
        stable: TABLE_SIZE,
        ..Slots::default()
    };
    site.daemon.wait_until("slots at rest", AT_REST, |status| {
        let service = status.service("echo");
        let entries = service.flows.and_then(|flows| flows.entries);
        service.slots == stable && entries == Some(0)
    })?;
    Ok(())
}

fn vip() -> SocketAddr {
    SocketAddr::new((*VIP.ip()).into(), PORT)
}

fn echo(backend: &Backend) -> Backend {
    let address: SocketAddr = backend.address.parse().expect("dnat backends have ports");
    Backend::new(&backend.name, SocketAddr::new(address.ip(), PORT))
}

#[test]
fn an_added_backend_takes_no_connection_from_the_others() -> Result<()> {
    let Some(mut bed) = Bed::build(2, |_| {})? else {
        return Ok(());
    };
    let third = bed.site.daemon.config().clone().web().backends[2].clone();
    bed.reload(|service| service.backends.push(echo(&third)))?;
    let moving = bed.service()?.slots;
    assert!(moving.transition > 200, "{moving:?}");
    bed.assert_whole("a backend was added")?;
    assert!(bed.service()?.flows.context("it is tracked")?.inserts > 0);
    // Connections that began before and live with the old backend keep their entries as long as they
    // speak; those who are new go to the new one.
    let tracked = |status: &status::Status| {
        let slots = status.service("echo").slots;
        slots.transition == 0 && slots.tracked > 0 && slots.stable > 700
    };
    let daemon = &bed.site.daemon;
    daemon.wait_until("the window to end", AT_REST, tracked)?;
    bed.assert_whole("the window ended")?;

    bed.reload(|service| service.backends[2].weight = 3)?;
    bed.assert_whole("a weight was changed")?;
    assert_eq!(bed.service()?.flows.context("it is tracked")?.refused, 0);
    wait_for_rest(&bed.hang_up()?)
}

#[test]
fn a_removed_backend_finishes_its_connections() -> Result<()> {
    let drains = |config: &mut Config| {
        let service = config.services.last_mut().expect("it was added");
        service.connections.drain_timeout = Some(Duration::from_mins(1));
    };
    let Some(mut bed) = Bed::build(3, drains)? else {
        return Ok(());
    };
    bed.reload(|service| {
        service.backends.remove(0);
    })?;
    bed.assert_whole("a backend was removed")?;
    let before = bed.servers[0].connections();
    assert!(before > 0, "nobody was with the removed backend");
    // New ones go elsewhere.
    let more = Talkers::start(bed.site.client(), vip(), 30, PACE)?;
    more.end()?;
    assert_eq!(bed.servers[0].connections(), before);
    let tracked = |status: &status::Status| status.service("echo").slots.transition == 0;
    let daemon = &bed.site.daemon;
    daemon.wait_until("the window to end", AT_REST, tracked)?;
    bed.assert_whole("the window ended")?;
    bed.talkers.end()
}

#[test]
fn connections_that_are_silent_during_a_false_alarm_go_on() -> Result<()> {
    let Some(bed) = Bed::build(3, |_| {})? else {
        return Ok(());
    };
    bed.talkers.pause()?;
    // As if dead, and alive again.
    bed.tell(&["disable", "echo/b1"])?;
    assert!(bed.service()?.slots.transition > 200);
    bed.tell(&["enable", "echo/b1"])?;
    let slots = bed.service()?.slots;
    assert_eq!(slots.transition, 0, "{slots:?}");
    bed.talkers.go_on();
    bed.assert_whole("a false alarm")?;
    wait_for_rest(&bed.site)?;
    bed.assert_whole("slots came to rest")?;
    bed.talkers.end()
}

#[test]
fn a_daemon_killed_in_the_middle_of_a_drain_is_replaced_unnoticed() -> Result<()> {
    let Some(mut bed) = Bed::build(3, |_| {})? else {
        return Ok(());
    };
    bed.tell(&["drain", "echo/b2"])?;
    bed.site.daemon.kill9();
    bed.assert_whole("no daemon")?;
    bed.site.daemon.restart()?;
    let slots = bed.service()?.slots;
    assert!(slots.transition > 200, "the window goes on: {slots:?}");
    bed.assert_whole("the next daemon")?;
    let tracked = |status: &status::Status| {
        let service = status.service("echo");
        let b2 = service.backends.iter().find(|one| one.name == "b2");
        service.slots.transition == 0 && b2.is_some_and(|b2| b2.flows > Some(0))
    };
    let daemon = &bed.site.daemon;
    daemon.wait_until("the window to end", AT_REST, tracked)?;
    bed.assert_whole("the window ended")?;
    let site = bed.hang_up()?;
    let drained = |status: &status::Status| {
        let service = status.service("echo");
        let b2 = service.backends.iter().find(|one| one.name == "b2");
        b2.is_some_and(|b2| b2.drained == Some(true))
    };
    let deadline = Duration::from_secs(60);
    site.daemon
        .wait_until("b2 to be drained", deadline, drained)?;
    Ok(())
}

#[test]
fn a_new_seed_moves_no_connection() -> Result<()> {
    let Some(mut bed) = Bed::build(3, |_| {})? else {
        return Ok(());
    };
    let begun = bed.site.daemon.config().daemon.seed.clone();
    bed.assert_spread_by(&begun)?;
    let resized = |status: &status::Status| {
        let slots = status.service("echo").slots;
        slots.tracked + slots.stable == TABLE_SIZE && slots.stable > 700
    };

    let reseed = |bed: &mut Bed, seed: &str| {
        (bed.site.daemon).set_config(|config| seed.clone_into(&mut config.daemon.seed))
    };
    reseed(&mut bed, "a second seed")?;
    let output = bed.site.daemon.reload()?;
    assert!(output.status.success(), "{}", stderr(&output));
    let slots = bed.service()?.slots;
    assert_eq!(slots.tracked, TABLE_SIZE, "{slots:?}");
    bed.assert_whole("a reload with a new seed")?;
    bed.assert_spread_by("a second seed")?;
    let daemon = &bed.site.daemon;
    daemon.wait_until("the window to end", AT_REST, resized)?;
    bed.assert_whole("the window after the reload ended")?;

    bed.site.daemon.kill9();
    reseed(&mut bed, "a third seed")?;
    bed.assert_whole("no daemon")?;
    bed.site.daemon.restart()?;
    let slots = bed.service()?.slots;
    assert_eq!(slots.tracked, TABLE_SIZE, "{slots:?}");
    bed.assert_whole("a daemon with a new seed")?;
    let daemon = &bed.site.daemon;
    daemon.wait_until("the window to end", AT_REST, resized)?;
    bed.assert_whole("the window after the start ended")?;
    bed.assert_spread_by("a third seed")?;
    assert_eq!(bed.service()?.flows.context("it is tracked")?.refused, 0);
    wait_for_rest(&bed.hang_up()?)
}

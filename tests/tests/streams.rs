//! Connections that are held and checked message by message, so that whatever breaks one is seen.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use testbed::{
    config::{Backend, Config, Health},
    daemon::Daemon,
    site::Site,
    stream::{
        client::{Hold, Streams},
        server::StreamServer,
        tally::Tally,
    },
    topology::{Topology, VIP},
};

const CONNECTIONS: u32 = 200;
const PORT: u16 = 7000;
const SOON: Duration = Duration::from_secs(10);

/// A site whose backends serve streams instead of HTTP.
struct Held {
    servers: Vec<StreamServer>,
    daemon: Daemon,
    topology: Topology,
}

impl Held {
    fn start() -> Result<Option<Self>> {
        let prepared = Site::prepare(&Topology::builder(), |config| {
            let service = config.web();
            service.health = vec![Health::quick_http("/", &[200])];
        })?;
        let Some((topology, mut config)) = prepared else {
            return Ok(None);
        };
        let mut servers = Vec::new();
        config.web().backends.clear();
        for backend in &topology.backends {
            let address = SocketAddr::new(backend.address.ip(), PORT);
            servers.push(StreamServer::start(&backend.host, &backend.name, address)?);
            let backend = Backend::new(&backend.name, address);
            config.web().backends.push(backend);
        }
        let daemon = Daemon::start(&topology.lb, config)?;
        daemon.wait_until_all_up()?;
        Ok(Some(Self {
            servers,
            daemon,
            topology,
        }))
    }

    fn open(&self) -> Result<Streams> {
        let hold = Hold::new(VIP.into(), CONNECTIONS);
        Streams::open(&self.topology.client, hold, SOON).with_context(|| self.daemon.log_tail())
    }

    fn change(&mut self, change: impl FnOnce(&mut Config)) -> Result<()> {
        self.daemon.set_config(change)?;
        let output = self.daemon.reload()?;
        anyhow::ensure!(output.status.success(), "{output:?}");
        Ok(())
    }

    fn tally(&self, streams: Streams) -> Result<Tally> {
        let deaths: Vec<_> = self
            .servers
            .iter()
            .flat_map(|one| one.deaths())
            .cloned()
            .collect();
        Ok(Tally::of(streams.finish()?, &deaths))
    }
}

/// Long enough that every connection speaks.
fn let_all_speak() {
    std::thread::sleep(Duration::from_secs(2));
}

#[test]
fn connections_go_on_while_nothing_changes() -> Result<()> {
    let Some(held) = Held::start()? else {
        return Ok(());
    };
    let streams = held.open()?;
    let_all_speak();
    let tally = held.tally(streams)?;
    assert_eq!(tally.alive, u64::from(CONNECTIONS), "{tally}");
    assert_eq!(tally.backends.len(), 3, "{tally}");
    assert!(tally.messages >= 3 * u64::from(CONNECTIONS), "{tally}");
    Ok(())
}

/// What the measurement of consistency rests on: it can fail. A backend that leaves the file without a
/// `drain_timeout` is gone at once, whatever is tracked.
#[test]
fn connections_are_seen_to_break_when_a_living_backend_is_taken_from_them() -> Result<()> {
    let Some(mut held) = Held::start()? else {
        return Ok(());
    };
    let streams = held.open()?;
    held.change(|config| {
        config.web().backends.remove(0);
    })?;
    let_all_speak();
    let tally = held.tally(streams)?;
    // A third of them was on it, and it lives.
    let lost = u64::from(CONNECTIONS) / 6;
    assert!(tally.broken.len() as u64 > lost, "{tally}");
    assert!(tally.with_backend.is_empty(), "{tally}");
    Ok(())
}

#[test]
fn connections_that_break_with_their_backend_are_told_apart() -> Result<()> {
    let Some(mut held) = Held::start()? else {
        return Ok(());
    };
    let streams = held.open()?;
    held.servers[0].kill();
    let_all_speak();
    held.servers[0].revive()?;
    held.daemon.wait_until_all_up()?;
    let name = held.servers[0].name().to_owned();
    let tally = held.tally(streams)?;
    let died = tally.with_backend.len();
    let its_own = |backend: &Option<_>| backend.as_deref().is_none_or(|one| one == name);
    assert!(died > CONNECTIONS as usize / 6, "{tally}");
    assert!(
        tally.with_backend.iter().all(|one| its_own(&one.backend)),
        "{tally}"
    );
    Ok(())
}

#[test]
fn a_server_that_fails_its_health_check_goes_on_serving() -> Result<()> {
    let Some(held) = Held::start()? else {
        return Ok(());
    };
    held.servers[0].set_healthy(false);
    let name = held.servers[0].name();
    held.daemon.wait_until("the alarm", SOON, |status| {
        status.backend(name).is_left_out()
    })?;
    // From the load balancer: what a client sends there is answered in the VIP's name.
    let direct = Hold::new(held.servers[0].address(), 1);
    let streams = Streams::open(&held.topology.lb, direct, SOON)?;
    held.servers[0].set_healthy(true);
    held.daemon.wait_until_all_up()?;
    let tally = held.tally(streams)?;
    assert_eq!(tally.alive, 1, "{tally}");
    Ok(())
}

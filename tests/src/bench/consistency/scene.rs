//! The network with servers that can be told what to do, a daemon, and how each change is made.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use testbed::{
    config::{Backend, Config, Connections, Health},
    daemon::Daemon,
    host::Host,
    stream::{server::StreamServer, tally::Death},
    sweep,
    topology::Topology,
};

use super::{
    DRAIN_TIMEOUT, operator,
    script::{Change, Place},
};

/// Backends in the network; the last one is not in the file at first.
pub(super) const BACKENDS: usize = 6;

/// Where the servers listen.
const PORT: u16 = 7000;

/// How long a health check may take to notice.
const SOON: Duration = Duration::from_secs(10);

/// The network and its servers, for one daemon after the other.
pub(super) struct Scene {
    servers: Vec<StreamServer>,
    topology: Topology,
}

/// A daemon in it.
pub(super) struct Act<'a> {
    daemon: Daemon,
    scene: &'a mut Scene,
}

impl Scene {
    /// Builds it; the servers listen.
    pub(super) fn build() -> Result<Self> {
        let topology = Topology::builder().backends(BACKENDS as u8).build()?;
        let serve = |backend: &testbed::topology::Backend| {
            let address = SocketAddr::new(backend.address.ip(), PORT);
            StreamServer::start(&backend.host, &backend.name, address)
        };
        let servers = topology.backends.iter().map(serve);
        Ok(Self {
            servers: servers.collect::<Result<_>>()?,
            topology,
        })
    }

    /// Starts a daemon with all backends but the last.
    ///
    /// # Errors
    /// Where it refuses the configuration, or not all backends come up.
    pub(super) fn start(&mut self, tracking: &'static str, window: Duration) -> Result<Act<'_>> {
        let mut config = Config::new(&sweep::unique_name(), &self.topology);
        let service = config.web();
        service.connections.tracking = Some(tracking);
        if tracking != "never" {
            service.connections = Connections {
                tracking: service.connections.tracking,
                transition_window: Some(window),
                flow_idle: Some(window),
                // A health check that fails is no reason to reset connections that go on.
                on_death: Some("keep"),
                drain_timeout: Some(DRAIN_TIMEOUT),
            };
        }
        service.health = vec![Health::quick_http("/", &[200])];
        service.backends = (0..BACKENDS - 1).map(|place| self.entry(place)).collect();
        let daemon = Daemon::start(&self.topology.lb, config)?;
        daemon.wait_until_all_up()?;
        Ok(Act {
            daemon,
            scene: self,
        })
    }

    /// What a backend is in the file.
    fn entry(&self, place: Place) -> Backend {
        let server = &self.servers[place];
        Backend::new(server.name(), server.address())
    }
}

impl Act<'_> {
    /// Where connections come from.
    pub(super) const fn client(&self) -> &Host {
        &self.scene.topology.client
    }

    /// The daemon's last words, for errors.
    pub(super) fn log(&self) -> String {
        self.daemon.log_tail()
    }

    /// When backends were dead.
    pub(super) fn deaths(&self) -> Vec<Death> {
        let servers = self.scene.servers.iter();
        servers.flat_map(StreamServer::deaths).cloned().collect()
    }

    /// Makes a change; the daemon knows of it when this returns.
    pub(super) fn make(&mut self, change: Change) -> Result<()> {
        let entry = self.scene.entry(change.place());
        operator::carry_out(&mut self.daemon, change, entry)?;
        let servers = &mut self.scene.servers;
        match change {
            Change::Alarm(place) => servers[place].set_healthy(false),
            Change::Recover(place) => servers[place].set_healthy(true),
            Change::Die(place) => servers[place].kill(),
            Change::Revive(place) => servers[place].revive()?,
            _ => {}
        }
        match change {
            Change::Alarm(place) | Change::Die(place) => self.wait_for_health(place, "down"),
            Change::Join(place) | Change::Recover(place) | Change::Revive(place) => {
                self.wait_for_health(place, "up")
            }
            _ => Ok(()),
        }
        .with_context(|| format!("{change:?}"))
    }

    fn wait_for_health(&self, place: Place, health: &str) -> Result<()> {
        let name = self.scene.servers[place].name();
        let what = format!("{name} to be {health}");
        self.daemon
            .wait_until(&what, SOON, |status| status.backend(name).health == health)?;
        Ok(())
    }
}

//! A site whose backends serve streams, and connections that are held through whatever is done to it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cli::stderr,
    config::{Backend, Config, Connections, Health, Service},
    site::Site,
    status::{self, Slots},
    stream::{
        client::{Hold, Streams},
        server::StreamServer,
        tally::{End, Ended},
    },
    topology::{Topology, VIP},
};

/// The service's name.
pub const SERVICE: &str = "streams";
/// Its port, and its backends'.
pub const PORT: u16 = 7000;
/// How long its slots are in transition.
pub const WINDOW: Duration = Duration::from_secs(4);
/// How long slots may take to come to rest once all is quiet: the window, the 30 s that a closed
/// connection is remembered, some passes, and a machine that is busy.
pub const REST: Duration = Duration::from_secs(90);
/// Every connection speaks at least once in that time.
const ROUND: Duration = Duration::from_millis(1200);

/// The site and the connections.
#[derive(Debug)]
pub struct Held {
    streams: Streams,
    /// The site; the service comes after `web`.
    pub site: Site,
    /// A backend's each.
    pub servers: Vec<StreamServer>,
}

impl Held {
    /// Three backends and `connections` to them. `None`: skipped.
    pub fn build(connections: u32, change: impl FnOnce(&mut Config)) -> Result<Option<Self>> {
        let mut addresses = Vec::new();
        let add = |config: &mut Config| {
            let web = config.web().clone();
            for backend in &web.backends {
                let address: SocketAddr =
                    backend.address.parse().expect("dnat backends have ports");
                addresses.push(SocketAddr::new(address.ip(), PORT));
            }
            let backends = web.backends.iter().zip(&addresses);
            config.services.push(Service {
                name: SERVICE.to_owned(),
                listen: vec![format!("tcp://{}:{PORT}", VIP.ip())],
                table_size: 1021,
                connections: Connections {
                    transition_window: Some(WINDOW),
                    flow_idle: Some(Duration::from_secs(10)),
                    ..Connections::default()
                },
                health: vec![Health::quick_http("/", &[200])],
                backends: backends
                    .map(|(one, address)| Backend::new(&one.name, address))
                    .collect(),
                ..web
            });
            change(config);
        };
        let Some((topology, config)) = Site::prepare(&Topology::builder(), add)? else {
            return Ok(None);
        };
        let hosts = topology.backends.iter().zip(&addresses);
        let servers = hosts
            .map(|(one, address)| StreamServer::start(&one.host, &one.name, *address))
            .collect::<Result<Vec<_>>>()?;
        let site = Site::run(topology, config)?;
        let hold = Hold::new(vip(), connections);
        let streams = Streams::open(site.client(), hold, Duration::from_secs(20))
            .with_context(|| site.daemon.log_tail())?;
        Ok(Some(Self {
            streams,
            site,
            servers,
        }))
    }

    /// What the status says of the service.
    pub fn service(&self) -> Result<status::Service> {
        Ok(self.site.daemon.status()?.service(SERVICE).clone())
    }

    /// Changes the service in the file, and reloads.
    pub fn reload(&mut self, change: impl FnOnce(&mut Service)) -> Result<()> {
        self.site.daemon.set_config(|config| {
            change(service_of(config));
        })?;
        let output = self.site.daemon.reload()?;
        ensure!(output.status.success(), "{}", stderr(&output));
        Ok(())
    }

    /// A command that must succeed.
    pub fn tell(&self, arguments: &[&str]) -> Result<()> {
        let output = self.site.daemon.cli().run(arguments)?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        Ok(())
    }

    /// Every connection speaks, and none has ended since the beginning.
    ///
    /// # Errors
    /// Those that ended, after `what`.
    pub fn all_speak(&mut self, what: &str) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < ROUND {
            std::thread::sleep(Duration::from_millis(50));
        }
        let ended: Vec<_> = self
            .streams
            .ended()
            .iter()
            .map(ToString::to_string)
            .collect();
        ensure!(
            ended.is_empty(),
            "{what}: {} ended: {:#?}\n{:#?}\n{}",
            ended.len(),
            &ended[..ended.len().min(8)],
            self.service(),
            self.site.daemon.log_tail()
        );
        Ok(())
    }

    /// Connections that ended so far.
    pub fn ended(&mut self) -> &[Ended] {
        self.streams.ended()
    }

    /// Ends the connections, whatever became of them before.
    pub fn part(self) -> Result<(Site, Vec<StreamServer>)> {
        self.streams.finish()?;
        Ok((self.site, self.servers))
    }

    /// No slot is in transition any more.
    pub fn wait_for_window(&self) -> Result<()> {
        let over = |status: &status::Status| status.service(SERVICE).slots.transition == 0;
        self.site
            .daemon
            .wait_until("the window to end", REST, over)?;
        Ok(())
    }

    /// Ends the connections; all must have lived to the last.
    pub fn hang_up(self) -> Result<(Site, Vec<StreamServer>)> {
        let Self {
            streams,
            site,
            servers,
        } = self;
        let broken: Vec<_> = streams
            .finish()?
            .into_iter()
            .filter(|one| one.end != End::Alive)
            .map(|one| one.to_string())
            .collect();
        ensure!(broken.is_empty(), "{broken:#?}\n{}", site.daemon.log_tail());
        Ok((site, servers))
    }
}

/// All slots of the service are stable, and nothing is remembered.
pub fn wait_for_rest(site: &Site) -> Result<()> {
    site.daemon.wait_until("slots at rest", REST, |status| {
        let service = status.service(SERVICE);
        let stable = Slots {
            stable: service.table_size,
            ..Slots::default()
        };
        let entries = service.flows.and_then(|flows| flows.entries);
        service.slots == stable && entries == Some(0)
    })?;
    Ok(())
}

/// The service in the file.
///
/// # Panics
/// Where there is none.
pub fn service_of(config: &mut Config) -> &mut Service {
    let found = config
        .services
        .iter_mut()
        .find(|one| one.listen[0].ends_with(&format!(":{PORT}")));
    found.expect("it was configured")
}

/// Where connections go.
pub fn vip() -> SocketAddr {
    SocketAddr::new((*VIP.ip()).into(), PORT)
}

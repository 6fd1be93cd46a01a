//! From the command line to a running data path. Whatever fails here leaves nothing behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Instant, SystemTime},
};

use tokio::sync::mpsc;

use super::{
    Error, interfaces,
    retired::Retired,
    state::{Controller, Source},
    upkeep::{Sweep, Touched},
    written::Written,
};
use crate::{
    admin, config,
    dataplane::{self, Dataplane},
    health,
    model::{Interface, XdpMode},
    neighbor,
    overrides::Overrides,
    plan::{self, Seed},
    upkeep::Upkeep,
};

/// Events that may wait for the controller, of each kind.
const QUEUE: usize = 1024;

/// What `sluice run` was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The configuration; `None`: no services, only the interfaces named here.
    pub config: Option<PathBuf>,
    /// Interfaces beside those of the configuration.
    pub interfaces: Vec<String>,
    /// How to attach, for every interface.
    pub xdp_mode: Option<XdpMode>,
    /// The instance, where no configuration names one.
    pub instance: Option<String>,
    /// The admin socket, instead of the configured one.
    pub socket: Option<PathBuf>,
}

/// A controller and the ends of its event queues.
pub(super) struct Started {
    pub(super) controller: Controller,
    pub(super) health: mpsc::Receiver<health::Event>,
    pub(super) neighbor: mpsc::Receiver<neighbor::Event>,
}

/// Reads the configuration, loads the program, applies the first plan, attaches.
pub(super) async fn start(options: Options, trace_end: mpsc::Sender<()>) -> Result<Started, Error> {
    let source = Source::new(options);
    let loaded = source.load()?;
    if loaded.model.interfaces.is_empty() {
        let file = source
            .path
            .as_ref()
            .map_or("a configuration".into(), |p| p.display().to_string());
        return Err(Error::NoInterface { file });
    }
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let model = loaded.model;
    let said = Overrides::load(&model.daemon.state_dir)?;
    dataplane::check_host()?;
    let devices = interfaces::find(&model.interfaces, &neighbor::links().await?)?;

    let seed = Seed::derive(model.daemon.seed.as_deref());
    let (dataplane, image) = Dataplane::open(dataplane::Options {
        bpffs: &model.daemon.bpffs,
        instance: &model.daemon.instance,
        limits: model.limits,
        settings: plan::settings(&model),
    })?;
    if dataplane.adopted() {
        log::info!(
            "instance {}: took over what an earlier daemon left",
            model.daemon.instance
        );
    }
    let (health_sender, health_events) = mpsc::channel(QUEUE);
    let (neighbor_sender, neighbor_events) = mpsc::channel(QUEUE);
    let mut controller = Controller {
        source,
        generation: 1,
        loaded_at: SystemTime::now(),
        last_reload: None,
        warnings: loaded.warnings,
        started: Instant::now(),
        seed,
        views: BTreeMap::new(),
        overrides: said.resolve(&model),
        said,
        checks: BTreeMap::new(),
        next_hops: BTreeMap::new(),
        silent: BTreeSet::new(),
        links: BTreeMap::new(),
        watched: interfaces::Watched::default(),
        told: Vec::new(),
        checker: health::Checker::new(health_sender),
        resolver: None,
        punts: None,
        retired: Retired::default(),
        upkeep: Upkeep::default(),
        sweep: Sweep::default(),
        touched: Touched::All,
        written: Written::default(),
        trouble: None,
        trace_end,
        model,
        image,
        dataplane,
    };
    let resolver = match neighbor::spawn(neighbor_sender) {
        Ok(resolver) => resolver,
        Err(error) => {
            controller.abandon().await;
            return Err(error.into());
        }
    };
    controller.resolver = Some(resolver);
    // Made only once packets are handled; that it can be is found out before the first one is.
    if let Err(error) = admin::check(controller.admin_socket()).await {
        controller.abandon().await;
        return Err(error.into());
    }
    if let Err(error) = controller.bring_up(&devices).await {
        controller.abandon().await;
        return Err(error);
    }
    Ok(Started {
        controller,
        health: health_events,
        neighbor: neighbor_events,
    })
}

impl Controller {
    /// Ports, first plan, attachment; then the watchers are told what to watch.
    async fn bring_up(&mut self, devices: &[interfaces::Configured]) -> Result<(), Error> {
        self.remember_views();
        // Services that were always tracked under the daemon before, and are not any more.
        self.load_with(self.with_leftovers(*self.dataplane.settings()))?;
        for configured in devices {
            self.dataplane.assign_port(&configured.device)?;
        }
        self.reconcile()?;
        for configured in devices {
            self.attach(configured)?;
        }
        let names: BTreeSet<_> = devices.iter().map(|c| c.device.name.clone()).collect();
        self.dataplane.forget_other_links(&names)?;
        self.verify_attached().await?;
        self.correct_modes(devices).await?;
        self.send_punts();
        self.watch();
        Ok(())
    }

    /// What the pinned maps say of the backends: the last known health and next hop.
    fn remember_views(&mut self) {
        self.views = self.image.last_known(&self.model);
        self.adopt_connections();
    }
}

impl Source {
    fn new(options: Options) -> Self {
        Self {
            path: options.config.clone(),
            options,
        }
    }

    /// Reads the configuration and adds what the command line said.
    pub(super) fn load(&self) -> Result<config::Loaded, config::Error> {
        let Options {
            config: _,
            interfaces,
            xdp_mode,
            instance,
            socket,
        } = &self.options;
        let mode = xdp_mode.unwrap_or_default();
        let named = |name: &String| Interface {
            name: name.clone(),
            xdp: mode,
        };
        let mut loaded = match &self.path {
            Some(path) => config::load(path)?,
            None => config::Loaded {
                model: config::without_file(
                    instance.as_deref().unwrap_or("default"),
                    interfaces.iter().map(named).collect(),
                )?,
                warnings: Vec::new(),
                files: Vec::new(),
            },
        };
        let known: BTreeSet<_> = loaded
            .model
            .interfaces
            .iter()
            .map(|i| i.name.clone())
            .collect();
        loaded.model.interfaces.extend(
            interfaces
                .iter()
                .filter(|name| !known.contains(*name))
                .map(named),
        );
        if let Some(mode) = xdp_mode {
            loaded
                .model
                .interfaces
                .iter_mut()
                .for_each(|interface| interface.xdp = *mode);
        }
        if let Some(socket) = socket {
            loaded.model.daemon.admin_socket.clone_from(socket);
        }
        Ok(loaded)
    }
}

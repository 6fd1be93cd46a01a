//! From the command line to a running data path. Whatever fails here leaves nothing behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::mpsc, time::timeout};

use super::{
    Error,
    addresses::Addresses,
    interfaces,
    retired::Retired,
    state::{Controller, Source},
    touched::Touched,
    upkeep::Sweep,
    written::Written,
};
use crate::{
    admin, config,
    dataplane::{self, Dataplane},
    health,
    model::{BackendKey, Interface, XdpMode},
    neighbor,
    overrides::Overrides,
    plan::{self, Scope, Seed},
    upkeep::Upkeep,
};

/// Events that may wait for the controller, of each kind.
const QUEUE: usize = 1024;

/// How long the kernel may take to resolve a neighbour that is there, and a probe to be told.
const SETTLING: Duration = Duration::from_millis(200);

/// The longest that a start waits for first answers.
const PATIENCE: Duration = Duration::from_secs(2);

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

/// What backends and kernel answer.
struct Answers {
    health: mpsc::Receiver<health::Event>,
    neighbor: mpsc::Receiver<neighbor::Event>,
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
        addresses: Addresses::default(),
        next_hops: BTreeMap::new(),
        ways: BTreeMap::new(),
        silent: BTreeSet::new(),
        links: BTreeMap::new(),
        watched: interfaces::Watched::default(),
        told: BTreeSet::new(),
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
    let mut answers = Answers {
        health: health_events,
        neighbor: neighbor_events,
    };
    if let Err(error) = controller.bring_up(&devices, &mut answers).await {
        controller.abandon().await;
        return Err(error);
    }
    let Answers { health, neighbor } = answers;
    Ok(Started {
        controller,
        health,
        neighbor,
    })
}

impl Controller {
    /// Ports, attachment, first answers, first plan. Where packets flow already the plan waits for no
    /// answers: it is made of the last known state.
    async fn bring_up(
        &mut self,
        devices: &[interfaces::Configured],
        answers: &mut Answers,
    ) -> Result<(), Error> {
        self.remember_views();
        // What an earlier daemon's services used, until the first plan has taken its effect.
        self.load_with(self.with_leftovers(*self.dataplane.settings()))?;
        self.sweep.leftovers = true;
        for configured in devices {
            self.dataplane.assign_port(&configured.device)?;
        }
        let adopted = self.dataplane.adopted();
        self.check_room(&self.model, &self.seed, Touched::All)?;
        // The program that runs may lack what the first plan asks for, such as looking for flows of slots
        // in motion.
        for configured in devices {
            self.attach(configured)?;
        }
        if adopted {
            self.reconcile()?;
        }
        let names: BTreeSet<_> = devices.iter().map(|c| c.device.name.clone()).collect();
        self.dataplane.forget_other_links(&names)?;
        self.verify_attached().await?;
        self.correct_modes(devices).await?;
        self.send_punts();
        self.watch(&Touched::All);
        if !adopted {
            self.hear_first(answers).await;
            self.reconcile()?;
        }
        Ok(())
    }

    /// Waits until every backend was heard of once, or had the time for it. The first table is then
    /// made of all that live, and at rest: made of the first that answers, it would give that one
    /// everything, and each of the others would set slots in motion for a whole window.
    async fn hear_first(&mut self, answers: &mut Answers) {
        let probes = self.model.services.iter().filter_map(|s| s.health.as_ref());
        let patience = probes.map(|check| check.timeout).max().unwrap_or_default() + SETTLING;
        let mut unheard = self
            .model
            .services
            .iter()
            .flat_map(|service| {
                let backends = service.backends.iter();
                backends.map(|backend| (service.key(backend), service.health.is_some()))
            })
            .collect::<Vec<_>>();
        let everything = async {
            loop {
                // Who was heard of once needs no second look.
                while let Some((key, is_checked)) = unheard.last()
                    && self.has_heard(key, *is_checked)
                {
                    unheard.pop();
                }
                if unheard.is_empty() {
                    break;
                }
                tokio::select! {
                    Some(event) = answers.health.recv() => self.on_health(event),
                    Some(event) = answers.neighbor.recv() => self.on_neighbor(event),
                    else => break,
                }
            }
        };
        if timeout(patience.min(PATIENCE), everything).await.is_err() {
            log::debug!("some backends have not answered yet");
        }
    }

    /// Whether a backend's health and next hop are known, or known to be missing.
    fn has_heard(&self, key: &BackendKey, is_checked: bool) -> bool {
        let reached = self.views.get(key).is_some_and(|v| v.next_hop.is_some())
            || self.silent.contains(&key.address);
        reached && (!is_checked || self.checks.contains_key(key))
    }

    /// What the pinned maps say of the backends: the last known health and next hop.
    fn remember_views(&mut self) {
        self.views = self.image.last_known(&self.model, Scope::All);
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
            vlan: false,
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

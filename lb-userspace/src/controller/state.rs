//! The controller's state, and how events change it.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Error,
    addresses::Addresses,
    interfaces::Watched,
    retired::Retired,
    startup::Options,
    touched::Touched,
    upkeep::{Sweep, concerns_next_hops, forget_flow_counters, may_end_a_need},
    views::Way,
    written::Written,
};
use crate::{
    config,
    dataplane::{self, Dataplane},
    health,
    model::{BackendKey, Model, OnStop, Override},
    neighbor,
    overrides::Overrides,
    plan::{self, Desired, Image, Plan, Scope, Seed, View},
    upkeep::Upkeep,
};

/// Everything that the daemon knows. Owned by one task.
pub(super) struct Controller {
    pub(super) source: Source,
    /// The configuration in force.
    pub(super) model: Model,
    /// How many configurations have been in force.
    pub(super) generation: u64,
    pub(super) loaded_at: SystemTime,
    pub(super) last_reload: Option<LastReload>,
    pub(super) warnings: Vec<config::Warning>,
    pub(super) started: Instant,
    pub(super) seed: Seed,
    /// What is known of each configured backend.
    pub(super) views: BTreeMap<BackendKey, View>,
    /// What the operator said of backends, by name.
    pub(super) said: Overrides,
    /// The same of those that are configured.
    pub(super) overrides: BTreeMap<BackendKey, Override>,
    /// Each backend's last health check.
    pub(super) checks: BTreeMap<BackendKey, health::LastCheck>,
    /// The configured backends, by address.
    pub(super) addresses: Addresses,
    /// Where each watched address leads.
    pub(super) next_hops: BTreeMap<IpAddr, neighbor::State>,
    /// The same as the views have it.
    pub(super) ways: BTreeMap<IpAddr, Way>,
    /// Watched addresses that lead nowhere, or to nobody who answers: not those still asked for.
    pub(super) silent: BTreeSet<IpAddr>,
    /// The host's interfaces, by index.
    pub(super) links: BTreeMap<u32, neighbor::Link>,
    pub(super) watched: Watched,
    /// The alarms that the log has.
    pub(super) told: BTreeSet<String>,
    pub(super) checker: health::Checker,
    pub(super) resolver: Option<neighbor::Handle>,
    pub(super) punts: Option<JoinHandle<()>>,
    pub(super) retired: Retired,
    /// What time does to connections.
    pub(super) upkeep: Upkeep,
    pub(super) sweep: Sweep,
    /// What the next plan looks at.
    pub(super) touched: Touched,
    pub(super) written: Written,
    /// Why the maps are not as they should be, if they are not.
    pub(super) trouble: Option<String>,
    pub(super) trace_end: mpsc::Sender<()>,
    /// What the maps hold.
    pub(super) image: Image,
    pub(super) dataplane: Dataplane,
}

/// Where the configuration comes from, now and at a reload.
pub(super) struct Source {
    pub(super) path: Option<PathBuf>,
    pub(super) options: Options,
}

/// How the last reload went.
pub(super) struct LastReload {
    pub(super) at: SystemTime,
    pub(super) error: Option<String>,
}

impl Controller {
    pub(super) fn admin_socket(&self) -> &Path {
        &self.model.daemon.admin_socket
    }

    pub(super) const fn on_stop(&self) -> OnStop {
        self.model.daemon.on_stop
    }

    /// Makes the maps agree with what is wanted and known, and with what time has brought. Looks only at
    /// what may have changed; where a plan fails, at everything the next time.
    pub(super) fn reconcile(&mut self) -> Result<(), Error> {
        let progress = self.progress()?;
        let touched = mem::replace(&mut self.touched, Touched::All).widened(
            &self.model,
            &self.seed,
            &self.image,
        );
        let scope = touched.scope();
        let desired = Desired {
            model: &self.model,
            views: &self.views,
            overrides: &self.overrides,
            seed: &self.seed,
            progress: &progress,
            scope,
        };
        let plan = plan::reconcile(&desired, &self.image)?;
        let result = self.carry_out(&plan);
        // What was written in part counts, too.
        let now = Dataplane::now_ticks();
        self.upkeep.observe(&self.model, &self.image, scope, now);
        result?;
        if matches!(scope, Scope::All) || plan.writes().any(concerns_next_hops) {
            self.face_backends();
        }
        self.sweep.leftovers |= plan.writes().any(may_end_a_need);
        self.touched = Touched::default();
        Ok(())
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<(), Error> {
        if plan.is_empty() {
            return Ok(());
        }
        log::debug!("plan: {:?}", plan.summary());
        let Self {
            dataplane,
            image,
            retired,
            written,
            ..
        } = self;
        // Barriers wait for the kernel.
        tokio::task::block_in_place(|| {
            forget_flow_counters(plan, image, dataplane)?;
            dataplane.apply(plan, image)?;
            written.note(plan);
            // Freed counters keep their values until their index is given away again.
            retired.note(plan, image, dataplane)
        })?;
        Ok(())
    }

    /// The same, once the daemon runs: trouble is shown, and the next event tries again.
    pub(super) fn reconcile_or_log(&mut self) {
        match self.reconcile() {
            Ok(()) => self.trouble = None,
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    log::error!("{text}");
                }
                self.trouble = Some(text);
            }
        }
    }

    /// Tells the program on which interfaces replies come in: those that lead to `dnat` backends.
    fn face_backends(&mut self) {
        let hops = self.image.dnat_next_hops();
        let facing: BTreeSet<u16> = hops.map(|hop| hop.port() as u16).collect();
        self.dataplane.face_backends(&facing);
    }

    /// Sends what the program punts, in a task of its own.
    pub(super) fn send_punts(&mut self) {
        let Some(ring) = self.dataplane.take_punts() else {
            return;
        };
        self.punts = Some(tokio::spawn(async move {
            if let Err(error) = dataplane::punt::run(ring).await {
                log::error!("replies to new neighbours are no longer sent: {error}");
            }
        }));
    }

    /// Says that the daemon is ready, to the log and to systemd.
    pub(super) fn announce(&self) {
        let names: Vec<_> = self
            .model
            .interfaces
            .iter()
            .map(|i| i.name.as_str())
            .collect();
        log::info!(
            "instance {} ready: {} services on {}; status: sluice --socket {} status",
            self.model.daemon.instance,
            self.model.services.len(),
            names.join(", "),
            self.admin_socket().display()
        );
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            log::debug!("telling systemd: {error}");
        }
    }

    /// Takes back a start that failed: what was made is removed, what was adopted stays.
    pub(super) async fn abandon(self) {
        if self.dataplane.adopted() {
            return;
        }
        if let Err(error) = self.remove().await {
            log::error!("cleaning up: {error}");
        }
    }

    /// Detaches and removes everything.
    pub(super) async fn remove(self) -> Result<(), Error> {
        let Self {
            resolver,
            punts,
            checker,
            dataplane,
            ..
        } = self;
        drop((resolver, checker));
        if let Some(punts) = punts {
            punts.abort();
        }
        dataplane.remove()?;
        neighbor::forget_managed().await?;
        Ok(())
    }
}

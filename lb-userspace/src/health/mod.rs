//! Health checks: asks every backend again and again, and says who may get traffic.
//!
//! [`Checker`] runs one task a backend and owns nothing else; what the tasks learn reaches the
//! controller as [`Event`]s. How an answer changes a backend's health is `streak`'s matter (pure),
//! when to ask is `schedule`'s, and each kind of question has a file of its own (`tcp`,
//! `http`) and asks through `socket`.
//! Nothing in here knows of slots or maps.

mod http;
mod probe;
mod schedule;
mod socket;
mod streak;
mod tcp;
mod without_fin;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::mpsc, task::JoinHandle};

pub use self::probe::{NetworkProber, Outcome, Prober};
use crate::{
    by_service,
    model::{BackendKey, Health, HealthCheck},
};

/// What to check, how, and what is known already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where the probes go.
    pub address: SocketAddr,
    /// What is asked, how often, and how answers count.
    pub check: HealthCheck,
    /// The last known health; counts only when the check starts. `Up` and `Down` follow rise and
    /// fall from there, with anything else the first answer decides.
    pub initial: Health,
}

/// A probe came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose probe.
    pub key: BackendKey,
    /// The backend's health now, changed or not: `Unknown`, `Up` or `Down`.
    pub health: Health,
    /// The probe.
    pub last: LastCheck,
}

/// One probe and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCheck {
    /// Whether it passed.
    pub ok: bool,
    /// When its result was known.
    pub at: SystemTime,
    /// From its start to its result.
    pub duration: Duration,
    /// Short: `connected`, `200`, `status 503`, `connection refused`, `timed out after 500ms`.
    pub reason: String,
}

/// Runs the checks; dropping it stops them all.
///
/// Events already in the channel outlive their target: a receiver ignores keys it does not know.
#[derive(Debug)]
pub struct Checker<P = NetworkProber> {
    events: mpsc::Sender<Event>,
    prober: P,
    running: BTreeMap<BackendKey, Running>,
}

impl Checker {
    /// A checker without targets that asks over the network.
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        Self::with_prober(events, NetworkProber)
    }
}

impl<P: Prober> Checker<P> {
    /// A checker without targets that asks through `prober`.
    pub fn with_prober(events: mpsc::Sender<Event>, prober: P) -> Self {
        Self {
            events,
            prober,
            running: BTreeMap::new(),
        }
    }

    /// Makes `targets` the ones that are checked, each probed at once when it starts.
    ///
    /// A target whose address and check stay the same runs on, whatever its `initial` says.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn update(&mut self, targets: BTreeMap<BackendKey, Target>) {
        let former = mem::take(&mut self.running);
        self.go_on(former, targets);
    }

    /// The same of some services; `targets` are theirs, and the others run on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn update_services(
        &mut self,
        services: &BTreeSet<Arc<str>>,
        targets: BTreeMap<BackendKey, Target>,
    ) {
        let former = by_service::take(&mut self.running, services);
        self.go_on(former, targets);
    }

    fn go_on(
        &mut self,
        mut former: BTreeMap<BackendKey, Running>,
        targets: BTreeMap<BackendKey, Target>,
    ) {
        for (key, target) in targets {
            let same = |running: &Running| {
                running.address == target.address && running.check == target.check
            };
            let running = match former.remove(&key).filter(same) {
                Some(running) => running,
                None => self.start(key.clone(), target),
            };
            self.running.insert(key, running);
        }
    }

    fn start(&self, key: BackendKey, target: Target) -> Running {
        Running {
            address: target.address,
            check: target.check.clone(),
            task: tokio::spawn(schedule::run(
                key,
                target,
                self.prober.clone(),
                self.events.clone(),
            )),
        }
    }
}

/// A target under check; dropping it stops its task.
#[derive(Debug)]
struct Running {
    address: SocketAddr,
    check: HealthCheck,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;

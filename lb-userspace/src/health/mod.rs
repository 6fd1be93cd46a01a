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
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use tokio::{sync::mpsc, task::JoinHandle};

pub use self::probe::{NetworkProber, Outcome, Prober};
use crate::model::{BackendKey, Health, HealthCheck};

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
        self.running.retain(|key, running| {
            targets.get(key).is_some_and(|target| {
                running.address == target.address && running.check == target.check
            })
        });
        for (key, target) in targets {
            if self.running.contains_key(&key) {
                continue;
            }
            let Target {
                address,
                ref check,
                initial: _,
            } = target;
            let running = Running {
                address,
                check: check.clone(),
                task: tokio::spawn(schedule::run(
                    key.clone(),
                    target,
                    self.prober.clone(),
                    self.events.clone(),
                )),
            };
            self.running.insert(key, running);
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

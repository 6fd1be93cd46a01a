//! The seam between the schedule and the network: one question, one outcome.

use std::future::Future;

use super::{Target, http, tcp};
use crate::model::Probe;

/// How a probe went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend answered as it should.
    Passed(String),
    /// It did not.
    Failed(String),
    /// The question was never asked for want of local resources, which says nothing of the backend.
    Inconclusive(String),
}

/// Asks a backend once.
pub trait Prober: Clone + Send + Sync + 'static {
    /// Ends within the target's timeout; dropping the future gives the probe up.
    fn probe(&self, target: &Target) -> impl Future<Output = Outcome> + Send;
}

/// Asks over the network, as the check says.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkProber;

impl Prober for NetworkProber {
    async fn probe(&self, target: &Target) -> Outcome {
        let limit = target.check.timeout;
        match &target.check.probe {
            Probe::Tcp => tcp::probe(target.address, limit).await,
            Probe::Http(http) => http::probe(target.address, http, limit).await,
        }
    }
}

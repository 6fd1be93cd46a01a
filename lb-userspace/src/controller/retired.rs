//! Counters of backends that are gone: a service's sums never go backwards.

use std::collections::BTreeMap;

use lb_common::abi::{counters::BackendCounters, service::ServiceId};

use crate::{
    dataplane::{self, Dataplane},
    plan::{Image, Plan, Write},
};

/// What the removed backends of each service had counted, since this daemon started.
#[derive(Debug, Default)]
pub(super) struct Retired(BTreeMap<ServiceId, BackendCounters>);

impl Retired {
    /// Notes the counters of the backends that a plan has freed, and forgets the services that it frees.
    pub(super) fn note(
        &mut self,
        plan: &Plan,
        image: &Image,
        dataplane: &Dataplane,
    ) -> Result<(), dataplane::Error> {
        for write in plan.writes() {
            if let Write::BackendState { index, state } = write
                && !state.is_in_use()
                && let Some(backend) = image.backend(*index)
            {
                let counted = dataplane.backend_counters(*index)?;
                let sum = self.0.entry(backend.service).or_default();
                sum.packets += counted.packets;
                sum.bytes += counted.bytes;
                sum.new_flows += counted.new_flows;
            }
        }
        for write in plan.writes() {
            if let Write::Publish { service, record } = write
                && record.get().is_none()
            {
                self.0.remove(service);
            }
        }
        Ok(())
    }

    /// What a service's removed backends had counted.
    pub(super) fn of(&self, service: ServiceId) -> BackendCounters {
        self.0.get(&service).copied().unwrap_or_default()
    }
}

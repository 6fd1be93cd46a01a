//! Upkeep's turns: what time has brought goes into plans, and the flow tables are swept, some entries
//! a turn.

use std::{mem, time::Duration};

use lb_common::abi::{
    service::ServiceId,
    settings::{Settings, feature},
};

use super::{Error, state::Controller};
use crate::{
    dataplane::{self, Batch, Cursor, Dataplane, Walked},
    plan::{self, Image, Plan, Progress, Scope, Write},
    upkeep::Need,
};

/// From one turn to the next.
pub(super) const TURN: Duration = Duration::from_millis(250);

/// Entries that a turn reads at most, about: some milliseconds.
const ENTRIES: u32 = 8192;

/// Turns from the end of a pass to the next one, where somebody waits for it and where nobody does.
const SOON: u32 = 4;
const LATER: u32 = 40;

/// Where the sweep of the flow tables is.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    at: Option<Place>,
    /// Turns since the last pass ended.
    rested: u32,
    /// Something may have gone that the program was still loaded for.
    pub(super) leftovers: bool,
    /// A table could not be read, and the log has it.
    is_amiss: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    walked: Walked,
    cursor: Option<Cursor>,
}

impl Controller {
    /// What an earlier daemon left in motion begins anew: its windows, and the drains of backends that
    /// left the configuration.
    pub(super) fn adopt_connections(&mut self) {
        let now = Dataplane::now_ticks();
        self.upkeep
            .observe(&self.model, &self.image, Scope::All, now);
        if self.dataplane.adopted() && self.dataplane.settings().features & feature::ALWAYS != 0 {
            self.upkeep.adopt_always();
        }
    }

    /// What time has brought since the last plan; the services that it concerns are looked at.
    pub(super) fn progress(&mut self) -> Result<Progress, Error> {
        let restless: Vec<ServiceId> = self.upkeep.restless().map(|service| service.id).collect();
        for id in restless {
            let counted = self.dataplane.flow_counters(id)?;
            self.upkeep.refused(id, counted.last_refused);
        }
        let progress = self.upkeep.progress(Dataplane::now_ticks());
        for name in self.upkeep.names(&progress) {
            self.touched.add(&name);
        }
        Ok(progress)
    }

    /// A turn. What it brings is planned by the caller.
    pub(super) fn on_tend(&mut self) {
        match self.sweep_some() {
            Ok(()) => self.sweep.is_amiss = false,
            Err(error) => {
                self.sweep.at = None;
                self.upkeep.abandon_pass();
                if !self.sweep.is_amiss {
                    log::error!("sweeping the flow tables: {error}");
                }
                self.sweep.is_amiss = true;
            }
        }
        if mem::take(&mut self.sweep.leftovers) {
            self.switch_off_leftovers();
        }
    }

    fn sweep_some(&mut self) -> Result<(), dataplane::Error> {
        let Some(Place { walked, cursor }) = self.sweep.at else {
            return self.begin_pass_when_due();
        };
        let Batch { entries, next } = self.dataplane.flows(walked, cursor, ENTRIES)?;
        let (table, now) = (walked.table, Dataplane::now_ticks());
        for (key, judged) in self.upkeep.judge(&self.image, &entries, now) {
            let taken = self.dataplane.take_flow(table, &key)?;
            let back = self.upkeep.took(&self.image, &key, judged, taken);
            if let Some(entry) = back {
                self.dataplane.put_flow_back(table, &key, entry)?;
            }
        }
        self.sweep.at = match next {
            Some(_) => Some(Place {
                walked,
                cursor: next,
            }),
            None => walked.next().map(|walked| Place {
                walked,
                cursor: None,
            }),
        };
        if self.sweep.at.is_none() {
            self.upkeep.end_pass();
            self.sweep.leftovers = true;
        }
        Ok(())
    }

    fn begin_pass_when_due(&mut self) -> Result<(), dataplane::Error> {
        self.sweep.rested = self.sweep.rested.saturating_add(1);
        let due = match self.upkeep.need() {
            Need::None => false,
            Need::Later => self.sweep.rested >= LATER,
            Need::Soon => self.sweep.rested >= SOON,
        };
        if !due {
            return Ok(());
        }
        tokio::task::block_in_place(|| self.dataplane.barrier())?;
        self.upkeep.begin_pass();
        self.sweep.rested = 0;
        self.sweep.at = Some(Place {
            walked: Walked::FIRST,
            cursor: None,
        });
        Ok(())
    }

    /// Settings with what the maps still need beside the model, entries of services that were always
    /// tracked among it.
    pub(super) fn with_leftovers(&self, settings: Settings) -> Settings {
        let always = if self.upkeep.keeps_always() {
            feature::TRANSITION | feature::ALWAYS
        } else {
            0
        };
        Settings {
            features: settings.features | self.image.features() | always,
            ..settings
        }
    }

    /// The program without what was needed for leftovers only, once there are none.
    fn switch_off_leftovers(&mut self) {
        let wanted = self.with_leftovers(plan::settings(&self.model));
        if let Err(error) = self.load_with(wanted) {
            log::error!("loading the program without what is not needed any more: {error}");
        }
    }
}

/// Whether a write changes where replies may come from.
pub(super) const fn concerns_next_hops(write: &Write) -> bool {
    match write {
        Write::Backend { .. } | Write::NextHop { .. } => true,
        Write::BackendState { state, .. } => !state.is_in_use(),
        _ => false,
    }
}

/// Whether the program may do without something after a write.
pub(super) const fn may_end_a_need(write: &Write) -> bool {
    match write {
        Write::Publish { .. } | Write::DeleteVip { .. } => true,
        Write::BackendState { state, .. } => !state.is_in_use(),
        _ => false,
    }
}

/// Ids that a plan gives to new services begin to count anew, while no packet reaches them.
pub(super) fn forget_flow_counters(
    plan: &Plan,
    image: &Image,
    dataplane: &mut Dataplane,
) -> Result<(), dataplane::Error> {
    for write in plan.writes() {
        if let Write::Publish { service, record } = write
            && record.get().is_some()
            && image.service(*service).is_none()
        {
            dataplane.reset_flow_counters(*service)?;
        }
    }
    Ok(())
}

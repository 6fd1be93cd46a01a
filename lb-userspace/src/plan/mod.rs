//! Plans: what to write into the maps, in which order.
//!
//! Pure: the desired state ([`Desired`]: model, health, next hops) and what the maps hold ([`Image`])
//! in, a [`Plan`] out. No clock, no I/O. `controller` calls [`reconcile()`], `dataplane` applies the plan
//! and its image mirrors every write that was made.
//!
//! - [`seed`], [`maglev`]: from the configured seed and the eligible backends to a table.
//! - [`keys`]: of the tables that there is one of for each version of IP.
//! - [`image`], [`adopt`]: what the maps hold, mirrored or read back.
//! - [`reconcile()`]: `claims` gives each service its id, `seating` each backend its index (`occupants`: who
//!   has which now), `draft` a service its table and record, `vips` and `replies` compare keys, `stages` puts all into order.
//! - [`widen()`]: whom else a plan for some services has to look at.
//! - [`motion`]: the rules by which a slot moves, `table` applies them. [`progress`]: what time has
//!   brought, from `upkeep`.
//! - [`settings()`]: what of the program the model uses.
//! - [`status`]: what the image says of a configured service.
//!
//! **Invariant:** after every single write of a plan, a slot that packets reach names the backends that
//! it was written for or none. Nothing is freed, and no key gets another value, without a barrier since
//! packets could last reach it.

pub mod adopt;
pub mod capacity;
pub mod desired;
pub mod endpoint;
pub mod errors;
pub mod image;
pub mod index;
pub mod keys;
pub mod maglev;
pub mod motion;
pub mod naming;
pub mod progress;
pub mod seed;
pub mod settings;
pub mod status;
pub mod writes;

mod alloc;
mod claims;
mod draft;
mod occupants;
mod reconcile;
mod replies;
mod seating;
mod stages;
mod table;
mod vips;
mod widen;

#[cfg(test)]
mod tests;

pub use self::{
    adopt::{AdoptError, RawMaps},
    capacity::Capacity,
    desired::{Desired, Scope, View},
    endpoint::Endpoint,
    errors::{Limit, PlanError},
    image::{Held, Image},
    index::{BackendIndex, Range, RecordIndex, SlotIndex},
    keys::{FlowKey, ReplyTarget, VipKey},
    progress::{Progress, ServiceProgress},
    reconcile::reconcile,
    seed::{Seed, TableKey},
    settings::settings,
    status::{BackendStatus, ServiceStatus, SlotCounts},
    widen::widen,
    writes::{Phase, Plan, Summary, Write},
};

//! The admin API: HTTP and JSON on a unix socket, and the client of it.
//!
//! A request comes in by [`server`], becomes a [`Command`] to the controller, and the controller's
//! answer goes back as JSON. Nothing here knows how the state is kept: the controller fills in a
//! [`Status`], and a [`Refusal`] says why it did not do what it was asked.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `POST /v1/reload` | [`ReloadReport`] |
//! | `POST /v1/override?service=&backend=&change=&weight=` | [`OverrideReport`]; `change` is `drain`, `undrain`, `disable`, `enable`, `weight`, `reset-weight` or `reset` |
//! | `GET /v1/flows?service=&backend=&limit=&count=` | [`FlowList`] |
//! | `GET /v1/explain?protocol=&source=&destination=` | [`Explanation`] |
//! | `GET /v1/trace?service=&limit=` | lines of text, until the trace ends |
//! | `GET /v1/version` | [`Version`] |
//!
//! A failure is `{"error": "..."}` with a fitting code. `curl --unix-socket` works.

pub mod client;
pub mod command;
pub mod explain;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod flows;
mod overrides;
mod places;
mod routes;
pub mod server;
mod socket;
mod stall;
pub mod status;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use client::{Client, ClientError};
pub use command::{Command, Refusal, RefusalKind, ReloadReport, TraceLine, TraceOptions};
pub use explain::{ExplainQuery, Explanation};
pub use flows::{FlowCursor, FlowList, FlowPage, FlowsQuery};
pub use overrides::OverrideReport;
pub use server::{BindError, Bound, bind, check, remove_stale};
pub use status::Status;

/// The instance's name where nobody gives another.
pub const DEFAULT_INSTANCE: &str = "default";

/// Where an instance's socket is, unless its configuration says otherwise.
pub fn socket_path(instance: &str) -> PathBuf {
    PathBuf::from(format!("/run/sluice/{instance}/admin.sock"))
}

/// What runs: the answer to `GET /v1/version`, and what `sluice version` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The release.
    pub version: String,
    /// Layout of the maps; a daemon adopts only maps of its own.
    pub abi: u32,
}

impl Version {
    /// What this binary is.
    pub fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: lb_common::abi::ABI_VERSION,
        }
    }
}

/// The body of every answer that is a failure.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    error: String,
}

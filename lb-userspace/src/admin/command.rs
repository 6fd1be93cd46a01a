//! What the admin API asks of the controller, and what the controller answers.
//!
//! The controller owns the state, so a request is a message with a place for its answer. Dropping
//! that place unanswered is safe: the client is told that the daemon is stopping.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::{ExplainQuery, Explanation, FlowCursor, FlowPage, FlowsQuery, OverrideReport, Status};
use crate::overrides::{Change, Target};

/// A request to the controller.
#[derive(Debug)]
pub enum Command {
    /// How are things?
    Status(oneshot::Sender<Status>),
    /// Read the configuration again and put it in force.
    Reload(oneshot::Sender<Result<ReloadReport, Refusal>>),
    /// Drain, disable or weight a backend, or take that back.
    Override {
        /// Which backend.
        target: Target,
        /// What to change.
        change: Change,
        /// What became of it.
        reply: oneshot::Sender<Result<OverrideReport, Refusal>>,
    },
    /// List some of the flows that are remembered.
    Flows {
        /// Which. Limits are the asker's.
        query: FlowsQuery,
        /// Where to go on; `None`: at the begin.
        from: Option<FlowCursor>,
        /// They, and where to go on.
        reply: oneshot::Sender<Result<FlowPage, Refusal>>,
    },
    /// Where do a connection's packets go, and why?
    Explain {
        /// Which connection.
        query: ExplainQuery,
        /// The reasons.
        reply: oneshot::Sender<Result<Explanation, Refusal>>,
    },
    /// Trace packets until the receiver is dropped.
    Trace {
        /// Which, and how many.
        options: TraceOptions,
        /// Where the lines are to come from.
        reply: oneshot::Sender<Result<mpsc::Receiver<TraceLine>, Refusal>>,
    },
}

/// One traced packet, readable, without a newline.
pub type TraceLine = String;

/// What to trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceOptions {
    /// Only packets of the service of this name.
    pub service: Option<String>,
    /// Stop after so many lines. The server counts them: it drops the receiver behind the last.
    pub limit: Option<u64>,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The configuration's number: [`super::status::Config::generation`].
    pub generation: u64,
    /// One line a change; none if the file says what is in force already.
    pub changes: Vec<String>,
    /// What is odd about the file but not wrong.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How long it took to read and check the files.
    #[serde(default)]
    pub read_ms: f64,
    /// How long it took then until they were in force.
    #[serde(default)]
    pub applied_ms: f64,
}

/// Why the controller did not do what it was asked. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refusal {
    /// What sort of reason.
    pub kind: RefusalKind,
    /// The reason, lower case, one problem a line.
    pub message: String,
}

/// What sort of reason a [`Refusal`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request names what is not there or contradicts itself.
    BadRequest,
    /// Something else is going on that rules it out.
    Conflict,
    /// The configuration is not valid.
    InvalidConfig,
    /// It could not be done, or not now.
    Unavailable,
}

impl Refusal {
    /// The request names what is not there or contradicts itself.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::BadRequest, message)
    }

    /// Something else is going on that rules it out.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Conflict, message)
    }

    /// The configuration is not valid.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::InvalidConfig, message)
    }

    /// It could not be done, or not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Unavailable, message)
    }

    fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }
}

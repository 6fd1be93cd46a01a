//! What is asked and answered about drained, disabled and weighted backends.

use serde::{Deserialize, Serialize};

use super::status::Admin;
use crate::overrides::{Change, Target};

/// The query of `POST /v1/override`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OverrideQuery {
    pub(super) service: String,
    pub(super) backend: String,
    pub(super) change: Word,
    /// With `change=weight`, and with no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<u16>,
}

/// A [`Change`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    Drain,
    Undrain,
    Disable,
    Enable,
    Weight,
    ResetWeight,
    Reset,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideReport {
    /// The service's name.
    pub service: String,
    /// The backend's name.
    pub backend: String,
    /// False: it was so already.
    pub changed: bool,
    /// What holds now.
    pub admin: Admin,
    /// The weight that holds now; `null` for a backend that is not configured.
    pub weight: Option<u16>,
    /// Whether the backend gets new connections now.
    pub takes_new: bool,
    /// How many backends of the service do.
    pub remaining: usize,
    /// What is odd about it.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl OverrideQuery {
    /// The query that asks for a change.
    pub(super) fn new(target: &Target, change: Change) -> Self {
        let (change, weight) = match change {
            Change::Drain => (Word::Drain, None),
            Change::Undrain => (Word::Undrain, None),
            Change::Disable => (Word::Disable, None),
            Change::Enable => (Word::Enable, None),
            Change::Weight(weight) => (Word::Weight, Some(weight)),
            Change::ResetWeight => (Word::ResetWeight, None),
            Change::Reset => (Word::Reset, None),
        };
        Self {
            service: target.service.to_string(),
            backend: target.backend.to_string(),
            change,
            weight,
        }
    }

    /// The change that is asked for.
    ///
    /// # Errors
    /// For people: a weight that is missing, too large, or not asked for.
    pub(super) fn parse(self) -> Result<(Target, Change), String> {
        let Self {
            service,
            backend,
            change,
            weight,
        } = self;
        let target = Target {
            service: service.into(),
            backend: backend.into(),
        };
        let change = match (change, weight) {
            (Word::Weight, Some(weight)) if weight <= Change::MAX_WEIGHT => Change::Weight(weight),
            (Word::Weight, Some(weight)) => {
                return Err(format!(
                    "weight {weight} is out of range, use 0 to {}",
                    Change::MAX_WEIGHT
                ));
            }
            (Word::Weight, None) => return Err("change=weight needs weight=N".to_owned()),
            (_, Some(_)) => return Err("weight=N goes with change=weight only".to_owned()),
            (Word::Drain, None) => Change::Drain,
            (Word::Undrain, None) => Change::Undrain,
            (Word::Disable, None) => Change::Disable,
            (Word::Enable, None) => Change::Enable,
            (Word::ResetWeight, None) => Change::ResetWeight,
            (Word::Reset, None) => Change::Reset,
        };
        Ok((target, change))
    }
}

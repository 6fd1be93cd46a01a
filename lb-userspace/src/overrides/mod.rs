//! What the operator said of backends by command. It wins over the configuration until it is taken
//! back, and outlives the daemon: `file` keeps it below `state_dir`.
//!
//! Kept by name, as it was said: a backend that leaves the configuration and comes back, or gets
//! another address, finds it again. Nothing here knows of maps or of the configuration's file.
//!
//! **Invariant:** what is in force is on disk. A change that cannot be written is not made.

mod file;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use compact_str::CompactString;

pub use self::file::Error;
use crate::model::{Admin, BackendKey, Model, Override};

/// A backend as commands name it: `SERVICE/BACKEND`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The service's name.
    pub service: Arc<str>,
    /// The backend's name in it.
    pub backend: CompactString,
}

/// A change of what is said of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It keeps its connections and gets no new ones.
    Drain,
    /// No longer that. A disabled backend stays disabled.
    Undrain,
    /// As if dead.
    Disable,
    /// Neither drained nor disabled.
    Enable,
    /// This weight instead of the configured one.
    Weight(u16),
    /// The configured weight.
    ResetWeight,
    /// As configured, in every respect.
    Reset,
}

/// Everything that was said, and where it is kept.
#[derive(Debug)]
pub struct Overrides {
    folder: PathBuf,
    said: BTreeMap<Target, Override>,
}

impl Overrides {
    /// Reads what is kept in `folder`, an instance's `state_dir`; nothing there is nothing said.
    ///
    /// # Errors
    /// A file that cannot be read, or that says what no daemon wrote.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            folder: folder.to_owned(),
            said: file::read(folder)?,
        })
    }

    /// What is said of a backend; the default where that is nothing.
    pub fn get(&self, target: &Target) -> Override {
        self.said.get(target).copied().unwrap_or_default()
    }

    /// Makes a change, first on disk. False: it was so already.
    ///
    /// # Errors
    /// Where it cannot be written; nothing has changed then.
    pub fn change(&mut self, target: &Target, change: Change) -> Result<bool, Error> {
        let before = self.get(target);
        let after = change.applied(before);
        if after == before {
            return Ok(false);
        }
        let mut said = self.said.clone();
        if after == Override::default() {
            said.remove(target);
        } else {
            said.insert(target.clone(), after);
        }
        file::write(&self.folder, &said)?;
        self.said = said;
        Ok(true)
    }

    /// What is said of the configured backends.
    pub fn resolve(&self, model: &Model) -> BTreeMap<BackendKey, Override> {
        let mut services: BTreeMap<&str, BTreeMap<&str, Override>> = BTreeMap::new();
        for (Target { service, backend }, said) in &self.said {
            services.entry(service).or_default().insert(backend, *said);
        }
        let mut resolved = BTreeMap::new();
        for service in &model.services {
            let Some(said) = services.get(&*service.name) else {
                continue;
            };
            for backend in &service.backends {
                if let Some(said) = said.get(&*backend.name) {
                    resolved.insert(service.key(backend), *said);
                }
            }
        }
        resolved
    }

    /// Those of whom something is said and who are not configured.
    pub fn absent<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = &'a Target> {
        self.said.keys().filter(|target| !target.is_in(model))
    }
}

impl Change {
    /// The largest weight, the configuration's too.
    pub const MAX_WEIGHT: u16 = 256;

    /// What is said after it, if `before` was said.
    fn applied(self, before: Override) -> Override {
        match self {
            Self::Drain => Override {
                admin: Admin::Draining,
                ..before
            },
            Self::Undrain if before.admin == Admin::Draining => Override {
                admin: Admin::Enabled,
                ..before
            },
            Self::Undrain => before,
            Self::Disable => Override {
                admin: Admin::Disabled,
                ..before
            },
            Self::Enable => Override {
                admin: Admin::Enabled,
                ..before
            },
            Self::Weight(weight) => Override {
                weight: Some(weight),
                ..before
            },
            Self::ResetWeight => Override {
                weight: None,
                ..before
            },
            Self::Reset => Override::default(),
        }
    }

    /// Whether it only takes back what was said: that makes sense for backends that are gone, too.
    pub const fn takes_back(self) -> bool {
        match self {
            Self::Undrain | Self::Enable | Self::ResetWeight | Self::Reset => true,
            Self::Drain | Self::Disable | Self::Weight(_) => false,
        }
    }
}

impl Target {
    /// A configured backend's.
    pub fn of(service: &crate::model::Service, backend: &crate::model::Backend) -> Self {
        Self {
            service: Arc::clone(&service.name),
            backend: backend.name.clone(),
        }
    }

    fn is_in(&self, model: &Model) -> bool {
        let service = model.services.iter().find(|s| s.name == self.service);
        service.is_some_and(|service| service.backends.iter().any(|b| b.name == self.backend))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain => f.write_str("drained"),
            Self::Undrain => f.write_str("no longer drained"),
            Self::Disable => f.write_str("disabled"),
            Self::Enable => f.write_str("enabled"),
            Self::Weight(weight) => write!(f, "weight {weight}"),
            Self::ResetWeight => f.write_str("configured weight again"),
            Self::Reset => f.write_str("as configured again"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.backend)
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((service, backend)) if !service.is_empty() && !backend.is_empty() => Ok(Self {
                service: service.into(),
                backend: backend.into(),
            }),
            _ => Err("write SERVICE/BACKEND, by their names in `sluice status`"),
        }
    }
}

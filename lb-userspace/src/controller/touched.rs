//! Which services the next plan looks at.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    model::Model,
    plan::{self, Image, Scope, Seed},
};

/// Which services the next plan looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// All of them.
    All,
    /// Those of these names.
    Services(BTreeSet<Arc<str>>),
}

impl Touched {
    /// The next plan looks at this service.
    pub(super) fn add(&mut self, service: &Arc<str>) {
        if let Self::Services(names) = self
            && !names.contains(service)
        {
            names.insert(Arc::clone(service));
        }
    }

    /// The next plan looks at everything.
    pub(super) fn all(&mut self) {
        *self = Self::All;
    }

    /// The next plan looks at these as well.
    pub(super) fn join(&mut self, other: Self) {
        match (self, other) {
            (Self::Services(names), Self::Services(more)) => names.extend(more),
            (all, _) => *all = Self::All,
        }
    }

    /// With those whom that concerns beside them.
    pub(super) fn widened(mut self, model: &Model, seed: &Seed, image: &Image) -> Self {
        if let Self::Services(names) = &mut self {
            plan::widen(names, model, seed, image);
        }
        self
    }

    pub(super) const fn scope(&self) -> Scope<'_> {
        match self {
            Self::All => Scope::All,
            Self::Services(names) => Scope::Services(names),
        }
    }
}

impl Default for Touched {
    fn default() -> Self {
        Self::Services(BTreeSet::new())
    }
}

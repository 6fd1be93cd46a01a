//! Where a plan put services and backends that a setup names by their number.

use anyhow::{Context as _, Result};
use lb_common::abi::{
    service::ServiceId,
    slot::{LocalBackend, NO_BACKEND},
};
use lb_userspace::{
    model::Model,
    plan::{BackendIndex, Endpoint, Image, Range},
};

use super::{keys, setup::Setup};

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    services: Vec<Seat>,
}

#[derive(Clone, Debug)]
struct Seat {
    id: ServiceId,
    range: Range,
    locals: Vec<LocalBackend>,
}

impl Seats {
    /// Looks everything up.
    pub(super) fn of(setup: &Setup, model: &Model, image: &Image) -> Result<Self> {
        let services = setup.services.iter().zip(&model.services);
        let services = services.map(|(wanted, service)| {
            let id = image
                .service_ids()
                .find(|id| {
                    let listens = |listener| keys::service_of(image, listener) == Some(*id);
                    service.listeners.iter().all(listens)
                })
                .with_context(|| format!("service {} is not published", service.name))?;
            let held = image.service(id).context("no record")?;
            let range = Range::backends(&held.record);
            let local = |address, port| {
                let is_there = |local: &LocalBackend| {
                    let entry = range.backend(*local).and_then(|index| image.backend(index));
                    entry.map(Endpoint::of_entry) == Some(Endpoint { address, port })
                };
                range
                    .locals()
                    .find(is_there)
                    .with_context(|| format!("{address} has no seat"))
            };
            let locals = wanted.backends.iter().map(|b| local(b.address, b.port));
            Ok(Seat {
                id,
                range,
                locals: locals.collect::<Result<_>>()?,
            })
        });
        Ok(Self {
            services: services.collect::<Result<_>>()?,
        })
    }

    /// The id of a service.
    pub(super) fn service(&self, number: usize) -> ServiceId {
        self.services[number].id
    }

    /// What slots and flow entries name a backend by. Numbers of nobody stay what they are.
    pub(super) fn local(&self, service: usize, number: u16) -> LocalBackend {
        let place = match number {
            0 | NO_BACKEND => None,
            number => Some(usize::from(number) - 1),
        };
        let seat = self.services.get(service);
        seat.and_then(|seat| seat.locals.get(place?).copied())
            .unwrap_or(number)
    }

    /// The range of a service's backends.
    pub(super) fn range(&self, service: usize) -> Range {
        self.services[service].range
    }

    /// The index of a service's backend, as its counters have it.
    pub(super) fn index(&self, service: usize, local: LocalBackend) -> Option<BackendIndex> {
        self.services[service].range.backend(local)
    }
}

/// The MAC address of the next hop of the backend with this index.
pub(super) fn mac(BackendIndex(index): BackendIndex) -> [u8; 6] {
    let [.., high, low] = index.to_be_bytes();
    [2, 0, 0, 7, high, low]
}

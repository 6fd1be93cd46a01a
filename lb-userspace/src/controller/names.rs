//! The names that people know of what slots and flow entries refer to by number.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr};

use lb_common::abi::{
    backend::{Backend as Entry, BackendState},
    service::{ServiceId, ServiceRecord},
    slot::LocalBackend,
};

use crate::{
    model::{Model, Service},
    plan::{Endpoint, Image, Range},
};

/// Who has a backend's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Occupant {
    /// How often the place was given away before.
    pub(super) generation: u16,
    /// The backend's name; the address of one that left the configuration.
    pub(super) name: String,
}

/// The names of what entries refer to.
pub(super) struct Names<'a> {
    image: &'a Image,
    services: BTreeMap<ServiceId, &'a Service>,
    /// Found before: flows are many, backends few.
    backends: RefCell<BTreeMap<(ServiceId, LocalBackend), Option<Occupant>>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(image: &'a Image, model: &'a Model) -> Self {
        let services = model.services.iter();
        Self {
            image,
            services: services
                .filter_map(|service| Some((image.service_id(service)?, service)))
                .collect(),
            backends: RefCell::default(),
        }
    }

    /// The service that listens at an address.
    pub(super) fn service(
        &self,
        protocol: u8,
        destination: SocketAddr,
    ) -> Option<(&'a Service, ServiceRecord)> {
        let id = self.image.service_at(destination, protocol)?;
        let record = self.image.service(id)?.record;
        Some((self.services.get(&id)?, record))
    }

    /// The backend that a service's slots or entries name; `None`: its place is free.
    pub(super) fn entry(&self, record: &ServiceRecord, local: LocalBackend) -> Option<&'a Entry> {
        let entry = self
            .image
            .backend(Range::backends(record).backend(local)?)?;
        let in_use = BackendState(entry.state).is_in_use() && entry.service == record.service;
        in_use.then_some(entry)
    }

    /// The same by name.
    pub(super) fn backend(&self, record: &ServiceRecord, local: LocalBackend) -> Option<Occupant> {
        let find = || {
            let entry = self.entry(record, local)?;
            let endpoint = Endpoint::of_entry(entry);
            let service = self.services.get(&record.service);
            let backends = service.map(|s| s.backends.as_slice()).unwrap_or_default();
            let named = backends.iter().find(|b| Endpoint::from(*b) == endpoint);
            let name = named.map_or_else(|| endpoint.to_string(), |b| b.name.to_string());
            Some(Occupant {
                generation: entry.generation,
                name,
            })
        };
        let mut known = self.backends.borrow_mut();
        known
            .entry((record.service, local))
            .or_insert_with(find)
            .clone()
    }
}

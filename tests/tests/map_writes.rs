//! The daemon writes what changed and nothing else: counted by itself, and seen in the maps.

use std::ops::Range;

use anyhow::Result;
use lb_common::abi::{
    backend::Backend as Entry,
    names,
    service::{ServiceRecord, ServiceRef},
    slot::Slot,
};
use testbed::{
    cli::stderr,
    config::{Backend, Config, Service},
    pinned,
    site::Site,
    status::{Plans, Status},
    topology::{Topology, VIP},
};

/// Slots of the service that is changed; no other has as few.
const SHOP: u32 = 509;
/// Enough for all tables, and few to read.
const SLOTS: u32 = 65_536;

/// A change of the configuration.
type Change = Box<dyn FnOnce(&mut Config)>;

/// What the maps hold that packets are steered by.
struct Maps {
    slots: Vec<Slot>,
    backends: Vec<Entry>,
    services: Vec<ServiceRef>,
    records: Vec<ServiceRecord>,
}

impl Maps {
    fn of(site: &Site) -> Result<Self> {
        Ok(Self {
            slots: pinned::slots(&site.daemon)?,
            backends: pinned::array(&site.daemon, names::BACKENDS)?,
            services: pinned::array(&site.daemon, names::SERVICES)?
                .into_iter()
                .map(ServiceRef)
                .collect(),
            records: pinned::array(&site.daemon, names::RECORDS)?,
        })
    }

    /// The record in force of the service with [`SHOP`] slots.
    fn shop(&self) -> ServiceRecord {
        let places = self.services.iter().map(|record| record.place());
        let mut records = places.map(|place| self.records[place as usize]);
        let found = records.find(|record| record.slots_count == SHOP);
        found.expect("the shop is published")
    }
}

/// Where two tables differ.
fn differences<T: PartialEq>(before: &[T], after: &[T]) -> Vec<usize> {
    assert_eq!(before.len(), after.len());
    let pairs = before.iter().zip(after).enumerate();
    let changed = pairs.filter(|(_, (one, other))| one != other);
    changed.map(|(index, _)| index).collect()
}

fn range(first: u32, count: u32) -> Range<usize> {
    first as usize..(first + count) as usize
}

fn all_in(indices: &[usize], range: &Range<usize>) -> bool {
    indices.iter().all(|index| range.contains(index))
}

/// `web`, `udp` and `shop`, the last with two backends of its own and no health check. What they are
/// checked by is so patient that a busy machine changes nothing.
fn three_services(config: &mut Config) {
    config.limits.slots = Some(SLOTS);
    config.web().health[0].fall = 100;
    config.add_udp();
    let away: Vec<_> = config.web().backends.iter().map(other_port).collect();
    config.services.push(Service {
        table_size: SHOP,
        backends: away[..2].to_vec(),
        ..Service::new("shop", &format!("tcp://{}:8080", VIP.ip()))
    });
}

/// The same host at a port where nobody asks.
fn other_port(backend: &Backend) -> Backend {
    let address = backend.address.replace(":80", ":8080");
    Backend::new(&backend.name, address)
}

fn shop(config: &mut Config) -> &mut Service {
    config.services.last_mut().expect("three services")
}

/// A site at rest: nothing about it is going to change by itself.
fn site() -> Result<Option<(Site, Status)>> {
    let Some(site) = Site::build_until(&Topology::builder(), three_services, |status| {
        let serves = |service: &str| status.service(service).backends.iter().all(|b| b.slots > 0);
        ["web", "udp", "shop"].into_iter().all(serves)
    })?
    else {
        return Ok(None);
    };
    let status = site.daemon.status()?;
    Ok(Some((site, status)))
}

fn reload(site: &Site) -> Result<Status> {
    let output = site.daemon.reload()?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    site.daemon.status()
}

/// What was written between two statuses.
fn between(before: &Status, after: &Status) -> Plans {
    let (before, after) = (&before.plans, &after.plans);
    Plans {
        applied: after.applied - before.applied,
        writes: after.writes - before.writes,
        slots_written: after.slots_written - before.slots_written,
        slots_moved: after.slots_moved - before.slots_moved,
        barriers: after.barriers - before.barriers,
    }
}

#[test]
fn an_unchanged_reload_writes_nothing() -> Result<()> {
    let Some((site, before)) = site()? else {
        return Ok(());
    };
    assert!(before.plans.applied > 0 && before.plans.writes > 0);
    let programs = site.programs()?;
    for round in 1..=3 {
        let after = reload(&site)?;
        assert_eq!(after.config.generation, before.config.generation + round);
        assert_eq!(after.plans, before.plans);
    }
    assert_eq!(
        site.programs()?,
        programs,
        "no program took another's place"
    );
    Ok(())
}

#[test]
fn a_changed_weight_writes_slots_of_its_service_alone() -> Result<()> {
    let Some((mut site, before)) = site()? else {
        return Ok(());
    };
    let maps = Maps::of(&site)?;
    site.daemon
        .set_config(|config| shop(config).backends[1].weight = 3)?;
    let after = reload(&site)?;

    let written = between(&before, &after);
    assert_eq!(written.applied, 1);
    assert!(written.slots_moved > 0 && written.slots_moved < SHOP.into());
    assert_eq!(written.slots_written, written.slots_moved);
    assert!(written.writes <= written.slots_written, "{written:?}");

    let now = Maps::of(&site)?;
    let ServiceRecord {
        slots_first,
        slots_count,
        ..
    } = now.shop();
    let moved = differences(&maps.slots, &now.slots);
    assert_eq!(moved.len() as u64, written.slots_moved);
    assert!(
        all_in(&moved, &range(slots_first, slots_count)),
        "{moved:?}"
    );
    assert!(differences(&maps.backends, &now.backends).is_empty());
    assert!(differences(&maps.services, &now.services).is_empty());
    assert!(differences(&maps.records, &now.records).is_empty());
    Ok(())
}

#[test]
fn a_backend_that_comes_and_goes_writes_its_own_entry_and_its_services_slots() -> Result<()> {
    let Some((mut site, mut before)) = site()? else {
        return Ok(());
    };
    let third = other_port(&site.daemon.config().services[0].backends[2]);
    let comes = |config: &mut Config| shop(config).backends.push(third);
    let goes = |config: &mut Config| shop(config).backends.truncate(2);
    let changes: [Change; 2] = [Box::new(comes), Box::new(goes)];
    for change in changes {
        let maps = Maps::of(&site)?;
        site.daemon.set_config(change)?;
        // Its next hop may be found only after the reload.
        reload(&site)?;
        let after = site
            .daemon
            .wait_until("its slots", testbed::daemon::START, |status| {
                status.service("shop").backends.iter().all(|b| b.slots > 0)
            })?;

        let written = between(&before, &after);
        assert!(written.slots_moved > 0 && written.slots_moved < SHOP.into());
        assert_eq!(written.slots_written, written.slots_moved);
        let now = Maps::of(&site)?;
        let record = now.shop();
        let moved = differences(&maps.slots, &now.slots);
        let table = range(record.slots_first, record.slots_count);
        assert!(!moved.is_empty() && all_in(&moved, &table), "{moved:?}");
        let entries = differences(&maps.backends, &now.backends);
        let own = range(record.backends_first, record.backends_count);
        assert!(entries.len() == 1 && all_in(&entries, &own), "{entries:?}");
        before = after;
    }
    Ok(())
}

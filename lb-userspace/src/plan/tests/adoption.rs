//! Maps of a daemon that died.

use std::collections::BTreeMap;

use lb_common::{
    abi::{
        backend::Backend,
        reply::ReplyV4,
        service::{ServiceId, ServiceRecord, ServiceRef},
        slot::Slot,
    },
    endian::{Be16, Be32, Be128},
};
use proptest::{collection::vec, prelude::*};

use super::{
    fixture::{all_up, key, model, service, view},
    world::World,
};
use crate::{
    model::{Health, HealthCheck, Model, Probe},
    plan::{
        AdoptError, Desired, Image, Progress, RawMaps, ReplyTarget, Scope, Seed, VipKey, reconcile,
    },
};

fn two_services() -> Model {
    model(vec![
        service("a", &["10.9.0.1:80"], &["10.0.0.1:80", "10.0.0.2:80"]),
        service("b", &["10.9.0.2:80"], &["10.0.0.3:80"]),
    ])
}

#[test]
fn what_is_read_back_is_what_was_written_and_needs_nothing() {
    let model = two_services();
    let mut world = World::new(&model);
    world.reach(&model, &all_up(&model));
    assert_eq!(world.read_back(), world.image);
    world.image = world.read_back();
    assert!(world.plan(&model, &all_up(&model)).unwrap().is_empty());
}

#[test]
fn empty_maps_give_an_empty_image() {
    assert_eq!(World::new(&two_services()).read_back(), Image::default());
}

#[test]
fn the_last_known_health_takes_nothing_out() {
    let mut model = two_services();
    model.services[0].health = Some(HealthCheck {
        probe: Probe::Tcp,
        interval: std::time::Duration::from_secs(1),
        timeout: std::time::Duration::from_secs(1),
        rise: 1,
        fall: 1,
    });
    let mut views = all_up(&model);
    views.insert(key("a", "10.0.0.2:80"), view(Health::Down));
    let mut world = World::new(&model);
    world.reach(&model, &views);

    let known = world.read_back().last_known(&model, Scope::All);
    assert_eq!(known[&key("a", "10.0.0.1:80")].health, Health::Up);
    assert_eq!(known[&key("a", "10.0.0.2:80")].health, Health::Unknown);
    assert_eq!(known[&key("b", "10.0.0.3:80")].health, Health::Unchecked);
    assert!(world.plan(&model, &known).unwrap().is_empty());
}

#[test]
fn an_entry_that_a_dead_daemon_left_is_freed_behind_a_barrier() {
    let model = two_services();
    let mut world = World::new(&model);
    let plan = world.plan(&model, &all_up(&model)).unwrap();
    world.apply(&plan, 2);
    world.image = world.read_back();
    assert_eq!(world.image.backends_in_use().count(), 1);

    let nothing = super::fixture::model(Vec::new());
    let plan = world.reach(&nothing, &all_up(&nothing));
    assert_eq!(plan.phases.len(), 2);
    assert!(plan.phases[0].0.is_empty());
    assert_eq!(world.image.backends_in_use().count(), 0);
}

#[derive(Clone)]
struct Maps {
    vips: BTreeMap<VipKey, ServiceId>,
    services: Vec<ServiceRef>,
    records: Vec<ServiceRecord>,
}

impl Maps {
    /// Service 0 with record 1, 16 slots and 8 backends.
    fn valid() -> Self {
        let mut records = vec![ServiceRecord::default(); 4];
        records[1] = Self::record(0, 0);
        let vip = VipKey::new("0.0.0.1".parse().unwrap(), 80, 6);
        Self {
            vips: BTreeMap::from([(vip, ServiceId(0))]),
            services: vec![ServiceRef::record(1), ServiceRef::NONE],
            records,
        }
    }

    fn record(service: u32, first: u32) -> ServiceRecord {
        ServiceRecord {
            slots_first: first,
            slots_count: 16,
            backends_first: first,
            backends_count: 8,
            service: ServiceId(service),
            ..ServiceRecord::default()
        }
    }

    fn adopt(&self) -> Result<Image, AdoptError> {
        Image::from_maps(RawMaps {
            vips: self.vips.clone(),
            services: &self.services,
            records: &self.records,
            slots: &[Slot::UNSET; 64],
            backends: &[Backend::default(); 64],
            replies: BTreeMap::new(),
        })
    }
}

#[test]
fn maps_that_contradict_themselves_are_refused() {
    let refused = |spoil: fn(&mut Maps)| {
        let mut maps = Maps::valid();
        assert!(maps.adopt().is_ok());
        spoil(&mut maps);
        maps.adopt().unwrap_err()
    };
    assert!(matches!(
        refused(|maps| maps.services[0] = ServiceRef::NONE),
        AdoptError::VipWithoutService { .. }
    ));
    assert!(matches!(
        refused(|maps| maps.records[1].service = ServiceId(7)),
        AdoptError::NoRecord { reference: 2, .. }
    ));
    assert!(matches!(
        refused(|maps| maps.services[0] = ServiceRef((1 << 32) + 2)),
        AdoptError::NoRecord { .. }
    ));
    assert!(matches!(
        refused(|maps| maps.records[1].slots_first = u32::MAX),
        AdoptError::OutOfRange { map: "slots", .. }
    ));
    assert!(matches!(
        refused(|maps| maps.records[1].backends_count = 0),
        AdoptError::OutOfRange {
            map: "backends",
            ..
        }
    ));
    assert!(matches!(
        refused(|maps| {
            maps.services[1] = ServiceRef::record(0);
            maps.records[0] = Maps::record(1, 15);
        }),
        AdoptError::Shared { map: "slots", .. }
    ));
}

/// Small numbers mostly, so that many of them are in range.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0_u32..12, 1 => any::<u32>()]
}

fn any_record() -> impl Strategy<Value = ServiceRecord> {
    (vec(word(), 5), any::<[u8; 2]>()).prop_map(|(words, [forward, tracking])| ServiceRecord {
        slots_first: words[0],
        slots_count: words[1],
        backends_first: words[2],
        backends_count: words[3],
        service: ServiceId(words[4] % 4),
        forward,
        tracking,
        ..ServiceRecord::default()
    })
}

fn any_backend() -> impl Strategy<Value = Backend> {
    (word(), word(), word(), any::<[u16; 2]>()).prop_map(
        |(address, state, service, [generation, port])| {
            let mut entry = Backend {
                state,
                generation,
                port: Be16::new(if port % 2 == 0 { 80 } else { port }),
                service: ServiceId(service),
                ..Backend::default()
            };
            entry.address = Be128::from_leading(Be32::new(0x0a00_0000_u32.wrapping_add(address)));
            entry
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_bytes_give_an_error_or_an_image_that_plans_to_what_is_wanted(
        services in vec(word(), 4),
        records in vec(any_record(), 6),
        slots in vec(any::<u32>().prop_map(|slot| Slot(slot & 0x0007_0007)), 24),
        backends in vec(any_backend(), 24),
        vip_service in word(),
    ) {
        let model = two_services();
        let vip = VipKey::new("10.9.0.1".parse().unwrap(), 80, 6);
        let services: Vec<ServiceRef> =
            services.into_iter().map(|word| ServiceRef(u64::from(word))).collect();
        let image = Image::from_maps(RawMaps {
            vips: BTreeMap::from([(vip, ServiceId(vip_service))]),
            services: &services,
            records: &records,
            slots: &slots,
            backends: &backends,
            replies: BTreeMap::from([(vip, ReplyTarget::V4(ReplyV4::default()))]),
        });
        let Ok(mut image) = image else { return Ok(()) };
        let (views, seed) = (all_up(&model), Seed::derive(None));
        let desired = Desired { model: &model, views: &views, overrides: &BTreeMap::new(), seed: &seed, progress: Progress::none(), scope: Scope::All };
        let plan = reconcile(&desired, &image).unwrap();
        plan.writes().for_each(|write| image.apply(write));
        prop_assert!(reconcile(&desired, &image).unwrap().is_empty());
        prop_assert!(image.service_ids().count() == 2);
        prop_assert!(image.backends_in_use().count() == 3);
        for service in &model.services {
            let status = image.status(service).unwrap();
            prop_assert_eq!(status.backends.len(), service.backends.len());
        }
    }
}

//! A new seed, or another part of flows that is hashed, takes the old one's place like a table of another
//! size does.

use std::net::Ipv4Addr;

use lb_common::{
    abi::service::{ServiceRecord, hash},
    endian::Be32,
    hash::HashKey,
};

use super::{
    fixture::{all_up, model, service},
    world::World,
};
use crate::{
    model::{FlowHash, Model, Tracking},
    plan::{Limit, PlanError, Range, Seed},
};

fn web() -> Model {
    let backends = ["10.0.0.1:80", "10.0.0.2:80"];
    model(vec![service("web", &["10.9.0.1:80"], &backends)])
}

fn key(seed: &str) -> HashKey {
    Seed::derive(Some(seed)).flow
}

/// A world in which `model` is in force with the seed `one`.
fn running(model: &Model) -> World {
    let mut world = World::new(model);
    reseed(&mut world, model, "one");
    world
}

fn reseed(world: &mut World, model: &Model, seed: &str) {
    world.seed = Seed::derive(Some(seed));
    world.reach(model, &all_up(model));
}

fn record(world: &World, model: &Model) -> ServiceRecord {
    world.image.status(&model.services[0]).unwrap().record
}

/// All windows are over, and the plan after that is carried out.
fn wait(world: &mut World, model: &Model) {
    world.wait_for_everything(model);
    world.reach(model, &all_up(model));
}

#[test]
fn a_new_seed_leaves_the_old_table_for_a_window() {
    let model = web();
    let mut world = running(&model);
    let before = record(&world, &model);
    assert_eq!(before.hash_key, key("one"));
    assert_eq!(before.old_hash_key, HashKey::default());

    reseed(&mut world, &model, "two");
    let during = record(&world, &model);
    assert_eq!(
        (during.hash_key, during.old_hash_key),
        (key("two"), key("one"))
    );
    assert_eq!(Range::old_slots(&during), Range::slots(&before));
    assert_eq!(during.slots_count, 61);
    let slots = world.image.status(&model.services[0]).unwrap().slots;
    assert_eq!(slots.tracked, 61);

    wait(&mut world, &model);
    let after = record(&world, &model);
    assert_eq!(
        (after.hash_key, after.old_hash_key),
        (key("two"), HashKey::default())
    );
    assert_eq!(
        (after.slots_first, after.old_slots_count),
        (during.slots_first, 0)
    );
    wait(&mut world, &model);
    let slots = world.image.status(&model.services[0]).unwrap().slots;
    assert_eq!(slots.stable, 61);
}

#[test]
fn a_new_seed_and_another_size_are_one_change() {
    let mut model = web();
    let mut world = running(&model);
    model.services[0].table_size = 127;
    reseed(&mut world, &model, "two");
    let record = record(&world, &model);
    assert_eq!(
        (record.hash_key, record.old_hash_key),
        (key("two"), key("one"))
    );
    assert_eq!((record.slots_count, record.old_slots_count), (127, 61));
}

#[test]
fn another_hash_leaves_the_old_table_for_a_window() {
    let source = |prefix_ipv4| FlowHash::Source {
        prefix_ipv4,
        prefix_ipv6: 64,
    };
    let mut model = web();
    let mut world = running(&model);
    let masks = |record: ServiceRecord| {
        let mask = |mask: Be32| Ipv4Addr::from(mask).to_bits().leading_ones();
        (
            mask(record.source_mask_ipv4),
            mask(record.old_source_mask_ipv4),
        )
    };
    let mut before = record(&world, &model);
    for (hash, modes, prefixes) in [
        (source(24), (hash::SOURCE, hash::FIVE_TUPLE), (24, 0)),
        (source(16), (hash::SOURCE, hash::SOURCE), (16, 24)),
        (
            FlowHash::FiveTuple,
            (hash::FIVE_TUPLE, hash::SOURCE),
            (0, 16),
        ),
    ] {
        model.services[0].hash = hash;
        world.reach(&model, &all_up(&model));
        let during = record(&world, &model);
        assert_eq!((during.hash, during.old_hash), modes);
        assert_eq!(masks(during), prefixes);
        assert_eq!(Range::old_slots(&during), Range::slots(&before));
        assert_eq!(during.old_hashing(), before.hashing());
        wait(&mut world, &model);
        before = record(&world, &model);
        assert_eq!(before.hashing(), during.hashing());
        assert_eq!(before.old_hashing(), Default::default());
        wait(&mut world, &model);
    }
}

#[test]
fn the_next_seed_waits_for_the_window_of_this_one() {
    let model = web();
    let mut world = running(&model);
    reseed(&mut world, &model, "two");
    let during = record(&world, &model);
    reseed(&mut world, &model, "three");
    let keys = |record: ServiceRecord| (record.hash_key, record.old_hash_key);
    assert_eq!(keys(record(&world, &model)), keys(during));
    wait(&mut world, &model);
    let next = record(&world, &model);
    assert_eq!(keys(next), (key("three"), key("two")));
    assert_eq!(Range::old_slots(&next), Range::slots(&during));
}

#[test]
fn a_service_that_is_never_tracked_takes_a_new_seed_at_once() {
    let mut model = web();
    model.services[0].connections.tracking = Tracking::Never;
    let mut world = running(&model);
    reseed(&mut world, &model, "two");
    let record = record(&world, &model);
    assert_eq!(
        (record.hash_key, record.old_hash_key),
        (key("two"), HashKey::default())
    );
    assert_eq!(record.old_slots_count, 0);
    let slots = world.image.status(&model.services[0]).unwrap().slots;
    assert_eq!(slots.stable, 61);
}

/// A change needs a second range, and one that waits for another a third.
#[test]
fn a_new_seed_without_room_is_refused_when_it_is_asked_for() {
    let mut model = web();
    // 61 slots are four rows of 16.
    for (rows, refused) in [(4, Some("two")), (8, Some("three")), (12, None)] {
        model.limits.slots = rows * 16;
        let mut world = running(&model);
        let mut found = None;
        for name in ["two", "three"] {
            world.seed = Seed::derive(Some(name));
            match world.plan(&model, &all_up(&model)) {
                Ok(_) => reseed(&mut world, &model, name),
                Err(error) => {
                    let text = error.to_string();
                    assert!(
                        matches!(
                            error,
                            PlanError::Full {
                                limit: Limit::Slots,
                                ..
                            }
                        ),
                        "{text}"
                    );
                    found = found.or(Some(name));
                }
            }
        }
        assert_eq!(found, refused, "{rows} rows");
    }
}

#[test]
fn a_daemon_that_adopts_with_a_new_seed_leaves_the_old_table_for_a_window() {
    let model = web();
    let mut world = running(&model);
    world.image = world.read_back();
    world.was_adopted = true;
    reseed(&mut world, &model, "two");
    let record = record(&world, &model);
    assert_eq!(
        (record.hash_key, record.old_hash_key),
        (key("two"), key("one"))
    );
}

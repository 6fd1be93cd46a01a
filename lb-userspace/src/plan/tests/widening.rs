//! Whom a plan for some services has to look at beside them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    fixture::{all_up, model, service},
    world::World,
};
use crate::{
    model::Model,
    plan::{Scope, widen},
};

/// Two services, the second with two backends, and a drain that takes a minute.
fn two() -> Model {
    let mut model = model(vec![
        service("a", &["10.9.0.1:80"], &["10.0.0.1:80"]),
        service("b", &["10.9.0.2:80"], &["10.0.1.1:80", "10.0.1.2:80"]),
    ]);
    for service in &mut model.services {
        service.connections.drain_timeout = Duration::from_secs(60);
    }
    model
}

fn running(model: &Model) -> World {
    let mut world = World::new(model);
    world.reach(model, &all_up(model));
    world
}

fn widened(names: &[&str], model: &Model, world: &World) -> BTreeSet<Arc<str>> {
    let mut names = self::names(names);
    widen(&mut names, model, &world.seed, &world.image);
    names
}

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn who_has_a_backend_that_leaves_is_asked_for_it() {
    let mut model = two();
    let mut world = running(&model);
    let leaver = model.services[1].backends.remove(1);
    world.reach(&model, &all_up(&model));
    assert_eq!(widened(&["a"], &model, &world), names(&["a"]));

    model.services[0].backends.push(leaver);
    let both = widened(&["a"], &model, &world);
    assert_eq!(both, names(&["a", "b"]));
    let views = all_up(&model);
    let plan = world.plan_for(Scope::Services(&both), &model, &views);
    world.apply(&plan.unwrap(), usize::MAX);
    world.check_reached(&model, &views);
}

#[test]
fn who_waits_for_a_table_keeps_its_room_while_another_takes_one() {
    let mut model = two();
    let mut world = running(&model);
    assert_eq!(widened(&["a"], &model, &world), names(&["a"]));
    // The second change of each waits until the first one is over.
    for size in [67, 127] {
        for service in &mut model.services {
            service.table_size = size;
        }
        world.reach(&model, &all_up(&model));
    }
    assert_eq!(widened(&["a"], &model, &world), names(&["a", "b"]));
    assert_eq!(widened(&[], &model, &world), names(&[]));
}

//! One change at a time.

use std::{collections::BTreeSet, time::Duration};

use lb_common::abi::{
    backend::{BackendState, NextHop},
    slot::Slot,
};

use super::{
    fixture::{all_up, backend, key, model, service, view},
    world::World,
};
use crate::{
    model::{Admin, Health, Model, OnDeath, Override},
    plan::{Desired, Limit, PlanError, Scope, ServiceProgress, Write, reconcile},
};

const VIP: &str = "10.9.0.1:80";

fn web(backends: &[&str]) -> Model {
    model(vec![service("web", &[VIP], backends)])
}

/// A world in which `model` is in force and everything is up.
fn running(model: &Model) -> World {
    let mut world = World::new(model);
    world.reach(model, &all_up(model));
    world
}

fn kind(write: &Write) -> &'static str {
    match write {
        Write::Backend { .. } => "backend",
        Write::BackendState { state, .. } if state.is_dead() => "dead",
        Write::BackendState { state, .. } if state.is_in_use() => "alive",
        Write::BackendState { .. } => "free",
        Write::NextHop { .. } => "next hop",
        Write::Tunnel { .. } => "tunnel",
        Write::ResetCounters { .. } => "reset",
        Write::Record { .. } => "record",
        Write::Slots { .. } => "slots",
        Write::Publish { .. } => "publish",
        Write::InsertVip { .. } => "+vip",
        Write::DeleteVip { .. } => "-vip",
        Write::InsertReply { .. } => "+reply",
        Write::DeleteReply { .. } => "-reply",
    }
}

/// The kinds of a plan's writes, repeated ones once, `|` for a barrier.
fn outline(plan: &crate::plan::Plan) -> String {
    let phases = plan.phases.iter().map(|phase| {
        let mut kinds: Vec<&str> = phase.0.iter().map(kind).collect();
        kinds.dedup();
        kinds.join(" ")
    });
    phases.collect::<Vec<_>>().join(" | ")
}

#[test]
fn a_new_service_is_built_before_it_is_reached() {
    let model = web(&["10.0.0.1:80"]);
    let plan = World::new(&model).plan(&model, &all_up(&model)).unwrap();
    assert_eq!(
        outline(&plan),
        "reset backend +reply record slots publish +vip"
    );
    assert_eq!(plan.summary().slots_moved, 0);
}

#[test]
fn a_removed_service_stops_being_reached_before_it_is_taken_apart() {
    let mut world = running(&web(&["10.0.0.1:80"]));
    let plan = world.reach(&model(Vec::new()), &all_up(&model(Vec::new())));
    assert_eq!(outline(&plan), "-vip | publish -reply | record free");
}

#[test]
fn a_death_is_a_flag_and_then_slots_without_any_barrier() {
    let model = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    let mut world = running(&model);
    let mut views = all_up(&model);
    views.insert(key("web", "10.0.0.1:80"), view(Health::Down));
    let plan = world.reach(&model, &views);
    assert_eq!(outline(&plan), "dead slots");
    assert!((30..=31).contains(&plan.summary().slots_moved));

    let plan = world.reach(&model, &all_up(&model));
    assert_eq!(outline(&plan), "alive slots");
}

#[test]
fn when_nobody_is_left_slots_stay_and_flags_drop() {
    let model = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    let mut world = running(&model);
    let mut views = all_up(&model);
    for view in views.values_mut() {
        view.health = Health::Down;
    }
    assert_eq!(outline(&world.reach(&model, &views)), "dead");
    let plan = world.reach(&model, &all_up(&model));
    assert_eq!(outline(&plan), "alive");
}

#[test]
fn a_fresh_service_without_a_healthy_backend_has_no_slots() {
    let model = web(&["10.0.0.1:80"]);
    let mut world = World::new(&model);
    world.reach(&model, &Default::default());
    let status = world.image.status(&model.services[0]).unwrap();
    assert_eq!(status.slots.unset, 61);
    let held = world.image.service(status.id).unwrap();
    assert!(held.slots.iter().all(|slot| *slot == Slot::UNSET));
    let entry = status.backends.values().next().unwrap();
    assert!(entry.state.is_dead());
    assert_eq!(entry.state.0 & BackendState::IN_USE, BackendState::IN_USE);
}

#[test]
fn a_backend_gets_no_slot_before_it_is_reached_and_keeps_them_when_its_neighbour_is_lost() {
    let model = web(&["10.0.0.1:80"]);
    let address = key("web", "10.0.0.1:80");
    let mut world = World::new(&model);
    let mut views = all_up(&model);
    views.get_mut(&address).unwrap().next_hop = None;
    world.reach(&model, &views);
    let unset = |world: &World| world.image.status(&model.services[0]).unwrap().slots.unset;
    assert_eq!(unset(&world), 61);

    views.get_mut(&address).unwrap().next_hop = Some(NextHop::new([2, 0, 0, 0, 0, 9], 2));
    assert_eq!(outline(&world.reach(&model, &views)), "next hop slots");
    assert_eq!(unset(&world), 0);

    views.get_mut(&address).unwrap().next_hop = None;
    assert!(world.plan(&model, &views).unwrap().is_empty());
    views.get_mut(&address).unwrap().next_hop = Some(NextHop::UNRESOLVED);
    assert!(world.plan(&model, &views).unwrap().is_empty());
}

#[test]
fn a_backend_comes_and_goes_while_the_others_stay_where_they_are() {
    let two = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    let three = web(&["10.0.0.3:80", "10.0.0.2:80", "10.0.0.1:80"]);
    let mut world = running(&two);
    let before = world.image.backend_indices(&two);

    let plan = world.reach(&three, &all_up(&three));
    assert_eq!(outline(&plan), "reset backend +reply slots");
    let during = world.image.backend_indices(&three);
    assert!(before.iter().all(|(key, index)| during[key] == *index));

    let plan = world.reach(&two, &all_up(&two));
    assert_eq!(outline(&plan), "slots dead | -reply | free");
    assert_eq!(world.image.backend_indices(&two), before);
}

#[test]
fn an_index_used_again_has_another_generation_and_never_in_the_same_plan() {
    let (a, b) = (web(&["10.0.0.1:80"]), web(&["10.0.0.2:80"]));
    let mut world = running(&a);
    let first = world.image.backend_indices(&a)[&key("web", "10.0.0.1:80")];
    world.reach(&b, &all_up(&b));
    let second = world.image.backend_indices(&b)[&key("web", "10.0.0.2:80")];
    assert_ne!(first, second);
    world.reach(&a, &all_up(&a));
    assert_eq!(
        world.image.backend_indices(&a)[&key("web", "10.0.0.1:80")],
        first
    );
    assert_eq!(world.image.backend(first).unwrap().generation, 1);
}

#[test]
fn a_weight_of_zero_gives_up_the_slots_and_stays_alive() {
    let mut model = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    let mut world = running(&model);
    model.services[0].backends[0].weight = 0;
    let plan = world.reach(&model, &all_up(&model));
    assert_eq!(outline(&plan), "alive slots");
}

#[test]
fn another_table_size_is_published_at_once() {
    let mut model = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    let mut world = running(&model);
    model.services[0].table_size = 127;
    let plan = world.reach(&model, &all_up(&model));
    assert_eq!(outline(&plan), "record slots publish | record");
    let status = world.image.status(&model.services[0]).unwrap();
    assert_eq!(
        (status.slots.tracked, status.record.old_slots_count),
        (127, 61)
    );

    // The next size waits for the window of this one.
    model.services[0].table_size = 31;
    assert!(world.reach(&model, &all_up(&model)).is_empty());
    world.wait_for_everything(&model);
    let plan = world.reach(&model, &all_up(&model));
    assert_eq!(outline(&plan), "record slots publish | record");
    world.wait_for_everything(&model);
    let plan = world.reach(&model, &all_up(&model));
    assert_eq!(outline(&plan), "record publish | record");
    world.wait_for_everything(&model);
    assert_eq!(outline(&world.reach(&model, &all_up(&model))), "slots");
    let status = world.image.status(&model.services[0]).unwrap();
    assert_eq!(
        (status.slots.stable, status.record.old_slots_count),
        (31, 0)
    );
}

#[test]
fn a_service_that_outgrows_its_range_keeps_slots_replies_and_generations() {
    let addresses: Vec<String> = (1..=9).map(|n| format!("10.0.0.{n}:80")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let with = |backends: &[&str]| {
        model(vec![
            service("web", &[VIP], backends),
            service("next", &["10.9.0.2:80"], &["10.0.1.1:80"]),
        ])
    };
    let mut world = running(&with(&addresses[..8]));
    let nine = with(&addresses);
    let plan = world.reach(&nine, &all_up(&nine));
    // The neighbour's range is in the way, so all eight move, and slots wait for a barrier.
    assert_eq!(
        outline(&plan)
            .replace("reset backend ", "")
            .replace("reset backend", ""),
        "+reply record publish | slots | record free"
    );
    let moved = plan.summary().slots_moved;
    assert!((6..20).contains(&moved), "{moved}");
}

#[test]
fn a_service_with_free_room_behind_it_grows_in_place() {
    let addresses: Vec<String> = (1..=9).map(|n| format!("10.0.0.{n}:80")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut world = running(&web(&addresses[..8]));
    let nine = web(&addresses);
    let plan = world.reach(&nine, &all_up(&nine));
    assert_eq!(
        outline(&plan),
        "reset backend +reply record publish | slots | record"
    );
}

#[test]
fn a_listener_comes_and_goes() {
    let with = |listen: &[&str]| model(vec![service("web", listen, &["10.0.0.1", "10.0.0.2"])]);
    let (one, two) = (with(&[VIP]), with(&[VIP, "10.9.0.1:443"]));
    let mut world = running(&one);
    assert_eq!(outline(&world.reach(&two, &all_up(&two))), "+reply +vip");
    // The empty phase behind the last barrier: elements of the hash maps may be used again.
    assert_eq!(
        outline(&world.reach(&one, &all_up(&one))),
        "-vip | -reply | "
    );
}

#[test]
fn a_listener_that_changes_hands_is_deleted_first() {
    let (other, backends) = ("10.9.0.1:443", &["10.0.0.1"]);
    let one = model(vec![service("web", &[VIP, other], backends)]);
    let two = model(vec![
        service("web", &[VIP], backends),
        service("tls", &[other], &["10.0.0.2:443"]),
    ]);
    let mut world = running(&one);
    let plan = world.reach(&two, &all_up(&two));
    assert_eq!(
        outline(&plan),
        "reset backend +reply record slots publish -vip | +vip | -reply | "
    );
}

#[test]
fn a_backend_that_changes_hands_gets_its_slots_after_its_reply() {
    let with = |a: &[&str], b: &[&str]| {
        model(vec![
            service("a", &[VIP], a),
            service("b", &["10.9.0.2:80"], b),
        ])
    };
    let before = with(&["10.0.0.1:80", "10.0.0.2:80"], &["10.0.0.3:80"]);
    let after = with(&["10.0.0.1:80"], &["10.0.0.2:80", "10.0.0.3:80"]);
    let mut world = running(&before);
    let plan = world.reach(&after, &all_up(&after));
    assert_eq!(
        outline(&plan),
        "reset backend slots dead | -reply | +reply slots | free"
    );
}

#[test]
fn renaming_and_reordering_change_nothing() {
    let (vips, backends) = ([VIP, "10.9.0.2:81"], ["10.0.0.1", "10.0.0.2"]);
    let mut world = running(&model(vec![
        service("a", &vips[..1], &backends[..1]),
        service("b", &vips[1..], &backends),
    ]));
    let other = model(vec![
        service("c", &vips[1..], &["10.0.0.2", "10.0.0.1"]),
        service("d", &vips[..1], &backends[..1]),
    ]);
    assert!(world.reach(&other, &all_up(&other)).is_empty());
}

#[test]
fn a_full_limit_names_the_service_and_writes_nothing() {
    let mut model = web(&["10.0.0.1:80"]);
    model.services[0].table_size = 4099;
    let error = World::new(&model).plan(&model, &all_up(&model));
    let error = error.unwrap_err();
    assert!(matches!(
        &error,
        PlanError::Full {
            limit: Limit::Slots,
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.starts_with("service web: no room for 4099 slots, with limits.slots = 2048"),
        "{text}"
    );
}

#[test]
fn a_range_without_room_to_spare_is_better_than_none() {
    let mut model = web(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    model.limits.backends = 3;
    running(&model);
    model.services[0].backends.push(backend("10.0.0.4:80"));
    let error = World::new(&model)
        .plan(&model, &all_up(&model))
        .unwrap_err();
    assert!(matches!(
        error,
        PlanError::Full {
            limit: Limit::Backends,
            needed: 4,
            have: 3,
            ..
        }
    ));
}

#[test]
fn replies_that_would_stand_for_two_vips_are_refused() {
    let model = model(vec![
        service("a", &[VIP], &["10.0.0.1:80"]),
        service("b", &["10.9.0.2:80"], &["10.0.0.1:80"]),
    ]);
    let error = World::new(&model)
        .plan(&model, &all_up(&model))
        .unwrap_err();
    assert!(matches!(error, PlanError::ReplyTaken { port: 80, .. }));
}

#[test]
fn replies_of_the_other_family_are_refused() {
    for model in [
        model(vec![service("a", &["[fd77::1]:80"], &["10.0.0.1:80"])]),
        model(vec![service("a", &[VIP], &["[fd77::1]:80"])]),
    ] {
        let error = World::new(&model)
            .plan(&model, &all_up(&model))
            .unwrap_err();
        assert!(matches!(error, PlanError::OtherFamily { .. }));
    }
}

#[test]
fn the_status_counts_slots_by_backend() {
    let model = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    let world = running(&model);
    let status = world.image.status(&model.services[0]).unwrap();
    assert_eq!(status.slots.stable, 61);
    let slots: Vec<u32> = status
        .backends
        .values()
        .map(|backend| backend.slots)
        .collect();
    assert_eq!(slots, [31, 30]);
    let other = service("other", &["10.9.9.9:80"], &[]);
    assert_eq!(world.image.status(&other), None);
}

/// The same with a drain of a minute.
fn draining(backends: &[&str]) -> Model {
    let mut model = web(backends);
    model.services[0].connections.drain_timeout = Duration::from_secs(60);
    model
}

fn state(world: &World, index: crate::plan::BackendIndex) -> BackendState {
    BackendState(world.image.backend(index).unwrap().state)
}

#[test]
fn a_backend_that_leaves_keeps_entry_and_replies_until_its_drain_is_over() {
    let (both, one) = (
        draining(&["10.0.0.1:80", "10.0.0.2:80"]),
        draining(&["10.0.0.1:80"]),
    );
    let mut world = running(&both);
    let index = world.image.backend_indices(&both)[&key("web", "10.0.0.2:80")];
    assert_eq!(outline(&world.reach(&one, &all_up(&one))), "alive slots");
    let status = world.image.status(&one.services[0]).unwrap();
    assert_eq!((status.slots.stable, status.slots.transition), (31, 30));
    let flags = BackendState::IN_USE | BackendState::NO_NEW_FLOWS;
    assert_eq!(state(&world, index), BackendState::new(flags));

    // It may come back.
    assert_eq!(outline(&world.reach(&both, &all_up(&both))), "alive slots");
    let status = world.image.status(&both.services[0]).unwrap();
    assert_eq!((status.slots.stable, status.slots.tracked), (31, 30));

    world.reach(&one, &all_up(&one));
    world.wait_for_everything(&one);
    let plan = world.reach(&one, &all_up(&one));
    assert_eq!(outline(&plan), "slots dead | -reply | free");
    assert!(!state(&world, index).is_in_use());
}

#[test]
fn the_operator_wins_over_the_file() {
    let model = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    let mut world = running(&model);
    let one = key("web", "10.0.0.1:80");
    let said = |admin, weight| Override { admin, weight };
    world
        .overrides
        .insert(one.clone(), said(Admin::Draining, None));
    assert_eq!(
        outline(&world.reach(&model, &all_up(&model))),
        "alive slots"
    );
    world
        .overrides
        .insert(one.clone(), said(Admin::Disabled, Some(7)));
    assert_eq!(outline(&world.reach(&model, &all_up(&model))), "dead");
    world.overrides.insert(one, said(Admin::Enabled, Some(3)));
    assert_eq!(
        outline(&world.reach(&model, &all_up(&model))),
        "alive slots"
    );
    let status = world.image.status(&model.services[0]).unwrap();
    assert!((45..=46).contains(&status.backends.values().next().unwrap().slots));
}

#[test]
fn where_all_are_drained_nobody_gets_new_flows_and_everybody_keeps_theirs() {
    let mut model = web(&["10.0.0.1:80"]);
    let mut world = running(&model);
    model.services[0].backends[0].weight = 0;
    world.reach(&model, &all_up(&model));
    let id = world.image.status(&model.services[0]).unwrap().id;
    let all_are = |world: &World, wanted: Slot| {
        let held = world.image.service(id).unwrap();
        assert!(held.slots.iter().all(|slot| *slot == wanted));
    };
    all_are(&world, Slot::transition(0, 1));
    model.services[0].backends[0].weight = 1;
    world.reach(&model, &all_up(&model));
    all_are(&world, Slot::tracked(1));
}

#[test]
fn a_failed_check_need_not_be_a_death() {
    let mut model = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    model.services[0].connections.on_death = OnDeath::Keep;
    let mut world = World::new(&model);
    let plan = world.plan(&model, &all_up(&model)).unwrap();
    world.apply(&plan, usize::MAX);
    let mut views = all_up(&model);
    views.insert(key("web", "10.0.0.1:80"), view(Health::Down));
    let plan = world.plan(&model, &views).unwrap();
    assert_eq!(outline(&plan), "slots");
}

#[test]
fn a_dead_owner_that_lost_its_claim_loses_it_before_it_comes_back() {
    let model = web(&["10.0.0.1:80", "10.0.0.2:80"]);
    let mut world = running(&model);
    let mut views = all_up(&model);
    views.insert(key("web", "10.0.0.1:80"), view(Health::Down));
    world.reach(&model, &views);
    let status = world.image.status(&model.services[0]).unwrap();
    let new = ServiceProgress {
        disowned: BTreeSet::from([1]),
        ..ServiceProgress::default()
    };
    world.progress.services.insert(status.id, new);
    let plan = world.reach(&model, &all_up(&model));
    assert_eq!(outline(&plan), "slots alive slots");
    let slots = world.image.status(&model.services[0]).unwrap().slots;
    assert_eq!((slots.stable, slots.tracked), (30, 0));
}

#[test]
fn a_plan_over_what_changed_is_the_plan_over_everything() {
    let mut model = model(vec![
        service("a", &[VIP], &["10.0.0.1:80", "10.0.0.2:80"]),
        service("b", &["10.9.0.2:80"], &["10.0.1.1:80", "10.0.1.2:80"]),
    ]);
    for service in &mut model.services {
        service.connections.drain_timeout = Duration::from_secs(60);
    }
    let mut world = running(&model);
    model.services[1].backends.remove(1);
    world.reach(&model, &all_up(&model));
    world.wait_for_everything(&model);
    let mut views = all_up(&model);
    views.insert(key("b", "10.0.1.1:80"), view(Health::Down));
    let names = BTreeSet::from(["b".into()]);
    let desired = Desired {
        model: &model,
        views: &views,
        overrides: &world.overrides,
        seed: &world.seed,
        progress: &world.progress,
        scope: Scope::Services(&names),
    };
    let plan = reconcile(&desired, &world.image).unwrap();
    assert_eq!(plan, world.plan(&model, &views).unwrap());
    // The backend that left is gone, with its reply.
    assert_eq!(
        plan.writes().filter(|write| kind(write) == "free").count(),
        1
    );
    let none = BTreeSet::new();
    let nothing = Desired {
        scope: Scope::Services(&none),
        ..desired
    };
    assert!(reconcile(&nothing, &world.image).unwrap().is_empty());
}

//! From what is wanted and what is there to a plan.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::service::{ServiceId, ServiceRecord, ServiceRef};

use super::{
    alloc::Space,
    capacity::Capacity,
    claims::claim,
    desired::Desired,
    draft::Draft,
    errors::PlanError,
    image::Image,
    index::{BackendIndex, Range, RecordIndex},
    replies::{Replies, Wanted},
    seating,
    stages::Stages,
    vips,
    writes::{Plan, Write},
};

/// Plans the fewest writes that make the maps hold what is wanted: at the start, after adopting, on a
/// reload, when health or a next hop changes, and when time has brought something. Nothing wanted
/// gives an empty plan, and so does planning again after a plan was applied. After a plan that was
/// applied in part, another one over everything finishes the work.
///
/// # Errors
/// A limit is exhausted, or the model holds what cannot be forwarded. Then nothing is to be written.
pub fn reconcile(desired: &Desired<'_>, image: &Image) -> Result<Plan, PlanError> {
    let capacity = Capacity::from(&desired.model.limits);
    let mut space = Space::of(image, capacity);
    let mut stages = Stages::default();
    let claims = claim(desired, image, &mut space)?;
    let mut wanted = Wanted::of(&claims);

    let mut drafts = Vec::with_capacity(claims.len());
    let mut replies = Replies::default();
    for claim in &claims {
        let may_stay = |endpoint| wanted.let_stay(*claim, endpoint);
        let draft = Draft::new(desired, *claim, image, &mut space, may_stay)?;
        replies.want(*claim, &draft.seating)?;
        drafts.push(draft);
    }
    let mut waiting = replies.compare(image, capacity, &mut stages)?;
    replies.unwanted(desired.scope, &drafts, image, &mut stages);
    let moving = drafts.iter().filter(|draft| draft.moves_wait());
    waiting.extend(moving.map(|draft| draft.claim().id));
    if desired.scope.is_all() {
        vips::compare(&claims, &waiting, image, capacity, &mut stages)?;
    }
    for draft in &drafts {
        draft.write(waiting.contains(&draft.claim().id), &mut stages);
    }
    if desired.scope.is_all() {
        free_rest(image, &drafts, &mut stages);
    } else {
        free_replaced(image, &drafts, &mut stages);
    }
    Ok(stages.into_plan())
}

/// Frees whatever is in use and no service has any more.
fn free_rest(image: &Image, drafts: &[Draft<'_>], stages: &mut Stages) {
    let in_force: BTreeMap<ServiceId, RecordIndex> = drafts
        .iter()
        .map(|draft| (draft.claim().id, draft.record_index()))
        .collect();
    for service in image.service_ids().filter(|id| !in_force.contains_key(id)) {
        stages.unpublished.push(Write::Publish {
            service,
            record: ServiceRef::NONE,
        });
    }
    let kept: BTreeSet<RecordIndex> = in_force.into_values().collect();
    for index in image.records().keys().filter(|index| !kept.contains(index)) {
        stages.free_record(*index);
    }
    let seated: Vec<BackendIndex> = drafts.iter().flat_map(Draft::backends).collect();
    seating::free_others(image, None, &seated, stages);
}

/// Frees what the services looked at do not have any more.
fn free_replaced(image: &Image, drafts: &[Draft<'_>], stages: &mut Stages) {
    let held = || {
        drafts
            .iter()
            .filter_map(|draft| Some((draft, draft.held()?)))
    };
    for (draft, held) in held() {
        if held.record_index != draft.record_index() {
            stages.free_record(held.record_index);
        }
    }
    let ranges: Vec<Range> = held()
        .map(|(_, held)| Range::backends(&held.record))
        .collect();
    let seated: Vec<BackendIndex> = drafts.iter().flat_map(Draft::backends).collect();
    seating::free_others(image, Some(&ranges), &seated, stages);
}

impl Stages {
    fn free_record(&mut self, index: RecordIndex) {
        self.frees.push(Write::Record {
            index,
            record: ServiceRecord::default(),
        });
    }
}

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
    index::{BackendIndex, RecordIndex},
    replies::Replies,
    seating,
    stages::Stages,
    vips,
    writes::{Plan, Write},
};

/// Plans the fewest writes that make the maps hold what is wanted: at the start, after adopting, on a
/// reload, and when health or a next hop changes. Nothing wanted gives an empty plan, and so does
/// planning again after a plan was applied. After a plan that was applied in part, another one finishes
/// the work.
///
/// # Errors
/// A limit is exhausted, or the model holds what cannot be forwarded. Then nothing is to be written.
pub fn reconcile(desired: &Desired<'_>, image: &Image) -> Result<Plan, PlanError> {
    let capacity = Capacity::from(&desired.model.limits);
    let mut space = Space::of(image, capacity);
    let mut stages = Stages::default();
    let claims = claim(desired.model, image, &mut space)?;

    let mut drafts = Vec::with_capacity(claims.len());
    let mut replies = Replies::default();
    for claim in &claims {
        let draft = Draft::new(desired, *claim, image, &mut space)?;
        replies.want(*claim, &draft.seating)?;
        drafts.push(draft);
    }
    let mut waiting = replies.compare(image, capacity, &mut stages)?;
    let moving = drafts.iter().filter(|draft| draft.moves_wait());
    waiting.extend(moving.map(|draft| draft.claim().id));
    vips::compare(&claims, &waiting, image, capacity, &mut stages)?;
    for draft in &drafts {
        draft.write(waiting.contains(&draft.claim().id), &mut stages);
    }
    free_rest(image, &drafts, &mut stages);
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
        stages.frees.push(Write::Record {
            index: *index,
            record: ServiceRecord::default(),
        });
    }
    let seated: Vec<BackendIndex> = drafts.iter().flat_map(Draft::backends).collect();
    seating::free_others(image, &seated, stages);
}

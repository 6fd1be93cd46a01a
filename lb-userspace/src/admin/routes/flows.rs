//! `GET /v1/flows`: the tables are read a page at a time, so that the controller never waits for the
//! whole of one.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};

use super::{ApiError, Commands, PATIENCE, ask, asked};
use crate::admin::{
    Command, FlowList, FlowPage, FlowsQuery,
    flows::{Flow, FlowCount, FlowState, MAX_FLOWS},
};

/// Those that are alike.
type Kind = (Option<String>, Option<String>, FlowState);

pub(super) async fn list(
    State(commands): State<Commands>,
    query: Result<Query<FlowsQuery>, QueryRejection>,
) -> Result<Json<FlowList>, ApiError> {
    let query = asked(query)?;
    let limit = query.limit.unwrap_or(MAX_FLOWS).min(MAX_FLOWS) as usize;
    let mut list = FlowList::default();
    let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
    let mut from = None;
    loop {
        let page = ask(&commands, PATIENCE, |reply| Command::Flows {
            query: query.clone(),
            from,
            reply,
        });
        let FlowPage { flows, next } = page.await??;
        if query.count {
            for flow in flows {
                let Flow {
                    service,
                    backend,
                    state,
                    ..
                } = flow;
                *counts.entry((service, backend, state)).or_default() += 1;
            }
        } else {
            list.flows.extend(flows);
        }
        if list.flows.len() > limit {
            list.flows.truncate(limit);
            list.more = true;
            break;
        }
        from = next;
        if from.is_none() {
            break;
        }
    }
    list.counts = counts
        .into_iter()
        .map(|((service, backend, state), flows)| FlowCount {
            service,
            backend,
            state,
            flows,
        })
        .collect();
    Ok(Json(list))
}

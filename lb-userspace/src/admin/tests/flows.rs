//! Flows: read page by page, listed up to a limit or counted.

use super::*;
use crate::admin::flows::{Flow, FlowCount, FlowState, FlowTable};

/// Pages that there are, of 10 flows each but for one that is empty.
const PAGES: u32 = 5;
const EMPTY: u32 = 2;

fn pages(query: &FlowsQuery, from: Option<FlowCursor>) -> Result<FlowPage, Refusal> {
    let page = from.and_then(|from| from.bucket).unwrap_or(0);
    let flow = |n: u32| Flow {
        protocol: "tcp".to_owned(),
        source: format!("192.0.2.1:{}", page * 10 + n),
        destination: "203.0.113.80:80".to_owned(),
        service: query.service.clone(),
        backend: query.backend.clone(),
        state: if n == 0 {
            FlowState::Syn
        } else {
            FlowState::Established
        },
        idle_s: 1,
        table: FlowTable::Transition,
    };
    let flows = if page == EMPTY { 0 } else { 10 };
    Ok(FlowPage {
        flows: (0..flows).map(flow).collect(),
        next: (page + 1 < PAGES).then_some(FlowCursor {
            table: FlowTable::Transition,
            ipv6: false,
            bucket: Some(page + 1),
        }),
    })
}

async fn daemon() -> Daemon {
    let script = Script {
        flows: pages,
        ..Script::default()
    };
    Daemon::start(script, Patience::default()).await
}

fn query(limit: Option<u32>, count: bool) -> FlowsQuery {
    FlowsQuery {
        service: Some("a & b".to_owned()),
        backend: None,
        limit,
        count,
    }
}

#[tokio::test]
async fn every_page_is_read_and_none_twice() {
    let daemon = daemon().await;
    let list = daemon.client().flows(&query(None, false)).await.unwrap();
    let mut sources: Vec<_> = list.flows.iter().map(|flow| &flow.source).collect();
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), 40);
    assert!(!list.more && list.counts.is_empty());
    assert!(
        list.flows
            .iter()
            .all(|flow| flow.service.as_deref() == Some("a & b"))
    );
}

#[tokio::test]
async fn a_limit_cuts_the_list_and_says_so() {
    let daemon = daemon().await;
    for (limit, listed, more) in [(1, 1, true), (39, 39, true), (40, 40, false), (0, 0, true)] {
        let list = daemon.client().flows(&query(Some(limit), false)).await;
        let list = list.unwrap();
        assert_eq!((list.flows.len(), list.more), (listed, more), "{limit}");
    }
}

#[tokio::test]
async fn counts_are_of_all_whatever_the_limit() {
    let daemon = daemon().await;
    let list = daemon.client().flows(&query(Some(1), true)).await.unwrap();
    assert!(list.flows.is_empty() && !list.more);
    let count = |state, flows| FlowCount {
        service: Some("a & b".to_owned()),
        backend: None,
        state,
        flows,
    };
    assert_eq!(
        list.counts,
        [count(FlowState::Syn, 4), count(FlowState::Established, 36)]
    );
}

//! `sluice flows`: the connections that are remembered.

use clap::Args;

use super::{
    Exit, Format, Global, block_on, output,
    table::{dash, table},
};
use crate::admin::{
    FlowList, FlowsQuery,
    flows::{Flow, FlowCount, MAX_FLOWS},
};

/// A screen's worth or two.
const DEFAULT_LIMIT: u32 = 100;

#[derive(Debug, Args)]
pub(super) struct Flows {
    /// Only those of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only those of this backend
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, conflicts_with = "count")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FLOWS)))]
    limit: u32,
    /// Count them by service, backend and state instead
    #[arg(long)]
    count: bool,
}

pub(super) fn run(args: Flows, global: &Global) -> anyhow::Result<Exit> {
    let Flows {
        service,
        backend,
        limit,
        count,
    } = args;
    let query = FlowsQuery {
        service,
        backend,
        limit: Some(limit),
        count,
    };
    let client = global.client();
    let list = block_on(async { Ok(client.flows(&query).await?) })?;
    match global.output {
        Format::Json => output::print_json(&list)?,
        Format::Table if count => output::print(counts(&list.counts))?,
        Format::Table => {
            output::print(listing(&list))?;
            if list.more {
                output::complain(format_args!(
                    "there are more than {limit}: --limit lists more, --count counts them"
                ));
            }
        }
    }
    Ok(Exit::Done)
}

fn listing(list: &FlowList) -> String {
    if list.flows.is_empty() {
        return "no flow is remembered".to_owned();
    }
    let mut table = table(&[
        "PROTOCOL",
        "SOURCE",
        "DESTINATION",
        "SERVICE",
        "BACKEND",
        "STATE",
        ">IDLE",
        "TABLE",
    ]);
    for flow in &list.flows {
        let Flow {
            protocol,
            source,
            destination,
            service,
            backend,
            state,
            idle_s,
            table: kept,
        } = flow;
        table.add_row([
            protocol,
            source,
            destination,
            dash(service),
            dash(backend),
            state.name(),
            &format!("{idle_s}s"),
            kept.name(),
        ]);
    }
    table.trim_fmt()
}

fn counts(counts: &[FlowCount]) -> String {
    if counts.is_empty() {
        return "no flow is remembered".to_owned();
    }
    let mut table = table(&["SERVICE", "BACKEND", "STATE", ">FLOWS"]);
    for count in counts {
        let FlowCount {
            service,
            backend,
            state,
            flows,
        } = count;
        table.add_row([
            dash(service),
            dash(backend),
            state.name(),
            &flows.to_string(),
        ]);
    }
    let sum: u64 = counts.iter().map(|count| count.flows).sum();
    format!("{}\n{sum} in all", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::flows::{FlowState, FlowTable};

    #[test]
    fn flows_are_listed_a_line_each() {
        let mut list = FlowList::default();
        assert_eq!(listing(&list), "no flow is remembered");
        let flow = Flow {
            protocol: "tcp".to_owned(),
            source: "192.0.2.7:40000".to_owned(),
            destination: "203.0.113.80:80".to_owned(),
            service: Some("web".to_owned()),
            backend: Some("web-1".to_owned()),
            state: FlowState::Established,
            idle_s: 3,
            table: FlowTable::Transition,
        };
        list.flows = vec![
            flow.clone(),
            Flow {
                backend: None,
                state: FlowState::Stale,
                idle_s: 1200,
                ..flow
            },
        ];
        insta::assert_snapshot!(listing(&list), @r"
        PROTOCOL  SOURCE           DESTINATION      SERVICE  BACKEND  STATE         IDLE  TABLE
        tcp       192.0.2.7:40000  203.0.113.80:80  web      web-1    established     3s  transition
        tcp       192.0.2.7:40000  203.0.113.80:80  web      -        stale        1200s  transition
        ");
    }

    #[test]
    fn counts_have_a_sum() {
        assert_eq!(counts(&[]), "no flow is remembered");
        let count = |backend: &str, state, flows| FlowCount {
            service: Some("web".to_owned()),
            backend: Some(backend.to_owned()),
            state,
            flows,
        };
        let found = [
            count("web-1", FlowState::Syn, 2),
            count("web-2", FlowState::Closing, 40),
        ];
        insta::assert_snapshot!(counts(&found), @r"
        SERVICE  BACKEND  STATE    FLOWS
        web      web-1    syn          2
        web      web-2    closing     40
        42 in all
        ");
    }
}

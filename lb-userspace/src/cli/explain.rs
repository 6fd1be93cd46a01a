//! `sluice explain tcp|udp SRC:PORT VIP:PORT`: where a connection's packets go and why.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use super::{Exit, Format, Global, block_on, output, table::dash};
use crate::admin::{
    ExplainQuery, Explanation,
    explain::{EntryExplained, PacketExplained, SlotExplained, Transport},
};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Its protocol
    #[arg(value_enum)]
    protocol: Protocol,
    /// The client
    #[arg(value_name = "SRC:PORT")]
    source: SocketAddr,
    /// The service's address
    #[arg(value_name = "VIP:PORT")]
    destination: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// A TCP connection
    Tcp,
    /// A UDP flow
    Udp,
}

pub(super) fn run(args: &Explain, global: &Global) -> anyhow::Result<Exit> {
    let Explain {
        protocol,
        source,
        destination,
    } = args;
    let query = ExplainQuery {
        protocol: match protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
        },
        source: *source,
        destination: *destination,
    };
    let client = global.client();
    let explanation = block_on(async { Ok(client.explain(&query).await?) })?;
    match global.output {
        Format::Json => output::print_json(&explanation)?,
        Format::Table => output::print(text(&explanation))?,
    }
    if explanation.agrees {
        Ok(Exit::Done)
    } else {
        output::complain("sluice: the program does not do what the rules say: this is a bug");
        Ok(Exit::Failed)
    }
}

fn text(explanation: &Explanation) -> String {
    let Explanation {
        connection,
        service,
        tracking,
        slot,
        entry,
        packets,
        agrees: _,
    } = explanation;
    let ExplainQuery {
        protocol,
        source,
        destination,
    } = connection;
    let mut lines = vec![format!("{} {source} to {destination}", protocol.name())];
    match service {
        None => lines.push("service  none listens there".to_owned()),
        Some(name) => lines.push(format!("service  {name}, tracking {}", dash(tracking))),
    }
    if let Some(slot) = slot {
        lines.push(format!("slot     {}", self::slot(slot)));
        if let Some(before) = &slot.before {
            lines.push(format!("before   {}", self::slot(before)));
        }
    }
    match entry {
        Some(EntryExplained {
            table,
            backend,
            state,
            idle_s,
        }) => lines.push(format!(
            "entry    {}, {}, last packet {idle_s}s ago, in the table of {} flows",
            dash(backend),
            state.name(),
            table.name()
        )),
        None if slot.is_some() => lines.push("entry    none".to_owned()),
        None => {}
    }
    for packet in packets {
        let PacketExplained {
            kind,
            backend,
            why,
            remembered,
            verdict,
            program,
            agrees,
        } = packet;
        let to = backend.as_deref().unwrap_or("nobody");
        let remembered = if *remembered { "; remembered" } else { "" };
        lines.push(format!("{} goes to {to}: {why}{remembered}", kind.name()));
        let program = program.as_deref().unwrap_or("nobody");
        lines.push(match agrees {
            Some(true) => format!("  the program agrees ({verdict})"),
            Some(false) => format!("  THE PROGRAM DISAGREES: {program} ({verdict})"),
            None => format!("  the program stops it before that shows ({verdict})"),
        });
    }
    lines.join("\n")
}

fn slot(slot: &SlotExplained) -> String {
    let SlotExplained {
        number,
        of,
        state,
        current,
        previous,
        before: _,
    } = slot;
    let mut text = format!(
        "{number} of {of}, {state}: new connections to {}",
        current.as_deref().unwrap_or("nobody")
    );
    if let Some(previous) = previous {
        text.push_str(&format!(", before that to {previous}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{
        explain::PacketKind,
        flows::{FlowState, FlowTable},
    };

    fn explanation() -> Explanation {
        Explanation {
            connection: ExplainQuery {
                protocol: Transport::Tcp,
                source: "192.0.2.7:40000".parse().unwrap(),
                destination: "203.0.113.80:80".parse().unwrap(),
            },
            service: Some("web".to_owned()),
            tracking: Some("transition".to_owned()),
            slot: Some(SlotExplained {
                number: 7,
                of: 16381,
                state: "transition".to_owned(),
                current: Some("web-2".to_owned()),
                previous: Some("web-1".to_owned()),
                before: None,
            }),
            entry: Some(EntryExplained {
                table: FlowTable::Transition,
                backend: Some("web-1".to_owned()),
                state: FlowState::Established,
                idle_s: 4,
            }),
            packets: vec![PacketExplained {
                kind: PacketKind::Segment,
                backend: Some("web-1".to_owned()),
                why: "its entry says so".to_owned(),
                remembered: false,
                verdict: "redirect".to_owned(),
                program: Some("web-1".to_owned()),
                agrees: Some(true),
            }],
            agrees: true,
        }
    }

    #[test]
    fn it_reads_from_the_connection_to_the_verdict() {
        insta::assert_snapshot!(text(&explanation()), @r"
        tcp 192.0.2.7:40000 to 203.0.113.80:80
        service  web, tracking transition
        slot     7 of 16381, transition: new connections to web-2, before that to web-1
        entry    web-1, established, last packet 4s ago, in the table of transition flows
        any other segment goes to web-1: its entry says so
          the program agrees (redirect)
        ");
    }

    #[test]
    fn a_program_that_disagrees_is_not_overlooked() {
        let mut explanation = explanation();
        explanation.packets[0].program = Some("web-2".to_owned());
        explanation.packets[0].agrees = Some(false);
        let text = text(&explanation);
        assert!(text.contains("THE PROGRAM DISAGREES: web-2"), "{text}");
        explanation.service = None;
        explanation.slot = None;
        explanation.entry = None;
        assert!(self::text(&explanation).contains("service  none listens there"));
    }
}

//! What the packets of a run met: each verdict, each way to a backend, each thing that becomes of a flow
//! entry. A run that met too little says nothing.

use std::collections::BTreeMap;

use lb_common::abi::punt::PUNT_MAX;

use super::setup::{ForwardSetup, Setup};
use crate::model::{
    FlowCount, Outcome, Verdict, World,
    parse::{Ip, Packet},
};

/// How often each was met, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(pub BTreeMap<String, u64>);

/// What every long run meets.
const ALL: [&str; 42] = [
    "pass",
    "rewritten, large",
    "rewritten, no room",
    "transmit",
    "redirect",
    "punt",
    "drop no_backend",
    "drop malformed",
    "drop ttl_expired",
    "drop fragment",
    "drop no_next_hop",
    "drop no_egress",
    "drop too_big",
    "drop martian_source",
    "drop tunnel_too_big",
    "dnat 4",
    "dnat 6",
    "dsr 4",
    "dsr 6",
    "ipip 4 in 4",
    "ipip 4 in 6",
    "ipip 6 in 4",
    "ipip 6 in 6",
    "gue 4 in 4",
    "gue 4 in 6",
    "gue 6 in 4",
    "gue 6 in 6",
    "reply 4",
    "reply 6",
    "punt 4",
    "punt 6",
    "tags 1",
    "tags 2",
    "options",
    "extensions",
    "padding",
    "flow found",
    "flow missed",
    "flow inserted",
    "flow refused",
    "tcp",
    "udp",
];

impl Coverage {
    /// Notes what became of a packet.
    pub(super) fn note(&mut self, setup: &Setup, world: &World, frame: &[u8], outcome: &Outcome) {
        let verdict = match &outcome.verdict {
            Verdict::Pass => "pass".to_owned(),
            Verdict::Transmit => "transmit".to_owned(),
            Verdict::Redirect { .. } => "redirect".to_owned(),
            Verdict::Punt { .. } => "punt".to_owned(),
            Verdict::Drop(reason) => format!("drop {}", reason.name()),
        };
        let is_sent = matches!(
            outcome.verdict,
            Verdict::Transmit | Verdict::Redirect { .. }
        );
        self.count(verdict);
        if outcome.verdict == Verdict::Pass && outcome.frame != frame {
            // What the daemon could not take.
            let is_large = frame.len() > PUNT_MAX;
            self.count(if is_large {
                "rewritten, large"
            } else {
                "rewritten, no room"
            });
        }
        if let Some(FlowCount {
            missed,
            inserted,
            refused,
            ..
        }) = outcome.flow
        {
            self.count(if missed { "flow missed" } else { "flow found" });
            for (is_so, name) in [(inserted, "flow inserted"), (refused, "flow refused")] {
                if is_so {
                    self.count(name);
                }
            }
        }
        let is_punt = matches!(outcome.verdict, Verdict::Punt { .. });
        if !is_sent && !is_punt {
            return;
        }
        let packet = Packet::parse(frame, &world.features).expect("it was sent");
        let family = |is_ipv4| if is_ipv4 { 4 } else { 6 };
        let inner = family(matches!(packet.ip, Ip::V4(_)));
        self.shape(&packet);
        let Some(count) = outcome.backend else {
            self.count(format!(
                "{} {inner}",
                if is_punt { "punt" } else { "reply" }
            ));
            return;
        };
        let backend = world.services[count.service].backend(count.backend);
        let outer = family(backend.is_some_and(|backend| backend.address.is_ipv4()));
        self.count(match setup.services[count.service].forward {
            ForwardSetup::Dnat => format!("dnat {inner}"),
            ForwardSetup::Dsr => format!("dsr {inner}"),
            ForwardSetup::Ipip => format!("ipip {inner} in {outer}"),
            ForwardSetup::Gue(_) => format!("gue {inner} in {outer}"),
        });
    }

    fn shape(&mut self, packet: &Packet) {
        let Packet {
            link,
            ip,
            is_first_fragment: _,
            transport,
            padding,
        } = packet;
        if !link.tags.is_empty() {
            self.count(format!("tags {}", link.tags.len()));
        }
        let (options, extensions) = match ip {
            Ip::V4(header) => (!header.options.is_empty(), false),
            Ip::V6(header) => (false, !header.extensions.is_empty()),
        };
        for (is_so, name) in [
            (options, "options"),
            (extensions, "extensions"),
            (!padding.is_empty(), "padding"),
            (transport.protocol == 6, "tcp"),
            (transport.protocol == 17, "udp"),
        ] {
            if is_so {
                self.count(name);
            }
        }
    }

    fn count(&mut self, name: impl Into<String>) {
        let Self(all) = self;
        *all.entry(name.into()).or_default() += 1;
    }

    /// What was not met.
    pub fn missing(&self) -> Vec<&'static str> {
        let Self(met) = self;
        ALL.into_iter()
            .filter(|name| !met.contains_key(*name))
            .collect()
    }
}

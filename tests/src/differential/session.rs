//! Program and model side by side, packet by packet.

use std::collections::BTreeMap;

use anyhow::Result;
use lb_common::abi::{
    counters::{Counter, DropReason},
    flow::TICKS,
};
use lb_userspace::dataplane::{IpVersion, Table, Walked};

use super::{
    bridge, clock,
    coverage::Coverage,
    keys,
    rig::{Ran, Rig, counter_of, table},
    setup::Setup,
    site::{Side, Site},
};
use crate::model::{
    self, Arrival, BackendCount, FlowCount, Outcome, Reason, Verdict, World,
    flows::{Entry, Which},
    parse::Packet,
    world::FlowTuple,
};

/// `enum xdp_action` of linux/bpf.h.
mod action {
    pub(super) const DROP: u32 = 1;
    pub(super) const PASS: u32 = 2;
    pub(super) const TX: u32 = 3;
    pub(super) const REDIRECT: u32 = 4;
}

/// A setup, in the maps and in the model.
pub struct Session<'a> {
    site: &'a Site,
    setup: Setup,
    rig: Rig<'a>,
    world: World,
    unclear: bool,
}

/// Program and model do not agree.
#[derive(Clone, Debug)]
pub struct Difference {
    /// In what, a word each.
    pub kinds: Vec<&'static str>,
    /// All that there is to say, in lines.
    pub report: String,
}

impl<'a> Session<'a> {
    /// Puts a setup into the maps and into the model. To be called inside the site's host, as everything
    /// here. `None`: the configuration is not valid.
    pub fn new(site: &'a Site, setup: &Setup) -> Result<Option<Self>> {
        let Some(rig) = Rig::new(site, setup)? else {
            return Ok(None);
        };
        let world = bridge::world(site, setup, &rig)?;
        Ok(Some(Self {
            site,
            setup: setup.clone(),
            rig,
            world,
            unclear: false,
        }))
    }

    /// Judges one packet twice, and notes what it met.
    pub fn check(
        &mut self,
        side: Side,
        frame: &[u8],
        coverage: &mut Coverage,
    ) -> Result<Option<Difference>> {
        let tick = clock::settled();
        // The copy is the program for frames in one buffer, and takes it that the daemon has room.
        let Setup {
            program,
            punts_are_read,
            asks_first,
            ..
        } = self.setup;
        let mut found = Found::default();
        let asked = if asks_first && punts_are_read && !program.takes_several_buffers() {
            let answer = self.rig.ask(side, frame)?;
            // It has changed nothing: the flow's entry is still the one that the model has.
            if let Ok(packet) = Packet::parse(frame, &self.world.features) {
                self.compare_entries(&packet.tuple(), &mut found)?;
            }
            Some(answer)
        } else {
            None
        };
        let ran = self.rig.run(side, frame)?;
        if clock::tick() != tick {
            // Which tick did the program see?
            self.unclear = true;
            return Ok(None);
        }
        self.world.tick = tick % u64::from(TICKS);
        let arrival = Arrival {
            interface: self.site.device(side).ifindex,
            frame: frame.to_vec(),
        };
        let outcome = model::judge(&mut self.world, &arrival);
        coverage.note(&self.setup, &self.world, frame, &outcome);

        self.compare(&outcome, &ran, &mut found);
        // A copy that writes nothing takes as remembered what it could not remember.
        let refused = outcome.flow.is_some_and(|count| count.refused);
        if let Some((action, counter, frame)) = asked.filter(|_| !refused) {
            found.equal("answer", &expected(&outcome.verdict), &(action, counter));
            found.equal("frame of the answer", &outcome.frame, &frame);
        }
        if let Some(count) = outcome.flow {
            let packet = Packet::parse(frame, &self.world.features);
            let tuple = packet.expect("it was steered").tuple();
            self.compare_entries(&tuple, &mut found)?;
            self.compare_refusal(count, tick, &mut found)?;
        }
        Ok(found.difference(side, frame, &outcome, &ran))
    }

    /// Compares the flow tables as they are.
    pub fn check_tables(&self) -> Result<Option<Difference>> {
        if self.unclear {
            return Ok(None);
        }
        let mut lines = Vec::new();
        for which in [Which::Transition, Which::Always] {
            let actual = self.entries(which)?;
            let store = match which {
                Which::Transition => &self.world.flows.transition,
                Which::Always => &self.world.flows.always,
            };
            let halves = [&store.ipv4, &store.ipv6];
            let expected: BTreeMap<_, _> = halves
                .into_iter()
                .flat_map(|half| half.entries.iter().map(|(flow, entry)| (*flow, *entry)))
                .collect();
            for (flow, entry) in &expected {
                if actual.get(flow) != Some(entry) {
                    lines.push(format!(
                        "{which:?} {flow:?}: model {entry:?}, program {:?}",
                        actual.get(flow)
                    ));
                }
            }
            for (flow, entry) in actual
                .iter()
                .filter(|(flow, _)| !expected.contains_key(flow))
            {
                lines.push(format!("{which:?} {flow:?}: program alone {entry:?}"));
            }
        }
        Ok((!lines.is_empty()).then(|| Difference {
            kinds: vec!["tables"],
            report: lines.join("\n"),
        }))
    }

    fn compare(&self, outcome: &Outcome, ran: &Ran, found: &mut Found) {
        let (action, counter) = expected(&outcome.verdict);
        let counted = BTreeMap::from([(counter.index(), [1])]);
        found.equal(
            "verdict",
            &(action, counted),
            &(ran.action, ran.verdicts.clone()),
        );
        found.equal("frame", &outcome.frame, &ran.frame);

        let backends = outcome.backend.map(|count| {
            let BackendCount {
                service,
                backend,
                bytes,
                new_flow,
            } = count;
            let index = self.rig.seats().index(service, backend);
            (
                index.map_or(u32::MAX, |index| index.0),
                [1, bytes, u64::from(new_flow)],
            )
        });
        let backends: BTreeMap<_, _> = backends.into_iter().collect();
        found.equal("backend counters", &backends, &ran.backends);

        let flows = outcome.flow.map(|count| {
            let FlowCount {
                service,
                missed,
                inserted,
                refused,
            } = count;
            let id = counter_of(self.rig.seats().service(service));
            (id, [true, missed, inserted, refused].map(u64::from))
        });
        let flows: BTreeMap<_, _> = flows.into_iter().collect();
        let actual = ran.flows.iter();
        let actual = actual.map(|(id, [looked, missed, made, refused, _])| {
            (*id, [*looked, *missed, *made, *refused])
        });
        found.equal("flow counters", &flows, &actual.collect());

        if !self.setup.punts_are_read {
            return;
        }
        match (&outcome.verdict, &ran.punts[..]) {
            (Verdict::Punt { packet }, [punt]) => {
                let punt = punt.get(..packet.len()).unwrap_or(punt);
                found.equal("punt", &packet[..], punt);
            }
            (Verdict::Punt { .. }, punts) => found.equal("punts", &1, &punts.len()),
            (_, punts) => found.equal("punts", &0, &punts.len()),
        }
    }

    fn compare_entries(&self, tuple: &FlowTuple, found: &mut Found) -> Result<()> {
        let Some(key) = keys::key_of(tuple) else {
            return Ok(());
        };
        let flows = &self.world.flows;
        for (which, store) in [
            (Which::Transition, &flows.transition),
            (Which::Always, &flows.always),
        ] {
            let entry = self.rig.dataplane().flow(self::which(which), &key)?;
            let actual = entry.map(keys::entry_of);
            found.equal("entry", &store.get(tuple), &actual.as_ref());
        }
        Ok(())
    }

    fn compare_refusal(&self, count: FlowCount, tick: u64, found: &mut Found) -> Result<()> {
        if count.refused {
            let service = self.rig.seats().service(count.service);
            let stamp = self.rig.dataplane().flow_counters(service)?.last_refused;
            found.equal("last refusal", &tick, &stamp);
        }
        Ok(())
    }

    /// Whether a packet fell between two ticks, so that nothing can be said any more.
    pub const fn is_unclear(&self) -> bool {
        self.unclear
    }

    fn entries(&self, which: Which) -> Result<BTreeMap<FlowTuple, Entry>> {
        let mut entries = BTreeMap::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let walked = Walked {
                table: self::which(which),
                version,
            };
            let mut from = None;
            loop {
                let batch = self.rig.dataplane().flows(walked, from, 256)?;
                let read = batch.entries.iter();
                entries
                    .extend(read.map(|(key, entry)| (keys::tuple_of(key), keys::entry_of(*entry))));
                match batch.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        Ok(entries)
    }
}

/// What does not agree, so far.
#[derive(Default)]
struct Found {
    kinds: Vec<&'static str>,
    lines: Vec<String>,
}

impl Found {
    fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(
        &mut self,
        kind: &'static str,
        expected: &T,
        actual: &T,
    ) {
        if expected != actual {
            self.kinds.push(kind);
            // Frames are shown beside each other at the end.
            if !kind.starts_with("frame") {
                self.lines
                    .push(format!("{kind}: model {expected:?}, program {actual:?}"));
            }
        }
    }

    fn difference(
        self,
        side: Side,
        frame: &[u8],
        outcome: &Outcome,
        ran: &Ran,
    ) -> Option<Difference> {
        if self.kinds.is_empty() {
            return None;
        }
        let mut report = format!(
            "differs in {}\nmodel: {:?}\nprogram: action {}, counted {:?}\n{}\n",
            self.kinds.join(", "),
            outcome.verdict,
            ran.action,
            ran.verdicts,
            self.lines.join("\n")
        );
        report += &format!(
            "came in by {} ({} bytes):\n{}",
            side.name(),
            frame.len(),
            super::show::frame(frame)
        );
        if outcome.frame != ran.frame {
            report += &crate::packets::difference(&outcome.frame, &ran.frame);
        }
        Some(Difference {
            kinds: self.kinds,
            report,
        })
    }
}

/// What the program returns, and what it counts.
fn expected(verdict: &Verdict) -> (u32, Counter) {
    match verdict {
        Verdict::Pass => (action::PASS, Counter::PASS),
        Verdict::Transmit => (action::TX, Counter::TX),
        Verdict::Redirect { .. } => (action::REDIRECT, Counter::REDIRECT),
        Verdict::Punt { .. } => (action::DROP, Counter::PUNT),
        Verdict::Drop(reason) => (action::DROP, dropped(*reason)),
    }
}

/// The counter of a reason, found by its name. One that the program does not know counts nowhere.
fn dropped(reason: Reason) -> Counter {
    let is_same = |of: &DropReason| of.name() == reason.name();
    let of = DropReason::ALL.into_iter().find(is_same);
    Counter::dropped(of.unwrap_or(DropReason::NoBackend))
}

const fn which(which: Which) -> Table {
    match which {
        Which::Transition => table(false),
        Which::Always => table(true),
    }
}

//! A fixture: a packet, and all that must become of it.

use std::{collections::BTreeMap, iter};

use self::action::{DROP, PASS, REDIRECT, TX};
use anyhow::{Context, Result};
use lb_common::abi::counters::{BackendCounters, Counter, DropReason};

use super::{Bed, Outcome, Side, show};

/// `enum xdp_action` of linux/bpf.h.
pub(super) mod action {
    pub(in crate::packets) const DROP: u32 = 1;
    pub(in crate::packets) const PASS: u32 = 2;
    pub(in crate::packets) const TX: u32 = 3;
    pub(in crate::packets) const REDIRECT: u32 = 4;
}

/// One packet and what must become of it.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// What it shows.
    pub name: &'static str,
    /// Where the packet comes in.
    pub from: Side,
    /// The packet.
    pub packet: Vec<u8>,
    /// What must become of it.
    pub expect: Expect,
}

/// All that must become of a packet.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Where it goes.
    pub outcome: Outcome,
    /// Its bytes then; `None`: as before.
    pub frame: Option<Vec<u8>>,
    /// The backend whose counters it adds to, and what.
    pub counted: Option<(&'static str, BackendCounters)>,
}

impl Expect {
    /// The packet is not changed and adds to no backend.
    pub const fn untouched(outcome: Outcome) -> Self {
        Self {
            outcome,
            frame: None,
            counted: None,
        }
    }
}

impl Fixture {
    /// The packet is left to the kernel as it came in.
    pub const fn passed(name: &'static str, from: Side, packet: Vec<u8>) -> Self {
        Self {
            name,
            from,
            packet,
            expect: Expect::untouched(Outcome::Pass),
        }
    }

    /// The packet, from a client, is dropped as it came in.
    pub const fn dropped(name: &'static str, packet: Vec<u8>, reason: DropReason) -> Self {
        Self {
            name,
            from: Side::Front,
            packet,
            expect: Expect::untouched(Outcome::Drop(reason)),
        }
    }

    /// The same of a packet that came in on this side.
    pub fn coming_from(mut self, side: Side) -> Self {
        self.from = side;
        self
    }

    /// The same with bytes behind the packet, which stay there.
    pub fn padded(mut self, padding: &[u8]) -> Self {
        self.packet.extend(padding);
        if let Some(frame) = &mut self.expect.frame {
            frame.extend(padding);
        }
        self
    }

    /// The same with other bytes, which are left as they are. `behind`: from the first of them to the end.
    ///
    /// # Panics
    /// Where there are not so many.
    pub fn replaced(mut self, behind: usize, bytes: &[u8]) -> Self {
        for frame in iter::once(&mut self.packet).chain(&mut self.expect.frame) {
            let at = frame.len() - behind;
            frame[at..at + bytes.len()].copy_from_slice(bytes);
        }
        self
    }

    /// Runs the packet and compares verdict, bytes and the whole counter table.
    ///
    /// # Panics
    /// Where anything differs, with both packets.
    pub fn check(&self, bed: &mut Bed) -> Result<()> {
        let Self {
            name,
            from,
            packet,
            expect,
        } = self;
        let ran = bed
            .run(*from, packet)
            .with_context(|| format!("fixture {name}"))?;
        let (action, counter) = match expect.outcome {
            Outcome::Pass => (PASS, Counter::PASS),
            Outcome::Transmit => (TX, Counter::TX),
            Outcome::Redirect => (REDIRECT, Counter::REDIRECT),
            Outcome::Drop(reason) => (DROP, Counter::dropped(reason)),
            Outcome::Punt => (DROP, Counter::PUNT),
        };
        assert_eq!(
            (ran.action, &ran.counters),
            (action, &BTreeMap::from([(counter, 1)])),
            "{name}: expected {:?} of {}",
            expect.outcome,
            show::describe(packet)
        );
        let wanted = expect.frame.as_ref().unwrap_or(packet);
        assert!(
            ran.frame == *wanted,
            "{name}: other bytes\n{}",
            show::difference(wanted, &ran.frame)
        );
        let counted: BTreeMap<_, _> = expect
            .counted
            .iter()
            .map(|(name, change)| ((*name).to_owned(), *change))
            .collect();
        assert_eq!(
            ran.backends,
            counted,
            "{name}: backend counters of {}",
            show::describe(packet)
        );
        Ok(())
    }
}

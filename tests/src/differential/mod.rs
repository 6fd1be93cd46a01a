//! The program against the model: random configurations, random packets, judged by both.
//!
//! [`draw`] makes a [`setup`] (configuration and state of the tables) and packets ([`recipe`],
//! [`mutation`]) out of a seed. A [`session`] has the setup twice: in the maps of a loaded program
//! ([`rig`], on the host of [`site`]) and in the model's world ([`bridge`]). After each packet verdict,
//! bytes, every counter and the flow's entries must agree. Where they do not, [`shrink`] makes the case
//! smaller, and it becomes a [`fixture`].

mod bridge;
mod clock;
mod counters;
pub mod coverage;
pub mod draw;
pub mod fixture;
mod keys;
pub mod mutation;
pub mod recipe;
mod rig;
mod seats;
pub mod session;
pub mod setup;
mod show;
pub mod shrink;
pub mod site;

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use self::{
    coverage::Coverage,
    fixture::{Fixture, PacketFile},
    recipe::Recipe,
    session::{Difference, Session},
    setup::Setup,
    site::{Side, Site},
};

/// A packet and where it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The interface.
    pub side: Side,
    /// The packet.
    pub recipe: Recipe,
}

/// A setup and packets for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The setup.
    pub setup: Setup,
    /// The packets, in their order.
    pub steps: Vec<Step>,
}

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Everything follows from it.
    pub seed: u64,
    /// Packets in all.
    pub packets: u64,
    /// Packets a setup.
    pub each: u64,
    /// How long a difference is made smaller.
    pub patience: Duration,
}

/// What was compared.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Setups that were run.
    pub setups: u64,
    /// Setups whose configuration was not valid.
    pub refused: u64,
    /// Setups that were left early: a packet fell between two ticks of the program's clock.
    pub unclear: u64,
    /// Packets.
    pub packets: u64,
    /// What they met.
    pub coverage: Coverage,
    /// Time spent on setups.
    pub preparing: Duration,
    /// Time spent on packets.
    pub running: Duration,
}

/// The first case in which program and model differ, made small.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which setup of the run it was.
    pub number: u64,
    /// The case.
    pub case: Case,
    /// The difference.
    pub difference: Difference,
}

/// Compares program and model on random packets, setup by setup, until they differ.
pub fn compare(site: &Site, amount: Amount, tally: &mut Tally) -> Result<Option<Failure>> {
    let mut inside = || -> Result<Option<Failure>> {
        let mut number = 0;
        while tally.packets < amount.packets {
            if let Some(failure) = setup_of(site, amount, number, tally)? {
                return Ok(Some(failure));
            }
            number += 1;
        }
        Ok(None)
    };
    site.host().run(|| {
        stay()?;
        inside()
    })
}

/// Stays on this processor: budgets of flow entries are each processor's own.
fn stay() -> Result<()> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &here)?)
}

/// Compares program and model on one setup of a run, and its packets.
fn setup_of(
    site: &Site,
    amount: Amount,
    number: u64,
    tally: &mut Tally,
) -> Result<Option<Failure>> {
    let begin = Instant::now();
    let mut rng = Rng::with_seed(amount.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let setup = draw::setup(&mut rng);
    let session = Session::new(site, &setup).with_context(|| format!("setup {number}"))?;
    let Some(mut session) = session else {
        tally.refused += 1;
        return Ok(None);
    };
    tally.setups += 1;
    tally.preparing += begin.elapsed();

    let begin = Instant::now();
    let mut steps = Vec::new();
    let mut different = None;
    for _ in 0..amount.each {
        let (side, recipe) = draw::packet(&mut rng, &setup);
        different = session.check(side, &recipe.frame(), &mut tally.coverage)?;
        tally.packets += 1;
        steps.push(Step { side, recipe });
        if different.is_some() || session.is_unclear() {
            break;
        }
    }
    tally.unclear += u64::from(session.is_unclear());
    if different.is_none() {
        different = session.check_tables()?;
    }
    tally.running += begin.elapsed();
    drop(session);
    let Some(difference) = different else {
        return Ok(None);
    };
    let (case, difference) =
        shrink::shrink(site, amount.patience, Case { setup, steps }, difference)?;
    Ok(Some(Failure {
        number,
        case,
        difference,
    }))
}

/// Runs every fixture that there is. Gives the names of those in which program and model differ, with
/// the difference.
pub fn replay(site: &Site) -> Result<Vec<(String, Difference)>> {
    let fixtures = fixture::all()?;
    let inside = || -> Result<_> {
        stay()?;
        let mut different = Vec::new();
        for (name, fixture) in &fixtures {
            let found = replay_one(site, fixture).with_context(|| format!("fixture {name}"))?;
            different.extend(found.map(|difference| (name.clone(), difference)));
        }
        Ok(different)
    };
    site.host().run(inside)
}

fn replay_one(site: &Site, fixture: &Fixture) -> Result<Option<Difference>> {
    let session = Session::new(site, &fixture.setup)?;
    let mut session = session.context("a configuration that is not valid")?;
    for packet in &fixture.packets {
        let (side, frame) = packet.read()?;
        if let Some(difference) = session.check(side, &frame, &mut Coverage::default())? {
            return Ok(Some(difference));
        }
    }
    session.check_tables()
}

impl Failure {
    /// The case as a fixture.
    pub fn fixture(&self, about: &str) -> Fixture {
        Fixture {
            about: about.to_owned(),
            setup: self.case.setup.clone(),
            packets: self
                .case
                .steps
                .iter()
                .map(|step| PacketFile::new(step.side, &step.recipe.frame()))
                .collect(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            case,
            difference,
        } = self;
        writeln!(f, "setup {number}: program and model differ")?;
        writeln!(f, "{:#?}", case.setup)?;
        for Step { side, recipe } in &case.steps {
            writeln!(f, "by {}: {recipe:?}", side.name())?;
        }
        write!(f, "{}", difference.report)
    }
}

impl Tally {
    /// Packets a second, without what setups cost.
    pub fn rate(&self) -> f64 {
        self.packets as f64 / self.running.as_secs_f64().max(1e-9)
    }
}

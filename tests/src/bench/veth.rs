//! `veth`: packets a second from end to end.
//!
//! ```text
//! generator ─veth─> the program under test ─veth─> sink
//! ```
//!
//! The generator is a program that the kernel runs on live frames; it writes every header field of
//! each. The sink counts, checks and drops. The program under test is Sluice's, attached to both
//! interfaces, or a bare relay that redirects everything, measured in turns. Generator, program and
//! sink share a CPU, as the packets of a queue do; with two CPUs there are two of each.

use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lb_common::bench::Tally;

use crate::{
    cases::TWO_PORTS,
    ends::{Arriving, Ends},
    figure::{Figure, Goal, Part, Spread},
    progress::Progress,
    world::World,
};

/// How long the last frames may be on their way.
const ARRIVAL: Duration = Duration::from_secs(2);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    runs: u32,
    /// Frames a run and CPU.
    frames: u32,
}

impl Effort {
    /// For a quick run, or a whole one.
    pub(crate) const fn of(quick: bool) -> Self {
        if quick {
            Self {
                runs: 3,
                frames: 1_000_000,
            }
        } else {
            Self {
                runs: 7,
                frames: 4_000_000,
            }
        }
    }
}

/// What is between generator and sink.
#[derive(Clone, Copy, Debug)]
enum Middle {
    /// A program that redirects everything.
    Relay,
    Sluice,
}

/// Generator, middle and sink.
struct Line {
    middle: Middle,
    cpus: usize,
    ends: Ends,
    world: World,
}

/// Measures on one CPU, and on two where there are as many.
pub(crate) fn run(effort: Effort, progress: &Progress) -> Vec<Part> {
    let most = thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(2);
    progress.begin("veth", most as u64 * u64::from(effort.runs));
    let part = |cpus| (format!("veth, {}", name(cpus)), on(cpus, effort, progress));
    (1..=most).map(part).collect()
}

fn name(cpus: usize) -> String {
    format!("{cpus} {}", if cpus == 1 { "CPU" } else { "CPUs" })
}

fn on(cpus: usize, effort: Effort, progress: &Progress) -> Result<Vec<Figure>> {
    let mut relay = Line::build(Middle::Relay, cpus)?;
    let mut sluice = Line::build(Middle::Sluice, cpus)?;
    let (mut relayed, mut balanced) = (Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        relayed.push(relay.run(effort.frames)?);
        balanced.push(sluice.run(effort.frames)?);
        progress.step();
    }
    let rate = |what: &str, rates: &[f64]| Figure {
        more_is_better: true,
        ..Figure::new("veth", format!("{what}, {}", name(cpus)), "Mpps", rates)
    };
    let bare = rate("bare relay", &relayed);
    let shares: Vec<_> = balanced.iter().zip(&relayed).map(|(a, b)| a / b).collect();
    let mut figure = Figure {
        floor: Some(bare.total.clone()),
        relative: Some(Spread::of(&shares).median),
        ..rate("dnat forward", &balanced)
    };
    figure.judge(Goal::AtLeast(0.85), &[]);
    Ok(vec![bare, figure])
}

impl Middle {
    const fn name(self) -> &'static str {
        match self {
            Self::Relay => "the relay",
            Self::Sluice => "Sluice",
        }
    }
}

impl Line {
    fn build(middle: Middle, cpus: usize) -> Result<Self> {
        let mut world = World::build(TWO_PORTS, cpus as u32)?;
        let arriving = match middle {
            Middle::Relay => Arriving::AsSent,
            Middle::Sluice => Arriving::ForBackends,
        };
        let mut ends = Ends::build(&world.net, arriving)?;
        match middle {
            Middle::Relay => ends.relay(&world.net)?,
            Middle::Sluice => world.attach()?,
        }
        Ok(Self {
            middle,
            cpus,
            ends,
            world,
        })
    }

    /// Sends `frames` frames from each CPU. Returns how many millions of them came through in a
    /// second; one that is lost or wrong is an error.
    fn run(&mut self, frames: u32) -> Result<f64> {
        self.ends.reset()?;
        let start = Instant::now();
        self.ends.send(&self.world.net.peer, self.cpus, frames)?;
        let elapsed = start.elapsed();
        let made = self.ends.made()?;
        let Tally { packets, wrong } = self.ends.arrived(made, ARRIVAL)?;
        let (name, on) = (self.middle.name(), name(self.cpus));
        ensure!(
            made >= u64::from(frames) * self.cpus as u64,
            "only {made} frames were made on {on}"
        );
        ensure!(
            packets >= made,
            "{name} lost {} of {made} frames on {on}",
            made - packets
        );
        ensure!(
            packets == made,
            "{packets} frames came through {name} on {on}, and only {made} were made"
        );
        ensure!(wrong == 0, "{name} got {wrong} of {packets} frames wrong");
        Ok(packets as f64 / elapsed.as_secs_f64() / 1e6)
    }
}

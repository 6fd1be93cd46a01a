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
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, TestRun as _, TestRunAttrs, TestRunOptions,
    maps::{Array, DevMap, MapData, PerCpuArray, PerCpuValues},
    programs::xdp::XdpMode,
};
use lb_common::bench::Tally;
use testbed::{host::Host, packets::Side};

use crate::{
    cases::CASES,
    figure::{Figure, Goal, Spread},
    progress::Progress,
    rig,
    world::{FIRST_VIP, World},
};

/// Frames that the kernel hands on together; a NAPI budget.
const BATCH: u32 = 64;

/// Flows of the generator.
const FLOWS: u32 = 1 << 10;

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
    frame: Vec<u8>,
    /// The generator's interface.
    ifindex: u32,
    made: PerCpuArray<MapData, Tally>,
    received: PerCpuArray<MapData, Tally>,
    // Holds the programs and their links.
    ebpf: Ebpf,
    world: World,
}

/// Measures on one CPU, and on two where there are as many.
pub(crate) fn run(effort: Effort, progress: &Progress) -> Result<Vec<Figure>> {
    let most = thread::available_parallelism()?.get().min(2);
    progress.begin("veth", most as u64 * u64::from(effort.runs));
    let mut figures = Vec::new();
    for cpus in 1..=most {
        figures.extend(on(cpus, effort, progress)?);
    }
    Ok(figures)
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
    let plural = if cpus == 1 { "CPU" } else { "CPUs" };
    let rate = |what: &str, rates: &[f64]| Figure {
        more_is_better: true,
        ..Figure::new("veth", format!("{what}, {cpus} {plural}"), "Mpps", rates)
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
        let case = CASES
            .iter()
            .find(|case| case.from == Side::Front)
            .context("no case comes in at the front")?;
        let mut world = World::build(case.shape, cpus as u32)?;
        let flows = case.vary(FLOWS);
        let frame = case.packet(&world, flows.of(0))?;
        let mut ebpf = rig::open(&flows)?;
        for name in ["generator", "relay", "sink"] {
            let program = rig::program(&mut ebpf, name)?;
            program.load().with_context(|| format!("loading {name}"))?;
        }
        let mut template: Array<_, rig::Template> = rig::take(&mut ebpf, "FRAME")?;
        template.set(0, rig::template(&frame), 0)?;
        let mut expected: Array<_, [u32; 2]> = rig::take(&mut ebpf, "EXPECTED")?;
        let network = Side::Back.network(0).octets();
        let what = match middle {
            Middle::Relay => [u32::to_be(FIRST_VIP), u32::MAX],
            Middle::Sluice => [u32::from_ne_bytes(network), u32::to_be(0xffff_ff00)],
        };
        expected.set(0, what, 0)?;
        attach(&mut ebpf, "sink", world.peer(), Side::Back)?;
        match middle {
            Middle::Sluice => world.attach()?,
            Middle::Relay => {
                let mut way_out: DevMap<_> = rig::take(&mut ebpf, "WAY_OUT")?;
                let out = world.device(Side::Back)?.ifindex;
                world.host().run(|| way_out.set(0, out, None, 0))?;
                for side in [Side::Front, Side::Back] {
                    attach(&mut ebpf, "relay", world.host(), side)?;
                }
            }
        }
        Ok(Self {
            middle,
            made: rig::take(&mut ebpf, "MADE")?,
            received: rig::take(&mut ebpf, "RECEIVED")?,
            ifindex: world.peer().link(Side::Front.name())?.index,
            ebpf,
            frame,
            cpus,
            world,
        })
    }

    /// Sends `frames` frames from each CPU. Returns how many millions of them came through in a
    /// second; one that is lost or wrong is an error.
    fn run(&mut self, frames: u32) -> Result<f64> {
        for map in [&mut self.made, &mut self.received] {
            let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
            map.set(0, PerCpuValues::try_from(vec![Tally::default(); cpus])?, 0)?;
        }
        let start = Instant::now();
        self.send(frames)?;
        let elapsed = start.elapsed();
        let made = sum(&self.made)?.packets;
        let Tally { packets, wrong } = self.arrived(made)?;
        let (name, cpus) = (self.middle.name(), self.cpus);
        ensure!(
            made >= u64::from(frames) * cpus as u64,
            "only {made} frames were made on {cpus} CPUs"
        );
        ensure!(
            packets == made,
            "{name} lost {} of {made} frames on {cpus} CPUs",
            made.abs_diff(packets)
        );
        ensure!(wrong == 0, "{name} got {wrong} of {packets} frames wrong");
        Ok(packets as f64 / elapsed.as_secs_f64() / 1e6)
    }

    /// A generator on each CPU, until all of them are done.
    fn send(&mut self, frames: u32) -> Result<()> {
        let context = rig::xdp_md(self.frame.len(), self.ifindex);
        let generator = &*rig::program(&mut self.ebpf, "generator")?;
        let (frame, peer) = (&self.frame, self.world.peer());
        let send = |cpu| {
            peer.run(|| -> Result<()> {
                rig::pin(cpu)?;
                let options = TestRunOptions {
                    data_in: Some(frame),
                    ctx_in: Some(&context),
                    repeat: frames,
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::default()
                };
                generator.test_run(options).context("making live frames")?;
                Ok(())
            })
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.cpus)
                .map(|cpu| scope.spawn(move || send(cpu)))
                .collect();
            let mut results = threads.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            results.try_for_each(|result| result)
        })
    }

    /// Waits for frames that are still on their way.
    fn arrived(&self, made: u64) -> Result<Tally> {
        let deadline = Instant::now() + ARRIVAL;
        loop {
            let received = sum(&self.received)?;
            if received.packets >= made || Instant::now() > deadline {
                return Ok(received);
            }
            thread::yield_now();
        }
    }
}

/// Attaches one of the benchmark's programs; it goes with its interface.
fn attach(ebpf: &mut Ebpf, name: &str, host: &Host, side: Side) -> Result<()> {
    let interface = side.name();
    let ifindex = host.link(interface)?.index;
    let program = rig::program(ebpf, name)?;
    host.run(|| program.attach_to_if_index(ifindex, XdpMode::Driver))
        .with_context(|| format!("attaching {name} to {interface}"))?;
    Ok(())
}

fn sum(map: &PerCpuArray<MapData, Tally>) -> Result<Tally> {
    let cpus = map.get(&0, 0)?;
    Ok(cpus.iter().fold(Tally::default(), |sum, cpu| Tally {
        packets: sum.packets + cpu.packets,
        wrong: sum.wrong + cpu.wrong,
    }))
}

//! `program`: nanoseconds a packet of the loaded, configured program.
//!
//! The driver restores the packet, makes it the next flow's, and tail-calls the program; what the
//! driver costs is the floor, measured in turns with the program. Before anything is timed, the
//! output of every case is compared with a packet that another implementation built.

use std::collections::{BTreeMap, btree_map::Entry};

use anyhow::{Context as _, Result, bail, ensure};
use lb_common::{abi::counters::Counter, bench::Flows};

use crate::{
    cases::{CASES, Case, action},
    figure::{Figure, Goal, Spread},
    progress::Progress,
    rig::{self, Floor, Rig, Timing},
    world::World,
};

/// Packets of each case that are compared byte for byte.
const CHECKED: u32 = 32;

/// The name of what everything is compared with.
pub(crate) const FLOOR: &str = "floor: the driver alone";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Runs of each case.
    pub(crate) runs: u32,
    /// Packets a run.
    pub(crate) packets: u32,
    /// Only the smallest and the largest number of flows.
    pub(crate) few_flows: bool,
}

impl Effort {
    /// For a quick run, or a whole one.
    pub(crate) const fn of(quick: bool) -> Self {
        if quick {
            Self {
                runs: 2,
                packets: 200_000,
                few_flows: true,
            }
        } else {
            Self {
                runs: 7,
                packets: 1 << 20,
                few_flows: false,
            }
        }
    }
}

/// A case at one number of flows.
struct Trial {
    case: &'static Case,
    flows: u32,
    action: u32,
    rig: Rig,
    floor: Vec<Timing>,
    push: Vec<Timing>,
    extra: Vec<Timing>,
    program: Vec<Timing>,
}

/// Measures every case.
pub(crate) fn run(effort: Effort, progress: &Progress) -> Result<Vec<Figure>> {
    let mut worlds = BTreeMap::new();
    for case in CASES {
        if let Entry::Vacant(place) = worlds.entry(case.shape) {
            progress.say(&format!(
                "program: {} services, {:?} slots",
                case.shape.services, case.shape.slots
            ));
            place.insert(World::build(case.shape, 1)?);
        }
    }
    let mut entries = Vec::new();
    for case in CASES {
        let world = worlds.get_mut(&case.shape).context("built above")?;
        for flows in chosen(case, effort) {
            progress.say(&format!("program: checking {}", case.name));
            entries.push(Trial::prepare(case, flows, world)?);
        }
    }
    progress.begin("program", u64::from(effort.runs) * entries.len() as u64);
    for _ in 0..effort.runs {
        for entry in &mut entries {
            let world = worlds.get_mut(&entry.case.shape).context("built above")?;
            entry
                .measure(world, effort.packets)
                .with_context(|| format!("{}, {} flows", entry.case.name, entry.flows))?;
            progress.step();
        }
    }
    Ok(figures(&entries))
}

fn chosen(case: &Case, effort: Effort) -> Vec<u32> {
    let ends = [case.flows.first(), case.flows.last()];
    let few = effort.few_flows && case.flows.len() > 2;
    if few {
        ends.into_iter().flatten().copied().collect()
    } else {
        case.flows.to_vec()
    }
}

impl Trial {
    /// Loads the driver and checks what the program makes of the case's packets.
    fn prepare(case: &'static Case, flows: u32, world: &mut World) -> Result<Self> {
        let vary: Flows = case.vary(flows);
        let first = case.packet(&world.net, vary.of(0))?;
        let ifindex = world.net.device(case.from)?.ifindex;
        let mut rig = Rig::load(vary, &first, ifindex)?;
        let fd = world.dataplane().program()?.fd()?.try_clone()?;
        rig.aim(&fd)?;
        case.remember(world, flows)?;
        let mut action = action::PASS;
        for number in 0..CHECKED {
            // Far apart, so that the whole range of flows is seen.
            let number = number * 32_771;
            let flow = rig.flows().of(number);
            let packet = case.packet(&world.net, flow)?;
            let (wanted, frame) = case.expected(world, flow)?;
            let outcome = world.net.host.run(|| rig.once(number, &packet))?;
            if outcome.action != wanted || outcome.frame != frame {
                bail!(
                    "{}: the program is wrong: a packet of flow {flow:?} ended with action {} \
                     instead of {wanted} as\n{:02x?}\ninstead of\n{frame:02x?}",
                    case.name,
                    outcome.action,
                    outcome.frame
                );
            }
            action = wanted;
        }
        // Speed does not depend on the checksums of what is sent.
        world.net.host.run(|| rig.once(0, &first))?;
        Ok(Self {
            case,
            flows,
            action,
            rig,
            floor: Vec::new(),
            push: Vec::new(),
            extra: Vec::new(),
            program: Vec::new(),
        })
    }

    /// One run: the floors, then the program.
    fn measure(&mut self, world: &mut World, packets: u32) -> Result<()> {
        let fd = world.dataplane().program()?.fd()?.try_clone()?;
        let counter = match self.action {
            action::TX => Counter::TX,
            action::REDIRECT => Counter::REDIRECT,
            _ => Counter::PASS,
        };
        let before = world.dataplane().counter(counter)?;
        let (rig, extra, action) = (&mut self.rig, self.case.extra, self.action);
        let (floor, push, extra, program) = world.net.host.run(|| -> Result<_> {
            rig::pin(0)?;
            let mut at = |floor| {
                rig.aim_at_floor(floor)?;
                rig.time(packets, action::TX)
            };
            let floor = at(Floor::Empty)?;
            let push = at(Floor::Push)?;
            let extra = extra.map(at).transpose()?;
            rig.aim(&fd)?;
            Ok((floor, push, extra, rig.time(packets, action)?))
        })?;
        let counted = world.dataplane().counter(counter)? - before;
        ensure!(
            counted == u64::from(packets),
            "{counted} of {packets} packets ended as the case expects"
        );
        self.floor.push(floor);
        self.push.push(push);
        self.extra.extend(extra);
        self.program.push(program);
        Ok(())
    }

    /// Its figure, or two where something is to be subtracted. `base`: what counts as the floor.
    fn figure(&self, name: &str, base: &[Timing]) -> Figure {
        let kernel = |timings: &[Timing]| timings.iter().map(|t| t.kernel).collect::<Vec<_>>();
        let cpu: Vec<_> = self.program.iter().map(|timing| timing.cpu).collect();
        let net: Vec<_> = self
            .program
            .iter()
            .zip(base)
            .zip(&self.floor)
            .map(|((program, base), floor)| (program.kernel - base.kernel) / floor.kernel)
            .collect();
        Figure {
            flows: Some(self.flows),
            cpu: Some(Spread::of(&cpu)),
            floor: Some(Spread::of(&kernel(base))),
            relative: Some(Spread::of(&net).median),
            ..Figure::new("program", name, "ns", &kernel(&self.program))
        }
    }
}

fn figures(entries: &[Trial]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut goals: Vec<(usize, Goal)> = Vec::new();
    for entry in entries {
        let goal = |figures: &Vec<Figure>, goals: &mut Vec<(usize, Goal)>| {
            let wanted = entry
                .case
                .goals
                .iter()
                .filter(|(flows, _)| *flows == entry.flows);
            goals.extend(wanted.map(|(_, goal)| (figures.len() - 1, *goal)));
        };
        figures.push(Figure {
            chart: Some(entry.case.chart().to_owned()),
            ..entry.figure(entry.case.name, &entry.floor)
        });
        if entry.extra.is_empty() {
            goal(&figures, &mut goals);
        } else {
            let name = format!("{}, without the next-hop helper", entry.case.name);
            figures.push(entry.figure(&name, &entry.extra));
            goal(&figures, &mut goals);
        }
    }
    for (index, goal) in goals {
        let others = figures.clone();
        if let Some(figure) = figures.get_mut(index) {
            figure.judge(goal, &others);
        }
    }
    figures.extend(floors(entries));
    figures
}

/// The floor and the floor with a push, over all cases of one flow.
fn floors(entries: &[Trial]) -> [Figure; 2] {
    let of = |name: &str, pick: fn(&Trial) -> &Vec<Timing>| {
        let all = || entries.iter().filter(|e| e.flows == 1).flat_map(pick);
        let kernel: Vec<_> = all().map(|timing| timing.kernel).collect();
        let cpu: Vec<_> = all().map(|timing| timing.cpu).collect();
        Figure {
            flows: Some(1),
            cpu: Some(Spread::of(&cpu)),
            ..Figure::new("program", name, "ns", &kernel)
        }
    };
    let floor = of(FLOOR, |entry| &entry.floor);
    let mut push = of("floor with a 20-byte push", |entry| &entry.push);
    push.relative = Some((push.total.median - floor.total.median) / floor.total.median);
    push.floor = Some(floor.total.clone());
    [floor, push]
}

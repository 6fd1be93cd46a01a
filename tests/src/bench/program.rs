//! `program`: nanoseconds a packet of the loaded, configured program.
//!
//! The driver restores the packet, makes it the next flow's, and tail-calls the program; what the
//! driver costs is the floor, measured in turns with the program. Before anything is timed, the
//! output of every case is compared with a packet that another implementation built.

use std::collections::{BTreeMap, btree_map::Entry};

use anyhow::{Context as _, Result, bail, ensure};
use lb_common::{abi::counters::Counter, bench::Flows};
use testbed::stream::allow_open_files;

use crate::{
    cases::{CASES, Case, action},
    figure::{Figure, Goal, Part, Spread},
    progress::Progress,
    rig::{self, Floor, Rig, Timing},
    world::{Shape, World},
};

/// Packets of each case that are compared byte for byte.
const CHECKED: u32 = 32;

/// The name of what everything is compared with.
pub(crate) const FLOOR: &str = "floor: the driver alone";

/// Open files of a world's maps, or of a rig's, and of its programs, at most.
const FILES: u64 = 32;

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

/// The load balancers that there are.
type Worlds = BTreeMap<Shape, World>;

/// Measures every case, whatever becomes of the others.
pub(crate) fn run(effort: Effort, progress: &Progress) -> Vec<Part> {
    let files = CASES
        .iter()
        .map(|case| FILES * (1 + case.flows.len() as u64));
    let files = files.sum();
    if let Err(error) = allow_open_files(files, files) {
        return vec![("program".to_owned(), Err(error))];
    }
    let mut parts = Vec::new();
    let mut left_out = |case: &Case, flows, error| {
        let flows = if flows == 1 {
            "1 flow".to_owned()
        } else {
            format!("{flows} flows")
        };
        let name = format!("program, {}, {flows}", case.name);
        parts.push((name, Err(error)));
    };
    let mut worlds = Worlds::new();
    let mut trials = Vec::new();
    for case in CASES {
        for flows in chosen(case, effort) {
            match prepare(case, flows, &mut worlds, progress) {
                Ok(trial) => trials.push(trial),
                Err(error) => left_out(case, flows, error),
            }
        }
    }
    progress.begin("program", u64::from(effort.runs) * trials.len() as u64);
    for _ in 0..effort.runs {
        trials.retain_mut(|trial| {
            let measured = worlds
                .get_mut(&trial.case.shape)
                .context("the trial has no world")
                .and_then(|world| trial.measure(world, effort.packets));
            progress.step();
            measured
                .map_err(|error| left_out(trial.case, trial.flows, error))
                .is_ok()
        });
    }
    parts.insert(0, ("program".to_owned(), Ok(figures(&trials))));
    parts
}

/// A trial in a world of its case's shape, which is built if there is none yet.
fn prepare(
    case: &'static Case,
    flows: u32,
    worlds: &mut Worlds,
    progress: &Progress,
) -> Result<Trial> {
    let world = match worlds.entry(case.shape) {
        Entry::Occupied(place) => place.into_mut(),
        Entry::Vacant(place) => {
            progress.say(&format!(
                "program: {} services, {:?} slots",
                case.shape.services, case.shape.slots
            ));
            place.insert(World::build(case.shape, 1)?)
        }
    };
    Trial::prepare(case, flows, world)
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
                eprintln!("wanted {frame:02x?}\ngot    {:02x?}", outcome.frame);
                let ended = match outcome.action {
                    action if action == wanted => String::new(),
                    action => format!("ended with action {action} instead of {wanted}, "),
                };
                bail!(
                    "the program is wrong: a packet of {flow:?} {ended}{}",
                    difference(&outcome.frame, &frame)
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

/// Where a packet is not as it was wanted.
fn difference(got: &[u8], wanted: &[u8]) -> String {
    match got
        .iter()
        .zip(wanted)
        .position(|(got, wanted)| got != wanted)
    {
        Some(place) => format!(
            "has {:02x} instead of {:02x} in byte {place}",
            got[place], wanted[place]
        ),
        None if got.len() != wanted.len() => {
            format!("has {} bytes instead of {}", got.len(), wanted.len())
        }
        None => "has the bytes that were wanted".to_owned(),
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
        if let Some(extra) = entry.case.extra {
            let name = format!("{}, without {}", entry.case.name, extra.what());
            figures.push(entry.figure(&name, &entry.extra));
        }
        goal(&figures, &mut goals);
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
fn floors(entries: &[Trial]) -> Vec<Figure> {
    if !entries.iter().any(|entry| entry.flows == 1) {
        return Vec::new();
    }
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
    vec![floor, push]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_packet_is_told_in_one_line() {
        let told = |got: &[u8], wanted: &[u8]| difference(got, wanted);
        assert_eq!(
            told(&[1, 2, 3], &[1, 4, 5]),
            "has 02 instead of 04 in byte 1"
        );
        assert_eq!(told(&[1, 2], &[1]), "has 2 bytes instead of 1");
        assert_eq!(told(&[1], &[1]), "has the bytes that were wanted");
    }
}

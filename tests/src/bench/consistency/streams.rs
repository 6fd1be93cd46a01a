//! Long-lived connections through the daemon while backends change, once for every way of tracking.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use testbed::{
    stream::{
        client::{Hold, Streams},
        tally::Tally,
    },
    topology::VIP,
};

use super::{
    Effort, count, none_of,
    scene::{Act, BACKENDS, Scene},
    script::script,
};
use crate::{
    figure::{Figure, Part},
    progress::Progress,
};

/// A way of tracking, as the file has it, and whether it has to keep every connection.
const TRACKING: [(&str, bool); 3] = [("transition", true), ("always", true), ("never", false)];

/// Until all connections are open.
const OPENING: Duration = Duration::from_secs(30);

/// Every connection speaks at least once in it.
const ROUND: Duration = Duration::from_millis(1500);

/// All ways of tracking, one after the other, with the same changes.
pub(super) fn run(effort: &Effort, progress: &Progress) -> Vec<Part> {
    let steps = TRACKING.len() * effort.changes;
    progress.begin("consistency, connections", steps as u64);
    let mut scene = match Scene::build() {
        Ok(scene) => scene,
        Err(error) => return vec![("connections".to_owned(), Err(error))],
    };
    let each = |(tracking, keeps)| {
        let figures = one(effort, tracking, keeps, &mut scene, progress);
        (format!("tracking = \"{tracking}\""), figures)
    };
    TRACKING.map(each).into()
}

fn one(
    effort: &Effort,
    tracking: &'static str,
    keeps: bool,
    scene: &mut Scene,
    progress: &Progress,
) -> Result<Vec<Figure>> {
    let mut act = scene.start(tracking, effort.window)?;
    let tally = hold(effort, &mut act, progress).with_context(|| act.log())?;
    if keeps && !tally.broken.is_empty() {
        eprintln!("tracking = \"{tracking}\": {tally}");
    }
    Ok(rows(tracking, keeps, effort.connections, &tally))
}

fn hold(effort: &Effort, act: &mut Act<'_>, progress: &Progress) -> Result<Tally> {
    let held = Hold::new(VIP.into(), effort.connections);
    let streams = Streams::open(act.client(), held, OPENING)?;
    let mut random = Rng::with_seed(7);
    let mut due = Instant::now();
    for change in script(effort.changes, BACKENDS) {
        due += effort.gap.start + (effort.gap.end - effort.gap.start).mul_f64(random.f64());
        // A change that took long is not made up for: those after it keep their distance.
        due = due.max(Instant::now());
        thread::sleep(due - Instant::now());
        act.make(change)?;
        progress.step();
    }
    thread::sleep(ROUND);
    let ended = streams.finish()?;
    Ok(Tally::of(ended, &act.deaths()))
}

fn rows(tracking: &str, keeps: bool, connections: u32, tally: &Tally) -> Vec<Figure> {
    let Tally {
        alive: _,
        broken,
        with_backend,
        not_opened,
        messages,
        backends: _,
    } = tally;
    let case = |what: &str| format!("{tracking}: {what}");
    let on_living = if keeps { none_of } else { count };
    let size = |list: &[_]| list.len() as u64;
    vec![
        on_living(
            case("broken on living backends"),
            "connections",
            connections,
            size(broken),
        ),
        count(
            case("broken with their backend"),
            "connections",
            connections,
            size(with_backend),
        ),
        count(
            case("not opened"),
            "connections",
            connections,
            size(not_opened),
        ),
        count(case("answered"), "messages", connections, *messages),
    ]
}

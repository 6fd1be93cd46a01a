//! A drain under a SYN flood: what becomes of living connections, and how much longer the drain takes.
//!
//! The flood wants ten times as many entries as the budget for SYNs allows. Where one is refused, no window ends until it
//! has passed anew, so the drain lasts as long as the flood and a window more.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lb_common::wire::tcp::Flags;

use super::{
    Effort,
    bed::{Bed, Octet, Packet},
    count, none_of, proves,
    script::{Change, Place},
    too_silent,
};
use crate::{figure::Figure, progress::Progress, world::FIRST_CLIENT};

/// Connections that live, each speaking once a second.
const LIVING: u32 = 2000;

/// Backends that are drained at once: of nine, so that nearly half of the slots are in motion.
const DRAINED: std::ops::Range<Place> = 0..4;

/// SYNs a second. Those for slots in motion, 4 of 9, are ten times the daemon's budget of entries for
/// SYNs, 50,000 a second.
const FLOOD: u32 = 1_200_000;

/// Sources of the flood; the first of them is behind all who live.
const SOURCES: u32 = 1 << 19;

/// Parts of a second: in each as many living connections speak, and a part of the flood comes.
const PARTS: u32 = 10;

/// What was seen of a drain.
struct Drain {
    took: Duration,
    moved: u64,
    /// No living connection was silent for longer.
    longest_silence: Duration,
    refused: u64,
    flooded: u64,
}

/// A drain in peace, and one in a flood.
pub(super) fn run(effort: &Effort, progress: &Progress) -> Result<Vec<Figure>> {
    progress.begin("consistency, flood", 2);
    let peace = drain(effort, Duration::ZERO)?;
    progress.step();
    let lasts = effort.flood;
    let flood = drain(effort, lasts)?;
    progress.step();
    let no_flood = (flood.refused == 0).then(|| {
        let flooded = flood.flooded;
        format!("{flooded} SYNs were no flood: every entry was made")
    });
    // None may move for all that.
    proves(effort, no_flood)?;
    let silence = peace.longest_silence.max(flood.longest_silence);
    let moved = if proves(effort, too_silent(silence, effort.flood_window))? {
        none_of
    } else {
        count
    };
    let milliseconds = |time: Duration| time.as_millis() as u64;
    let row = |what: &str, unit, value| count(what.into(), unit, LIVING, value);
    Ok(vec![
        moved("drain: moved".into(), "flows", LIVING, peace.moved),
        moved("drain, flood: moved".into(), "flows", LIVING, flood.moved),
        row("drain: windows over after", "ms", milliseconds(peace.took)),
        row(
            "drain, flood: windows over after",
            "ms",
            milliseconds(flood.took),
        ),
        row("drain, flood: the flood lasted", "ms", milliseconds(lasts)),
        row("drain, flood: SYNs", "packets", flood.flooded),
        row("drain, flood: entries refused", "entries", flood.refused),
    ])
}

/// Drains backends, with a flood for the first `flood` of it.
fn drain(effort: &Effort, flood: Duration) -> Result<Drain> {
    /// A daemon whose windows never end must not hold the run for ever. A flood that filled the table
    /// is felt until its entries expire, after 75 s: living flows are refused as well until then.
    const PATIENCE: Duration = Duration::from_secs(240);

    let window = effort.flood_window;
    let mut bed = Bed::start(window, effort.flood_table)?;
    let mut rig = bed.rig(FIRST_CLIENT + SOURCES, SOURCES)?;
    let mut living = vec![Octet::default(); LIVING as usize];
    speak(&mut bed, &mut living, 0..LIVING, Flags::SYN)?;
    let mut seen = Drain {
        took: Duration::ZERO,
        moved: speak(&mut bed, &mut living, 0..LIVING, Flags::ACK)?,
        longest_silence: Duration::ZERO,
        refused: 0,
        flooded: 0,
    };
    // When each part of them spoke last.
    let mut spoke = [Instant::now(); PARTS as usize];
    let before = bed.service()?.flows.unwrap_or_default().refused;
    for place in DRAINED {
        bed.make(Change::Drain(place))?;
    }
    let start = Instant::now();
    let mut part = 0;
    loop {
        let began = Instant::now();
        if start.elapsed() < flood {
            bed.run(&mut rig, seen.flooded as u32, FLOOD / PARTS)?;
            seen.flooded += u64::from(FLOOD / PARTS);
        }
        let first = part % PARTS * (LIVING / PARTS);
        seen.moved += speak(
            &mut bed,
            &mut living,
            first..first + LIVING / PARTS,
            Flags::ACK,
        )?;
        if let Some(last) = spoke.get_mut((part % PARTS) as usize) {
            seen.longest_silence = seen.longest_silence.max(last.elapsed());
            *last = began;
        }
        part += 1;
        let service = bed.service()?;
        if service.slots.transition == 0 && start.elapsed() >= flood {
            seen.refused = service.flows.unwrap_or_default().refused - before;
            break;
        }
        ensure!(
            start.elapsed() < flood + window + PATIENCE,
            "{} slots are still in transition {:?} after the drain began",
            service.slots.transition,
            start.elapsed()
        );
        let rest = Duration::from_secs(1) / PARTS;
        thread::sleep(rest.saturating_sub(began.elapsed()));
    }
    seen.took = start.elapsed();
    // Whoever has not spoken since the windows ended.
    seen.moved += speak(&mut bed, &mut living, 0..LIVING, Flags::ACK)?;
    Ok(seen)
}

/// Each of these clients sends a packet. How many of them reached another backend than before; a SYN
/// may.
fn speak(
    bed: &mut Bed,
    living: &mut [Octet],
    clients: std::ops::Range<u32>,
    flags: u8,
) -> Result<u64> {
    let mut moved = 0;
    let packets = clients.map(|client| Packet {
        client,
        port: 1024,
        flags,
    });
    bed.send(packets, |packet, backend| {
        let now = backend.unwrap_or_default();
        if let Some(before) = living.get_mut(packet.client as usize) {
            moved += u64::from(flags != Flags::SYN && *before != now);
            *before = now;
        }
    })?;
    Ok(moved)
}

//! Many flows, packet by packet, while an operator changes the backends: which of them move, how many
//! packets have to look for an entry, how many entries that takes.

use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use lb_common::wire::tcp::Flags;

use super::{
    Effort, NAME,
    bed::{BACKENDS, Bed, Octet, Packet},
    count, none_of, proves,
    script::orders,
    too_silent,
};
use crate::{figure::Figure, progress::Progress};

/// One of so many flows ends in each round, and another begins.
const CHURN: u64 = 100;

/// A flow as its client knows it.
#[derive(Clone, Copy, Debug)]
struct Followed {
    port: u16,
    /// Where it began.
    backend: Octet,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    packets: u64,
    moved: u64,
    /// Not forwarded.
    dropped: u64,
    /// From the beginning of a round to the end of the next: no flow was silent for longer.
    longest_silence: Duration,
}

/// Counts over `effort.orders` changes.
pub(super) fn run(effort: &Effort, progress: &Progress) -> Result<Vec<Figure>> {
    let Effort {
        flows, packet_gap, ..
    } = *effort;
    progress.begin("consistency, packets", effort.orders as u64);
    let mut bed = Bed::start(effort.window, None)?;
    let mut random = Rng::with_seed(11);
    let mut followed = open(&mut bed, flows)?;
    let mut seen = Seen::default();
    let mut peak = 0;
    let mut last_round = Instant::now();
    let before = bed.service()?.flows.unwrap_or_default();
    for change in orders(effort.orders, BACKENDS) {
        bed.make(change)?;
        let start = Instant::now();
        while start.elapsed() < packet_gap {
            let began = Instant::now();
            round(&mut bed, &mut followed, &mut random, &mut seen)?;
            seen.longest_silence = seen.longest_silence.max(last_round.elapsed());
            last_round = began;
            let entries = bed.service()?.flows.and_then(|flows| flows.entries);
            peak = peak.max(entries.unwrap_or_default());
        }
        progress.step();
    }
    let why = too_silent(seen.longest_silence, effort.window);
    let moved = if proves(effort, why)? { none_of } else { count };
    let after = bed.service()?.flows.unwrap_or_default();
    let share = (after.lookups - before.lookups) as f64 / seen.packets as f64 * 100.0;
    let lookups = Figure {
        flows: Some(flows),
        ..Figure::new(NAME, "packets that looked for an entry", "%", &[share])
    };
    Ok(vec![
        moved("flows moved".into(), "flows", flows, seen.moved),
        none_of("packets dropped".into(), "packets", flows, seen.dropped),
        lookups,
        count("most entries at once".into(), "entries", flows, peak),
        count(
            "entries refused".into(),
            "entries",
            flows,
            after.refused - before.refused,
        ),
        count("packets".into(), "packets", flows, seen.packets),
        count(
            "longest silence of a flow".into(),
            "ms",
            flows,
            seen.longest_silence.as_millis() as u64,
        ),
    ])
}

fn open(bed: &mut Bed, flows: u32) -> Result<Vec<Followed>> {
    let mut followed = Vec::new();
    let begin = (0..flows).map(|client| Packet {
        client,
        port: 1024,
        flags: Flags::SYN,
    });
    bed.send(begin, |packet, backend| {
        followed.push(Followed {
            port: packet.port,
            backend: backend.unwrap_or_default(),
        });
    })?;
    Ok(followed)
}

/// Every flow speaks once; some end, and others begin.
fn round(
    bed: &mut Bed,
    followed: &mut [Followed],
    random: &mut Rng,
    seen: &mut Seen,
) -> Result<()> {
    // Where the flows of this round are: those that end get another port.
    let ports: Vec<u16> = followed.iter().map(|flow| flow.port).collect();
    let mut ending = random.fork();
    let packets = ports.iter().zip(0..).flat_map(move |(port, client)| {
        let packet = |port, flags| Packet {
            client,
            port,
            flags,
        };
        let ends = ending.u64(..CHURN) == 0;
        let next = if ends { next_port(*port) } else { *port };
        let first = packet(*port, if ends { FIN } else { Flags::ACK });
        let second = ends.then(|| packet(next, Flags::SYN));
        [Some(first), second].into_iter().flatten()
    });
    bed.send(packets, |packet, backend| {
        seen.packets += 1;
        let Some(flow) = followed.get_mut(packet.client as usize) else {
            return;
        };
        let Some(backend) = backend else {
            seen.dropped += 1;
            return;
        };
        if packet.flags == Flags::SYN {
            flow.port = packet.port;
        } else if backend != flow.backend {
            seen.moved += 1;
        }
        flow.backend = backend;
    })?;
    Ok(())
}

/// What a client sends last.
const FIN: u8 = Flags::FIN | Flags::ACK;

const fn next_port(port: u16) -> u16 {
    if port == u16::MAX { 1024 } else { port + 1 }
}

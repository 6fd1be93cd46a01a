//! Asks the daemon how it is, twice a second, on a thread of its own.

use std::{
    collections::BTreeMap,
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use testbed::{cli::Cli, status::Status};

use crate::run::Event;

const PACE: Duration = Duration::from_millis(500);

/// What the daemon said, and what has changed since it was asked before.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) status: Status,
    /// Packets a second to each backend.
    pub(crate) packet_rates: BTreeMap<String, u64>,
    at: Instant,
}

impl Sample {
    /// With nothing to compare it with.
    pub(crate) fn first(status: Status) -> Self {
        Self {
            status,
            packet_rates: BTreeMap::new(),
            at: Instant::now(),
        }
    }
}

/// Asks until nobody listens. No answer is an event too: `None`.
pub(crate) fn start(cli: Cli, events: Sender<Event>) {
    thread::spawn(move || {
        let mut last: Option<Sample> = None;
        loop {
            let sample = take(&cli, last.as_ref());
            if events
                .send(Event::Sample(sample.clone().map(Box::new)))
                .is_err()
            {
                return;
            }
            last = sample.or(last);
            thread::sleep(PACE);
        }
    });
}

/// Asks once.
pub(crate) fn take(cli: &Cli, last: Option<&Sample>) -> Option<Sample> {
    let mut sample = Sample::first(cli.status().ok()?);
    if let Some(last) = last {
        sample.packet_rates = rates(&last.status, &sample.status, sample.at - last.at);
    }
    Some(sample)
}

fn rates(before: &Status, now: &Status, between: Duration) -> BTreeMap<String, u64> {
    // A backend may serve more than one service.
    let packets = |status: &Status| {
        let mut packets: BTreeMap<String, u64> = BTreeMap::new();
        for backend in status.services.iter().flat_map(|service| &service.backends) {
            *packets.entry(backend.name.clone()).or_default() += backend.packets;
        }
        packets
    };
    let before = packets(before);
    let rate = |name: &String, packets: u64| {
        let more = packets.saturating_sub(before.get(name).copied().unwrap_or(packets));
        // A rate of whole packets is fine enough for a person.
        (more as f64 / between.as_secs_f64()).round() as u64
    };
    let mut now = packets(now);
    now.iter_mut()
        .for_each(|(name, packets)| *packets = rate(name, *packets));
    now
}

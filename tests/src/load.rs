//! A client that keeps requesting: one connection (HTTP) or source port (UDP) a request, paced, every
//! outcome reported.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    net::SocketAddr,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{sync::oneshot, task::JoinSet, time::MissedTickBehavior};

use crate::{
    host::{Host, Task},
    http::{self, Timeouts},
    udp,
};

/// How a request went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it began.
    pub started: Instant,
    /// When it was over.
    pub ended: Instant,
    /// The backend that answered, or why none did.
    pub result: Result<String, String>,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: oneshot::Sender<()>,
    task: Task,
    outcomes: Receiver<Outcome>,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests answered, by backend.
    pub answered: BTreeMap<String, u64>,
    /// Those that failed.
    pub failures: Vec<Outcome>,
}

impl Load {
    /// Requests `target` by HTTP from `host`, one every `pace`.
    pub fn start(host: &Host, target: SocketAddr, pace: Duration, timeouts: Timeouts) -> Self {
        Self::paced(host, pace, move || async move {
            let reply = http::get(target, timeouts).await?;
            Ok(reply.backend().to_owned())
        })
    }

    /// Asks `target` by UDP from `host`, once every `pace`; no answer until `deadline` is a failure.
    pub fn start_udp(host: &Host, target: SocketAddr, pace: Duration, deadline: Duration) -> Self {
        Self::paced(host, pace, move || async move {
            Ok(udp::ask(target, 0, deadline).await?.backend)
        })
    }

    fn paced<F>(host: &Host, pace: Duration, request: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<String>> + Send + 'static,
    {
        let (sender, outcomes) = channel();
        let (stop, stopped) = oneshot::channel();
        let task = host.spawn(move || request_until(request, pace, sender, stopped));
        Self {
            stop,
            task,
            outcomes,
        }
    }

    /// The outcomes since the last call.
    pub fn drain(&self) -> impl Iterator<Item = Outcome> {
        self.outcomes.try_iter()
    }

    /// Waits until `count` more requests were answered or have failed.
    pub fn wait_for(&self, count: usize, deadline: Duration) -> Result<Report> {
        let start = Instant::now();
        let mut report = Report::default();
        for _ in 0..count {
            let left = deadline.saturating_sub(start.elapsed());
            report.add(self.outcomes.recv_timeout(left)?);
        }
        Ok(report)
    }

    /// Sends no more, waits for what is under way, and gives the outcomes not yet taken.
    pub fn end(self) -> Result<Vec<Outcome>> {
        let _ = self.stop.send(());
        self.task.wait()?;
        Ok(self.outcomes.try_iter().collect())
    }

    /// The same, summed up.
    pub fn finish(self) -> Result<Report> {
        let mut report = Report::default();
        self.end()?
            .into_iter()
            .for_each(|outcome| report.add(outcome));
        Ok(report)
    }
}

impl Report {
    /// Counts an outcome.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome.result {
            Ok(backend) => *self.answered.entry(backend).or_default() += 1,
            Err(_) => self.failures.push(outcome),
        }
    }

    /// Requests answered.
    pub fn answered(&self) -> u64 {
        self.answered.values().sum()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answered {:?}, {} failed",
            self.answered(),
            self.answered,
            self.failures.len()
        )?;
        for failure in self.failures.iter().take(5) {
            let error = failure.result.as_ref().err().map_or("", String::as_str);
            write!(
                f,
                "\n  after {:?}: {error}",
                failure.ended - failure.started
            )?;
        }
        Ok(())
    }
}

async fn request_until<F>(
    request: impl Fn() -> F,
    pace: Duration,
    outcomes: Sender<Outcome>,
    mut stopped: oneshot::Receiver<()>,
) where
    F: Future<Output = Result<String>> + Send + 'static,
{
    let mut clock = tokio::time::interval(pace);
    // A machine that was busy for a moment does not make up for it in a burst.
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            _ = &mut stopped => break,
        }
        let (outcomes, request) = (outcomes.clone(), request());
        running.spawn(async move {
            let started = Instant::now();
            let result = request.await.map_err(|error| format!("{error:#}"));
            let _ = outcomes.send(Outcome {
                started,
                ended: Instant::now(),
                result,
            });
        });
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}

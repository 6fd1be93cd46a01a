//! Long-lived TCP connections that talk all the time: each sends the next number and wants it back.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    host::{Host, Task},
    poll,
};

/// How long an answer may take: a lost segment is sent again much sooner.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections to an echo server, kept busy.
#[derive(Debug)]
pub struct Talkers {
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    task: Task,
}

#[derive(Debug, Default)]
struct Shared {
    connected: AtomicU64,
    answers: AtomicU64,
    paused: AtomicBool,
    /// Exchanges under way.
    talking: AtomicU64,
    broken: Mutex<Vec<String>>,
}

impl Talkers {
    /// Opens `count` connections from `host` to `target`; each speaks every `pace`. Returns when all
    /// are open.
    pub fn start(host: &Host, target: SocketAddr, count: u64, pace: Duration) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        let task = host.spawn(move || async move {
            let mut talkers = JoinSet::new();
            for number in 0..count {
                talkers.spawn(run(target, number, pace, Arc::clone(&theirs)));
            }
            let _dropped_counts_too = stopped.await;
        });
        let talkers = Self { shared, stop, task };
        poll::until_true("the connections", Duration::from_secs(20), || {
            let shared = &talkers.shared;
            shared.connected.load(Ordering::Relaxed) == count || !talkers.broken().is_empty()
        })?;
        ensure!(talkers.broken().is_empty(), "{:?}", talkers.broken());
        Ok(talkers)
    }

    /// Waits until so many more numbers came back, or a connection broke.
    pub fn wait_for(&self, answers: u64, deadline: Duration) -> Result<()> {
        let answered = || self.shared.answers.load(Ordering::Relaxed);
        let goal = answered() + answers;
        poll::until_true("the connections to talk", deadline, || {
            answered() >= goal || !self.broken().is_empty()
        })
    }

    /// Nobody says anything from now on: returns when the last answer is there.
    pub fn pause(&self) -> Result<()> {
        self.shared.paused.store(true, Ordering::SeqCst);
        poll::until_true("the last answers", PATIENCE, || {
            self.shared.talking.load(Ordering::SeqCst) == 0
        })
    }

    /// Everybody goes on.
    pub fn go_on(&self) {
        self.shared.paused.store(false, Ordering::SeqCst);
    }

    /// What broke.
    pub fn broken(&self) -> Vec<String> {
        self.shared.broken.lock().expect("no task panics").clone()
    }

    /// Closes the connections.
    pub fn end(self) -> Result<()> {
        let Self { shared, stop, task } = self;
        let _gone = stop.send(());
        task.wait()?;
        let broken = shared.broken.lock().expect("no task panics").clone();
        ensure!(broken.is_empty(), "{broken:?}");
        Ok(())
    }
}

async fn run(target: SocketAddr, number: u64, pace: Duration, shared: Arc<Shared>) {
    if let Err(error) = talk(target, number, pace, &shared).await {
        let mut broken = shared.broken.lock().expect("no task panics");
        broken.push(format!("connection {number}: {error:#}"));
    }
}

async fn talk(target: SocketAddr, number: u64, pace: Duration, shared: &Shared) -> Result<()> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(target))
        .await
        .context("connecting takes too long")??;
    stream.set_nodelay(true)?;
    shared.connected.fetch_add(1, Ordering::Relaxed);
    let mut clock = interval(pace);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for said in 0_u64.. {
        clock.tick().await;
        shared.talking.fetch_add(1, Ordering::SeqCst);
        if shared.paused.load(Ordering::SeqCst) {
            shared.talking.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let sent = [number.to_be_bytes(), said.to_be_bytes()].concat();
        let mut answer = [0; 16];
        timeout(PATIENCE, async {
            stream.write_all(&sent).await?;
            stream.read_exact(&mut answer).await
        })
        .await
        .with_context(|| format!("no answer to {said}"))?
        .with_context(|| format!("at {said}"))?;
        shared.talking.fetch_sub(1, Ordering::SeqCst);
        ensure!(answer == *sent, "{said} came back as {answer:?}");
        shared.answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

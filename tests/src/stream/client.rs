//! The client: holds many connections, each speaking by itself, and reports how each ended.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    LINE_MAX, Question, allow_open_files,
    server::read_line,
    tally::{End, Ended},
};
use crate::host::{Host, Task};

/// What to hold.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Where connections go.
    pub target: SocketAddr,
    /// How many are held; one that breaks is replaced.
    pub connections: u32,
    /// From an answer to the next message, anew for each message.
    pub pause: Range<Duration>,
    /// A handshake or an answer that takes longer has timed out.
    pub patience: Duration,
}

impl Hold {
    /// `connections` of them, each speaking at least once a second.
    pub fn new(target: SocketAddr, connections: u32) -> Self {
        Self {
            target,
            connections,
            pause: Duration::from_millis(300)..Duration::from_millis(900),
            patience: Duration::from_secs(5),
        }
    }
}

/// Connections that are held on a thread of their own. Dropping it closes them.
#[derive(Debug)]
pub struct Streams {
    stop: watch::Sender<bool>,
    task: Task,
    events: Receiver<Event>,
    ended: Vec<Ended>,
}

#[derive(Debug)]
enum Event {
    Opened,
    Ended(Ended),
}

impl Streams {
    /// Opens all connections from `host`; each has got its first answer when this returns.
    ///
    /// # Errors
    /// Where one broke or did not open in time.
    pub fn open(host: &Host, hold: Hold, deadline: Duration) -> Result<Self> {
        // The servers may be in this process, too, and keep for a while what broke unnoticed by them.
        let both_ends = 2 * u64::from(hold.connections);
        allow_open_files(both_ends, 5 * both_ends)?;
        let connections = hold.connections;
        let (sender, events) = channel();
        let (stop, stopped) = watch::channel(false);
        let task = host.spawn(move || hold_all(hold, sender, stopped));
        let streams = Self {
            stop,
            task,
            events,
            ended: Vec::new(),
        };
        let start = Instant::now();
        for open in 0..connections {
            let left = deadline.saturating_sub(start.elapsed());
            match streams.events.recv_timeout(left) {
                Ok(Event::Opened) => {}
                Ok(Event::Ended(ended)) => {
                    anyhow::bail!("{open} of {connections} open, then: {ended}")
                }
                Err(_) => anyhow::bail!("{open} of {connections} open after {deadline:?}"),
            }
        }
        Ok(streams)
    }

    /// Connections that ended so far.
    pub fn ended(&mut self) -> &[Ended] {
        let new = self.events.try_iter().filter_map(Event::ended);
        self.ended.extend(new);
        &self.ended
    }

    /// Every connection speaks once more and is closed. The ends of all that there ever were.
    pub fn finish(mut self) -> Result<Vec<Ended>> {
        ensure!(
            self.stop.send(true).is_ok(),
            "the thread of the connections ended"
        );
        self.task.wait().context("holding connections")?;
        self.ended
            .extend(self.events.try_iter().filter_map(Event::ended));
        Ok(self.ended)
    }
}

impl Event {
    fn ended(self) -> Option<Ended> {
        match self {
            Self::Opened => None,
            Self::Ended(ended) => Some(ended),
        }
    }
}

async fn hold_all(hold: Hold, events: Sender<Event>, stopped: watch::Receiver<bool>) {
    /// How many handshakes begin at once, and how long until the next ones.
    const BATCH: u32 = 50;
    const GAP: Duration = Duration::from_millis(20);

    let mut all = JoinSet::new();
    for connection in 0..hold.connections {
        if connection % BATCH == BATCH - 1 {
            sleep(GAP).await;
        }
        let one = One {
            connection,
            hold: hold.clone(),
            events: events.clone(),
            stopped: stopped.clone(),
            random: Rng::with_seed(u64::from(connection)),
        };
        all.spawn(one.hold());
    }
    while all.join_next().await.is_some() {}
}

/// One place among those held: a connection, and whatever replaces it.
struct One {
    connection: u32,
    hold: Hold,
    events: Sender<Event>,
    stopped: watch::Receiver<bool>,
    random: Rng,
}

/// An open connection.
struct Open {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl One {
    async fn hold(mut self) {
        loop {
            let mut ended = Ended::before_connecting(self.connection);
            ended.end = match self.connect().await {
                Ok(mut open) => {
                    ended.connected = true;
                    self.speak(&mut open, &mut ended).await
                }
                Err(end) => end,
            };
            ended.ended = Instant::now();
            let _ = self.events.send(Event::Ended(ended));
            // A port that refuses is not asked in a loop.
            self.pause().await;
            if *self.stopped.borrow() {
                return;
            }
        }
    }

    async fn connect(&self) -> Result<Open, End> {
        let Hold {
            target, patience, ..
        } = self.hold;
        let stream = in_time(patience, TcpStream::connect(target)).await?;
        stream.set_nodelay(true).map_err(|error| End::of(&error))?;
        let (reader, writer) = stream.into_split();
        Ok(Open {
            reader: BufReader::with_capacity(LINE_MAX, reader),
            writer,
        })
    }

    /// Until told to stop, or until it breaks. The last message is sent after the stop, so that
    /// whatever is alive has shown it.
    async fn speak(&mut self, open: &mut Open, ended: &mut Ended) -> End {
        loop {
            let last = *self.stopped.borrow();
            if let Err(end) = self.exchange(open, ended).await {
                return end;
            }
            if last {
                return End::Alive;
            }
            self.pause().await;
        }
    }

    async fn exchange(&self, open: &mut Open, ended: &mut Ended) -> Result<(), End> {
        let question = Question {
            connection: self.connection,
            number: ended.messages,
        };
        let line = format!("{question}\n");
        let mut answer = String::new();
        let length = in_time(self.hold.patience, async {
            open.writer.write_all(line.as_bytes()).await?;
            read_line(&mut open.reader, &mut answer).await
        })
        .await?;
        if length == 0 {
            return Err(End::Closed);
        }
        let wrong = || End::WrongData(format!("`{}` to `{question}`", answer.trim_end()));
        let name = question.answered_by(answer.trim_end()).ok_or_else(wrong)?;
        match &ended.backend {
            None => {
                ended.backend = Some(name.into());
                let _ = self.events.send(Event::Opened);
            }
            Some(backend) if **backend != *name => return Err(wrong()),
            Some(_) => {}
        }
        ended.messages += 1;
        Ok(())
    }

    async fn pause(&mut self) {
        let Range { start, end } = self.hold.pause;
        let pause = start + (end - start).mul_f64(self.random.f64());
        tokio::select! {
            () = sleep(pause) => {}
            // An error: nobody is left to stop it, and so to wait for it.
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
        }
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, End> {
    match timeout(limit, work).await {
        Ok(result) => result.map_err(|error| End::of(&error)),
        Err(_) => Err(End::TimedOut),
    }
}

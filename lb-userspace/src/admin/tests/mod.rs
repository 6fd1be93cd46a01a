//! Server and client over a real socket, with a controller that does as the test says.

mod abuse;
mod flows;
mod overrides;
mod requests;
mod socket;
mod status;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Client, Command, FlowCursor, FlowPage, FlowsQuery, OverrideReport, Refusal, ReloadReport,
    TraceLine, TraceOptions, bind, fixtures, server::Patience,
};
use crate::overrides::{Change, Target};

/// Nothing here takes as long, unless it never ends.
const DEADLINE: Duration = Duration::from_secs(20);

/// Short, so that a test sees the end of it.
const SHORT: Patience = Patience {
    header: Duration::from_millis(300),
    write: Duration::from_millis(300),
    grace: Duration::from_millis(300),
};

/// A trace that the controller was asked for, and its way to answer.
struct Asked {
    options: TraceOptions,
    lines: mpsc::Sender<TraceLine>,
}

/// A daemon without a data path.
struct Daemon {
    _folder: TempDir,
    socket: PathBuf,
    asked: mpsc::UnboundedReceiver<Asked>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// What the controller says to a reload and to a trace.
#[derive(Clone)]
struct Script {
    reload: Result<ReloadReport, Refusal>,
    trace: Result<(), Refusal>,
    change: fn(&Target, Change) -> Result<OverrideReport, Refusal>,
    flows: fn(&FlowsQuery, Option<FlowCursor>) -> Result<FlowPage, Refusal>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            reload: Ok(ReloadReport::default()),
            trace: Ok(()),
            change: |_, _| Err(Refusal::unavailable("not here")),
            flows: |_, _| Ok(FlowPage::default()),
        }
    }
}

impl Daemon {
    async fn start(script: Script, patience: Patience) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("run/admin.sock");
        let bound = bind(&socket).await.unwrap().with_patience(patience);
        let (commands, received) = mpsc::channel(8);
        let (hand_over, asked) = mpsc::unbounded_channel();
        tokio::spawn(control(script, received, hand_over));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(bound.serve(commands, async {
            let _ = stopped.await;
        }));
        Self {
            _folder: folder,
            socket,
            asked,
            stop,
            server,
        }
    }

    async fn new() -> Self {
        Self::start(Script::default(), Patience::default()).await
    }

    fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    async fn assert_well(&self) {
        let status = in_time(self.client().status()).await.unwrap();
        assert_eq!(status, fixtures::status());
    }
}

/// The controller.
async fn control(
    script: Script,
    mut commands: mpsc::Receiver<Command>,
    asked: mpsc::UnboundedSender<Asked>,
) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Status(reply) => {
                let _ = reply.send(fixtures::status());
            }
            Command::Reload(reply) => {
                let _ = reply.send(script.reload.clone());
            }
            Command::Override {
                target,
                change,
                reply,
            } => {
                let _ = reply.send((script.change)(&target, change));
            }
            Command::Flows { query, from, reply } => {
                let _ = reply.send((script.flows)(&query, from));
            }
            Command::Explain { query: _, reply } => {
                let _ = reply.send(Err(Refusal::unavailable("not here")));
            }
            Command::Trace { options, reply } => {
                let (lines, receiver) = mpsc::channel(1);
                let _ = reply.send(script.trace.clone().map(|()| receiver));
                let _ = asked.send(Asked { options, lines });
            }
        }
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("does not end")
}

/// Says something, and returns all that comes back before the connection ends.
async fn say(socket: &Path, words: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    // A server that has heard enough may close before the last word.
    let _ = stream.write_all(words).await;
    hear(&mut stream).await
}

async fn hear(stream: &mut UnixStream) -> String {
    let mut heard = Vec::new();
    let _ = in_time(stream.read_to_end(&mut heard)).await;
    String::from_utf8_lossy(&heard).into_owned()
}

//! The listening side: connections, their limits, and their end.
//!
//! One request a connection, on hyper directly since `axum::serve` has no time limits. A client
//! that says nothing, talks slowly, does not read or sends garbage costs one of the [`places`] for
//! some seconds, or until somebody else needs it, and nobody else notices.
//!
//! [`places`]: super::places

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use thiserror::Error;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Command,
    places::{Asked, Places},
    routes,
    socket::{self, SocketFile},
    stall::StallGuard,
};

/// Bytes of a request's head.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Rest after a failed accept: without file descriptors it would fail again at once.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From a connection's start to the end of its request's head.
    pub(super) header: Duration,
    /// Without reading what it is sent.
    pub(super) write: Duration,
    /// To end once the daemon stops.
    pub(super) grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(5),
            write: Duration::from_secs(10),
            grace: Duration::from_secs(2),
        }
    }
}

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum BindError {
    /// A daemon answers there.
    #[error("the admin socket {} is in use by another daemon", .0.display())]
    InUse(PathBuf),
    /// A file that nobody made for this.
    #[error("{} is in the way: it is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The system says no.
    #[error("cannot make the admin socket {}: {source}", path.display())]
    Failed {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket that listens; clients that connect wait until it is served. Dropping it removes its
/// file.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    file: SocketFile,
    patience: Patience,
}

/// Listens at `path`, mode 0660, making its folder where there is none. A socket that a dead daemon
/// left is replaced.
///
/// # Errors
/// A daemon that answers there, a file that is no socket, and whatever the system says.
pub async fn bind(path: impl Into<PathBuf>) -> Result<Bound, BindError> {
    let (listener, file) = socket::listen(&path.into()).await?;
    Ok(Bound {
        listener,
        file,
        patience: Patience::default(),
    })
}

/// Whether [`bind`] would do; leaves no socket. For finding out before anything else is begun.
///
/// # Errors
/// As [`bind`].
pub async fn check(path: &Path) -> Result<(), BindError> {
    socket::check(path).await
}

/// Removes the socket that a dead daemon left at `path`, if there is one; says whether.
///
/// # Errors
/// As [`bind`].
pub async fn remove_stale(path: &Path) -> Result<bool, BindError> {
    socket::remove_stale(path).await
}

impl Bound {
    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Passes requests to the controller until `shutdown` is done; then the socket's file goes at
    /// once, and connections get a short while to end.
    pub async fn serve(self, commands: mpsc::Sender<Command>, shutdown: impl Future<Output = ()>) {
        let Self {
            listener,
            file,
            patience,
        } = self;
        let app = routes::router(commands);
        let (stop, stopping) = watch::channel(());
        let mut places = Places::default();
        // Accepted, and without a place yet: one at most.
        let mut newcomer = None;
        let mut shutdown = pin!(shutdown);
        loop {
            if let Some(stream) = newcomer.take_if(|_| places.make_room()) {
                let (app, stopping) = (app.clone(), stopping.clone());
                places.take(|asked| converse(stream, app, asked, patience, stopping));
            }
            // A newcomer waits for an end, or for the oldest silent one to be old enough.
            let cut = places.next_cut().filter(|_| newcomer.is_some());
            tokio::select! {
                () = &mut shutdown => break,
                Some(()) = places.ended() => {}
                () = sleep_until(cut.unwrap_or_else(Instant::now)), if cut.is_some() => {}
                accepted = listener.accept(), if newcomer.is_none() => match accepted {
                    Ok((stream, _)) => newcomer = Some(stream),
                    Err(error) => {
                        log::warn!("cannot accept a connection of the admin socket: {error}");
                        sleep(ACCEPT_REST).await;
                    }
                },
            }
        }
        drop(file);
        drop(listener);
        drop(stop);
        let _ = timeout(patience.grace, async {
            while let Some(()) = places.ended().await {}
        })
        .await;
        places.cut_all().await;
    }
}

/// One connection from start to end.
async fn converse(
    stream: UnixStream,
    app: Router,
    asked: Asked,
    patience: Patience,
    mut stopping: watch::Receiver<()>,
) {
    let app = TowerToHyperService::new(app);
    let answer = service_fn(move |request| {
        asked.note();
        app.call(request)
    });
    let io = StallGuard::new(TokioIo::new(stream), patience.write);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.header)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(io, answer);
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        log::debug!("a connection of the admin socket broke: {error}");
    }
}

//! The client of the admin API: what the command line and the playground ask the daemon with.
//!
//! A connection a request. Errors are made to be shown as they are.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::{
    net::UnixStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    ExplainQuery, Explanation, Failure, FlowList, FlowsQuery, OverrideReport, ReloadReport, Status,
    TraceOptions, Version, overrides::OverrideQuery,
};
use crate::overrides::{Change, Target};

/// For what the daemon answers from memory; its own limit is shorter.
const PATIENCE: Duration = Duration::from_secs(15);
/// For what changes the data path.
const LONG_PATIENCE: Duration = Duration::from_secs(65);
/// Between two tries to connect, while the daemon's queue is full.
const RETRY: Duration = Duration::from_millis(20);
/// Bytes of an answer: a full status of the largest tables stays below.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why a request got no good answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers at {} ({why}): is `sluice run` running, and is this its instance? \
         (--instance or SLUICE_INSTANCE, --socket or SLUICE_SOCKET)",
        socket.display()
    )]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Somebody may listen, but not to this user.
    #[error(
        "no permission to use {}: run as root, or as a member of the group of the socket",
        .0.display()
    )]
    Permission(PathBuf),
    /// The daemon did not answer in time.
    #[error("the daemon at {} does not answer", .0.display())]
    Silent(PathBuf),
    /// The daemon says no.
    #[error("{message}")]
    Refused {
        /// HTTP status code.
        code: u16,
        /// Its reason, one problem a line.
        message: String,
    },
    /// The connection ended too early.
    #[error("the connection to {} broke: {why}", socket.display())]
    Broken {
        /// Who was asked.
        socket: PathBuf,
        /// What the system said.
        why: String,
    },
    /// What answers is not Sluice, or not of this age.
    #[error("the answer of {} makes no sense: {why}", socket.display())]
    Garbled {
        /// Who answered.
        socket: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl ClientError {
    /// Whether the daemon refused a configuration that is not valid.
    pub fn is_invalid_config(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == StatusCode::UNPROCESSABLE_ENTITY)
    }
}

/// Where a daemon is asked.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Traced packets as they come. Dropping it ends the trace.
#[derive(Debug)]
pub struct TraceStream {
    socket: PathBuf,
    body: Incoming,
    _connection: Connection,
}

/// The task that moves a connection's bytes; it ends with its owner.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Client {
    /// Asks the daemon behind this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        let socket = socket.into();
        Self { socket }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How things are.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.parse(&self.status_json().await?)
    }

    /// How things are, as the daemon wrote it: with fields that this client may not know.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status_json(&self) -> Result<Bytes, ClientError> {
        self.exchange(Method::GET, "/v1/status", PATIENCE).await
    }

    /// Makes the daemon read its configuration again.
    ///
    /// # Errors
    /// See [`ClientError`]; what was in force stays in force.
    pub async fn reload(&self) -> Result<ReloadReport, ClientError> {
        let answer = self.exchange(Method::POST, "/v1/reload", LONG_PATIENCE);
        self.parse(&answer.await?)
    }

    /// What the daemon is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&self) -> Result<Version, ClientError> {
        let answer = self.exchange(Method::GET, "/v1/version", PATIENCE);
        self.parse(&answer.await?)
    }

    /// Drains, disables or weights a backend, or takes that back.
    ///
    /// # Errors
    /// See [`ClientError`]; nothing has changed then.
    pub async fn change(
        &self,
        target: &Target,
        change: Change,
    ) -> Result<OverrideReport, ClientError> {
        let query = OverrideQuery::new(target, change);
        let target = self.target("/v1/override", &query)?;
        let answer = self.exchange(Method::POST, &target, LONG_PATIENCE);
        self.parse(&answer.await?)
    }

    /// The flows that are remembered.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn flows(&self, query: &FlowsQuery) -> Result<FlowList, ClientError> {
        let target = self.target("/v1/flows", query)?;
        let answer = self.exchange(Method::GET, &target, LONG_PATIENCE);
        self.parse(&answer.await?)
    }

    /// Where a connection's packets go and why.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explain(&self, query: &ExplainQuery) -> Result<Explanation, ClientError> {
        let target = self.target("/v1/explain", query)?;
        let answer = self.exchange(Method::GET, &target, LONG_PATIENCE);
        self.parse(&answer.await?)
    }

    /// Starts a trace.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn trace(&self, options: &TraceOptions) -> Result<TraceStream, ClientError> {
        let target = self.target("/v1/trace", options)?;
        let start = async {
            let (response, connection) = self.send(Method::GET, &target).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response).await);
            }
            Ok(TraceStream {
                socket: self.socket.clone(),
                body: response.into_body(),
                _connection: connection,
            })
        };
        self.in_time(LONG_PATIENCE, start).await
    }

    /// A request's target with its query.
    fn target(&self, path: &str, query: &impl Serialize) -> Result<String, ClientError> {
        let query = serde_urlencoded::to_string(query).map_err(|error| self.garbled(error))?;
        Ok(format!("{path}?{query}"))
    }

    /// A request whose answer comes in one piece.
    async fn exchange(
        &self,
        method: Method,
        target: &str,
        patience: Duration,
    ) -> Result<Bytes, ClientError> {
        let exchange = async {
            let (response, _connection) = self.send(method, target).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response).await);
            }
            self.collect(response.into_body()).await
        };
        self.in_time(patience, exchange).await
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        let connection = Connection(tokio::spawn(async move {
            // What breaks shows in the response, too.
            let _ = connection.await;
        }));
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, "sluice")
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.garbled(error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(error))?;
        Ok((response, connection))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => return Ok(stream),
                // Too many wait already; a unix socket tells of no place that gets free.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(RETRY).await,
                Err(error) => return Err(self.unreachable(&error)),
            }
        }
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        Ok(body.map_err(|error| self.broken(error))?.to_bytes())
    }

    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let code = response.status();
        let message = match self.collect(response.into_body()).await {
            Ok(body) => serde_json::from_slice(&body).map(|Failure { error }| error),
            Err(error) => return error,
        };
        ClientError::Refused {
            code: code.as_u16(),
            message: message.unwrap_or_else(|_| format!("the daemon says {code}")),
        }
    }

    async fn in_time<T>(
        &self,
        patience: Duration,
        exchange: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout(patience, exchange)
            .await
            .unwrap_or_else(|_| Err(ClientError::Silent(self.socket.clone())))
    }

    fn parse<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(answer).map_err(|error| self.garbled(error))
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let socket = self.socket.clone();
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => return ClientError::Permission(socket),
            io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            io::ErrorKind::ConnectionRefused => "left by a daemon that is gone".to_owned(),
            _ => error.to_string(),
        };
        ClientError::Unreachable { socket, why }
    }

    fn broken(&self, why: impl ToString) -> ClientError {
        broken(&self.socket, why)
    }

    fn garbled(&self, why: impl ToString) -> ClientError {
        ClientError::Garbled {
            socket: self.socket.clone(),
            why: why.to_string(),
        }
    }
}

impl TraceStream {
    /// The next bytes, as they come: lines of text, of which the last may be incomplete. `None`
    /// where the trace ends.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the daemon is gone before the trace's end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| broken(&self.socket, error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn broken(socket: &Path, why: impl ToString) -> ClientError {
    ClientError::Broken {
        socket: socket.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_daemon_is_one_line_that_says_what_to_do() {
        let client = Client::new("/run/x.sock");
        let line = |kind: io::ErrorKind| client.unreachable(&kind.into()).to_string();
        for kind in [
            io::ErrorKind::NotFound,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::Other,
        ] {
            let line = line(kind);
            assert!(!line.contains('\n'));
            for word in ["/run/x.sock", "sluice run", "SLUICE_INSTANCE", "--socket"] {
                assert!(line.contains(word), "{word} in {line}");
            }
        }
        let line = line(io::ErrorKind::PermissionDenied);
        assert!(
            line.starts_with("no permission to use /run/x.sock"),
            "{line}"
        );
    }

    #[test]
    fn a_query_carries_any_name() {
        let client = Client::new("/run/x.sock");
        let options = TraceOptions {
            service: Some("a b&c=\u{e9}/-._~".to_owned()),
            limit: None,
        };
        assert_eq!(
            client.target("/v1/trace", &options).unwrap(),
            "/v1/trace?service=a+b%26c%3D%C3%A9%2F-._%7E"
        );
    }
}

//! The HTTP probe: a fresh connection, one GET, and the status of its answer.
//!
//! Nothing is trusted: the answer's head is bounded, its body is not read, redirects are not
//! followed, and the whole of it happens within the check's timeout, however the bytes trickle in.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use http_body_util::Empty;
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use tokio::time::timeout;

use super::{Outcome, socket, without_fin::WithoutFin};
use crate::model::HttpProbe;

/// Bytes of an answer's head; what is longer is nobody's health page.
const MAX_HEAD: usize = 16 * 1024;
/// Lines of an answer's head.
const MAX_HEADERS: usize = 100;
/// How the backends' logs name the load balancer.
const USER_AGENT: &str = concat!("sluice/", env!("CARGO_PKG_VERSION"));

/// Asks once and closes with RST, as soon as the answer's head is there.
pub(super) async fn probe(address: SocketAddr, http: &HttpProbe, limit: Duration) -> Outcome {
    let status = match timeout(limit, ask(address, http)).await {
        Ok(Ok(status)) => status.as_u16(),
        Ok(Err(failure)) => return failure.judge(),
        Err(_) => return socket::timed_out(limit),
    };
    if http.expect_status.contains(&status) {
        Outcome::Passed(status.to_string())
    } else {
        Outcome::Failed(format!("status {status}"))
    }
}

/// Why there is no status.
#[derive(Debug)]
enum Failure {
    /// No connection.
    Connect(io::Error),
    /// A connection, and no answer that makes sense.
    Answer(hyper::Error),
    /// The question cannot be written down.
    Question(hyper::http::Error),
}

async fn ask(address: SocketAddr, http: &HttpProbe) -> Result<StatusCode, Failure> {
    let HttpProbe {
        path,
        host,
        expect_status: _,
    } = http;
    // No `connection: close`: a server that closes first is the one to keep a TIME_WAIT.
    let request = Request::get(path.as_str())
        .header(header::HOST, host.clone().unwrap_or(address.to_string()))
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .body(Empty::<Bytes>::new())
        .map_err(Failure::Question)?;
    let stream = socket::connect(address).await.map_err(Failure::Connect)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .handshake(WithoutFin::new(stream))
        .await
        .map_err(Failure::Answer)?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection moves only while it is polled here, so giving up on the probe ends it, too.
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // Its last words may have been the answer; if not, the answer says what went wrong.
        _ = connection => answer.await,
    };
    answer.map(|a| a.status()).map_err(Failure::Answer)
}

impl Failure {
    fn judge(self) -> Outcome {
        let reason = match self {
            Self::Connect(error) => return socket::judge(&error),
            Self::Question(error) => error.to_string(),
            Self::Answer(error) => match cause(&error) {
                Cause::Socket(error) => return socket::judge(error),
                Cause::TooLong => "the answer's head is too long".to_owned(),
                Cause::Closed => "closed before it answered".to_owned(),
                Cause::NotHttp => "not HTTP".to_owned(),
            },
        };
        Outcome::Failed(reason)
    }
}

enum Cause<'e> {
    Socket(&'e io::Error),
    TooLong,
    Closed,
    NotHttp,
}

/// What is behind an error of hyper's, which may be wrapped in "canceled".
fn cause(error: &hyper::Error) -> Cause<'_> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Cause::Socket(error);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_parse_too_large() {
                return Cause::TooLong;
            }
            if error.is_incomplete_message() || error.is_closed() {
                return Cause::Closed;
            }
        }
        next = error.source();
    }
    // Bytes that do not parse, or that came before anything was asked.
    Cause::NotHttp
}

#[cfg(test)]
mod tests;

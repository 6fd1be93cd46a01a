//! The requests: each becomes a [`Command`], and the controller's answer becomes the response.

mod flows;

use std::{convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::{Body, HttpBody},
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{Stream, StreamExt, stream};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Command, ExplainQuery, Explanation, Failure, OverrideReport, Refusal, RefusalKind,
    ReloadReport, Status, TraceLine, TraceOptions, Version, overrides::OverrideQuery,
};

/// Bytes of a request's body. No request has one that is read.
pub(super) const MAX_BODY_BYTES: u64 = 64 * 1024;
/// How long the controller may take to tell its state.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to change the data path: grace periods, loading a program.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

type Commands = mpsc::Sender<Command>;

/// Every request there is.
pub(super) fn router(commands: Commands) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/override", post(override_backend))
        .route("/v1/flows", get(flows::list))
        .route("/v1/explain", get(explain))
        .route("/v1/trace", get(trace))
        .route("/v1/version", get(async || Json(Version::current())))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "there is no such request"))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this request has another method",
            )
        })
        .layer(middleware::from_fn(refuse_large_bodies))
        .with_state(commands)
}

async fn status(State(commands): State<Commands>) -> Result<Json<Status>, ApiError> {
    Ok(Json(ask(&commands, PATIENCE, Command::Status).await?))
}

async fn reload(State(commands): State<Commands>) -> Result<Json<ReloadReport>, ApiError> {
    let report = ask(&commands, LONG_PATIENCE, Command::Reload).await??;
    Ok(Json(report))
}

async fn override_backend(
    State(commands): State<Commands>,
    query: Result<Query<OverrideQuery>, QueryRejection>,
) -> Result<Json<OverrideReport>, ApiError> {
    let (target, change) = asked(query)?
        .parse()
        .map_err(|why| ApiError::new(StatusCode::BAD_REQUEST, why))?;
    let report = ask(&commands, LONG_PATIENCE, |reply| Command::Override {
        target,
        change,
        reply,
    });
    Ok(Json(report.await??))
}

async fn explain(
    State(commands): State<Commands>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Explanation>, ApiError> {
    let query = asked(query)?;
    let explanation = ask(&commands, LONG_PATIENCE, |reply| Command::Explain {
        query,
        reply,
    });
    Ok(Json(explanation.await??))
}

/// What a query asks for, if it makes sense.
fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    match query {
        Ok(Query(asked)) => Ok(asked),
        Err(rejection) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            rejection.body_text(),
        )),
    }
}

async fn trace(
    State(commands): State<Commands>,
    options: Result<Query<TraceOptions>, QueryRejection>,
) -> Result<Response, ApiError> {
    let options = asked(options)?;
    let limit = options.limit;
    if limit == Some(0) {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "limit must be at least 1",
        ));
    }
    let receiver = ask(&commands, LONG_PATIENCE, |reply| Command::Trace {
        options,
        reply,
    })
    .await??;
    let lines = match limit.and_then(|l| usize::try_from(l).ok()) {
        Some(limit) => Body::from_stream(lines(receiver).take(limit)),
        None => Body::from_stream(lines(receiver)),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response())
}

/// Ends with the receiver, and drops it when nobody reads any more.
fn lines(
    receiver: mpsc::Receiver<TraceLine>,
) -> impl Stream<Item = Result<String, Infallible>> + Send {
    stream::unfold(receiver, async |mut receiver| {
        let mut line = receiver.recv().await?;
        line.push('\n');
        Some((Ok(line), receiver))
    })
}

/// Sends a command and waits for its answer.
async fn ask<T>(
    commands: &Commands,
    patience: Duration,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, ApiError> {
    let stopping = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    let (reply, answer) = oneshot::channel();
    let exchange = async {
        commands
            .send(command(reply))
            .await
            .map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    };
    timeout(patience, exchange).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the daemon is busy and did not answer in time",
        ))
    })
}

async fn refuse_large_bodies(request: Request, next: Next) -> Response {
    if request.body().size_hint().lower() > MAX_BODY_BYTES {
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
            .into_response();
    }
    next.run(request).await
}

/// A response that is a failure.
struct ApiError {
    code: StatusCode,
    message: String,
}

impl ApiError {
    fn new(code: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.kind {
            RefusalKind::BadRequest => StatusCode::BAD_REQUEST,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::InvalidConfig => StatusCode::UNPROCESSABLE_ENTITY,
            RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(code, refusal.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self {
            code,
            message: error,
        } = self;
        (code, Json(Failure { error })).into_response()
    }
}

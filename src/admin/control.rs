//! Calls that change something: refused without the token, or from a browser where there is none.

use super::Context;
use crate::config::Secret;
use crate::error::Error;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a call that stops is held to tell how that went: less than a request may take at all.
const HELD: Duration = Duration::from_secs(20);

/// What an operator may ask of a running process.
#[derive(Debug, Clone)]
pub struct Controls {
    /// Stops the process as SIGTERM does.
    pub stop: CancellationToken,
    /// Whether the stream should stand still.
    pub paused: watch::Sender<bool>,
    pub log: crate::log::Handle,
    /// How the run has ended; none before it has.
    pub ended: watch::Sender<Option<Ended>>,
}

/// How a run has ended, for whoever asked it to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The process's exit code; 0 where all that was read is delivered and committed.
    pub exit_code: u8,
    /// The stable name of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What went wrong, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Ended {
    /// The end of a run with this result.
    pub fn with(result: &Result<(), Error>) -> Self {
        let error = result.as_ref().err();
        Self {
            exit_code: error.map_or(0, |error| error.code.exit_code()),
            code: error.map(|error| error.code.name()),
            message: error.map(|error| error.detail.clone()),
        }
    }
}

impl Controls {
    pub fn new(stop: CancellationToken, log: crate::log::Handle) -> Self {
        Self {
            stop,
            paused: watch::Sender::new(false),
            log,
            ended: watch::Sender::new(None),
        }
    }
}

/// Who may change something.
#[derive(Debug)]
pub(super) struct Guard {
    pub token: Option<Secret>,
    /// Whether only this machine can reach the server.
    pub is_loopback: bool,
}

impl Guard {
    fn refusal(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        let Some(token) = &self.token else {
            if !self.is_loopback {
                let why = "set ADMIN_TOKEN: this server can be reached from other machines";
                return Some((StatusCode::FORBIDDEN, why));
            }
            // A page in a browser on this machine can reach it too, but cannot hide that it is one.
            return headers.contains_key(header::ORIGIN).then_some((
                StatusCode::FORBIDDEN,
                "not from a browser without ADMIN_TOKEN",
            ));
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match given {
            Some(given) if is_same(given.as_bytes(), token.expose().as_bytes()) => None,
            _ => Some((
                StatusCode::UNAUTHORIZED,
                "send Authorization: Bearer <ADMIN_TOKEN>",
            )),
        }
    }
}

/// Compares without telling by its duration how much was right.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(wanted)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == wanted.len() && differences == 0
}

/// Lets a changing call through, or answers in its place.
pub(super) async fn guard(
    State(context): State<Arc<Context>>,
    request: Request,
    next: Next,
) -> Response {
    match context.guard.refusal(request.headers()) {
        Some((status, why)) => {
            tracing::warn!(path = request.uri().path(), "refused a call: {why}");
            refused(status, why)
        }
        None => next.run(request).await,
    }
}

/// The stream drains, commits and stands still.
pub(super) async fn pause(State(context): State<Arc<Context>>) -> Response {
    set_paused(&context, true)
}

/// The stream goes on from its checkpoint.
pub(super) async fn resume(State(context): State<Arc<Context>>) -> Response {
    set_paused(&context, false)
}

fn set_paused(context: &Context, is_paused: bool) -> Response {
    if !context.is_enabled {
        let why = "ENABLE_CHANGE_STREAMS=false: no stream runs here";
        return refused(StatusCode::CONFLICT, why);
    }
    if context.controls.stop.is_cancelled() {
        return refused(StatusCode::CONFLICT, "it is stopping");
    }
    let was = context.controls.paused.send_replace(is_paused);
    if was != is_paused {
        tracing::info!(paused = is_paused, "asked for by an operator");
    }
    done(json!({ "paused": is_paused })).into_response()
}

/// The query of [`stop`].
#[derive(Debug, Deserialize)]
pub(super) struct Stop {
    /// Whether the answer waits for the end, so that it can tell how that was.
    #[serde(default)]
    wait: bool,
}

/// The process drains and exits. Whoever waits is told `ended`; it is missing where that takes long, and
/// the call can be repeated.
pub(super) async fn stop(
    State(context): State<Arc<Context>>,
    Query(how): Query<Stop>,
) -> Json<Value> {
    let controls = &context.controls;
    if !controls.stop.is_cancelled() {
        tracing::info!("stopping: asked for by an operator");
        controls.stop.cancel();
    }
    let mut data = json!({ "stopping": true });
    if how.wait
        && let Ok(Some(ended)) = tokio::time::timeout(HELD, end(controls)).await
    {
        data["ended"] = json!(ended);
    }
    done(data)
}

/// Waits until the run has ended.
async fn end(controls: &Controls) -> Option<Ended> {
    let mut ended = controls.ended.subscribe();
    // The sender is in `controls`.
    let ended = ended.wait_for(Option::is_some).await.ok()?;
    ended.clone()
}

/// The body of [`log_level`].
#[derive(Debug, Deserialize)]
pub(super) struct LogLevel {
    level: String,
}

/// Changes how much is logged, until the process ends.
pub(super) async fn log_level(
    State(context): State<Arc<Context>>,
    // Whatever `curl -d` calls it.
    body: Bytes,
) -> Response {
    let level = serde_json::from_slice::<LogLevel>(&body).ok();
    let Some(level) = level.and_then(|body| body.level.parse::<tracing::Level>().ok()) else {
        let why = "send {\"level\": \"…\"} with one of error, warn, info, debug, trace";
        return refused(StatusCode::BAD_REQUEST, why);
    };
    context.controls.log.set_level(level);
    tracing::info!(%level, "log level changed by an operator");
    let level = level.as_str().to_ascii_lowercase();
    done(json!({ "level": level })).into_response()
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "status": "error", "message": why }))).into_response()
}

fn done(data: Value) -> Json<Value> {
    Json(json!({ "status": "success", "data": data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, headers: &[(header::HeaderName, &'static str)]) -> Option<u16> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), header::HeaderValue::from_static(value)))
            .collect();
        guard.refusal(&headers).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn a_changing_call_needs_the_token_or_a_terminal_on_this_machine() {
        let open = Guard {
            token: None,
            is_loopback: false,
        };
        assert_eq!(status(&open, &[]), Some(403));
        let local = Guard {
            token: None,
            is_loopback: true,
        };
        assert_eq!(status(&local, &[]), None);
        let page = (header::ORIGIN, "http://evil.example");
        assert_eq!(status(&local, &[page]), Some(403));
        for is_loopback in [true, false] {
            let guarded = Guard {
                token: Some(Secret::new("0123456789abcdef")),
                is_loopback,
            };
            let with = |value| status(&guarded, &[(header::AUTHORIZATION, value)]);
            assert_eq!(status(&guarded, &[]), Some(401));
            assert_eq!(with("Bearer 0123456789abcdeX"), Some(401));
            assert_eq!(with("Bearer 0123456789abcde"), Some(401));
            assert_eq!(with("Bearer "), Some(401));
            assert_eq!(with("Bearer 0123456789abcdef"), None);
        }
    }
}

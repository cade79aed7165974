//! Calls that change something: refused without the token, or from a browser where there is none.

use super::Context;
use crate::config::Secret;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What an operator may ask of a running process.
#[derive(Debug, Clone)]
pub struct Controls {
    /// Stops the process as SIGTERM does.
    pub stop: CancellationToken,
    /// Whether the stream should stand still.
    pub paused: watch::Sender<bool>,
    pub log: crate::log::Handle,
}

impl Controls {
    pub fn new(stop: CancellationToken, log: crate::log::Handle) -> Self {
        Self {
            stop,
            paused: watch::Sender::new(false),
            log,
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
            (status, Json(json!({ "status": "error", "message": why }))).into_response()
        }
        None => next.run(request).await,
    }
}

/// The stream drains, commits and stands still.
pub(super) async fn pause(State(context): State<Arc<Context>>) -> Json<Value> {
    set_paused(&context, true)
}

/// The stream goes on from its checkpoint.
pub(super) async fn resume(State(context): State<Arc<Context>>) -> Json<Value> {
    set_paused(&context, false)
}

fn set_paused(context: &Context, is_paused: bool) -> Json<Value> {
    let was = context.controls.paused.send_replace(is_paused);
    if was != is_paused {
        tracing::info!(paused = is_paused, "asked for by an operator");
    }
    done(json!({ "paused": is_paused }))
}

/// The process drains and exits.
pub(super) async fn stop(State(context): State<Arc<Context>>) -> Json<Value> {
    tracing::info!("stopping: asked for by an operator");
    context.controls.stop.cancel();
    done(json!({ "stopping": true }))
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
        let message = "send {\"level\": \"…\"} with one of error, warn, info, debug, trace";
        let body = json!({ "status": "error", "message": message });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    };
    context.controls.log.set_level(level);
    tracing::info!(%level, "log level changed by an operator");
    let level = level.as_str().to_ascii_lowercase();
    done(json!({ "level": level })).into_response()
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

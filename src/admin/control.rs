//! Calls that change something. [`guard`](super::guard) says who may make them.

use super::Context;
use super::guard::refused;
use super::which::Which;
use crate::api::steering;
use crate::coordination::Coordination;
use crate::error::Error;
use crate::log::event_id;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use mongodb::Client;
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
    pub log: crate::log::Handle,
    /// How the run has ended; none before it has.
    pub ended: watch::Sender<Option<Ended>>,
    /// Who runs which stream; none before this instance knows.
    pub coordination: watch::Sender<Option<Coordination>>,
    /// The process's client of MongoDB; none before there is one.
    pub client: watch::Sender<Option<Client>>,
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
            log,
            ended: watch::Sender::new(None),
            coordination: watch::Sender::new(None),
            client: watch::Sender::new(None),
        }
    }
}

/// The streams drain, commit and stand still.
#[utoipa::path(post, path = "/admin/pause", operation_id = "adminPause", tag = "admin", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object), (status = 409, body = Object)))]
pub(super) async fn pause(State(context): State<Arc<Context>>, which: Which) -> Response {
    set_paused(&context, &which, true)
}

/// The streams resume at their checkpoints.
#[utoipa::path(post, path = "/admin/resume", operation_id = "adminResume", tag = "admin", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object), (status = 409, body = Object)))]
pub(super) async fn resume(State(context): State<Arc<Context>>, which: Which) -> Response {
    set_paused(&context, &which, false)
}

fn set_paused(context: &Context, which: &Which, is_paused: bool) -> Response {
    if let Some(worker) = &context.worker {
        if worker.paused.send_replace(is_paused) != is_paused {
            match is_paused {
                true => tracing::info!(
                    event_id = event_id::WORKER_PAUSED,
                    "paused by an operator: no job begins, and what runs goes on"
                ),
                false => tracing::info!(
                    event_id = event_id::WORKER_RESUMED,
                    "resumed by an operator: jobs begin again"
                ),
            }
        }
        return done(json!({ "paused": is_paused })).into_response();
    }
    match steering::set_paused(&context.api, which.all(), is_paused) {
        Ok(()) => done(json!({ "paused": is_paused })).into_response(),
        Err(problem) => refused(problem.status, &problem.detail),
    }
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
#[utoipa::path(post, path = "/admin/stop", operation_id = "adminStop", tag = "admin", params(("wait" = Option<bool>, Query, description = "Whether the answer comes at the end, with the exit code")), responses((status = 200, body = Object)))]
pub(super) async fn stop(
    State(context): State<Arc<Context>>,
    Query(how): Query<Stop>,
) -> Json<Value> {
    let controls = &context.controls;
    if !controls.stop.is_cancelled() {
        tracing::info!(
            event_id = event_id::STOPPING,
            "stopping: asked for by an operator"
        );
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

/// Changes how much is logged, until the process ends.
#[utoipa::path(post, path = "/admin/log-level", operation_id = "adminLogLevel", tag = "admin", request_body = Object, responses((status = 200, body = Object), (status = 400, body = Object)))]
pub(super) async fn log_level(
    State(context): State<Arc<Context>>,
    // Whatever `curl -d` calls it.
    body: Bytes,
) -> Response {
    match steering::set_level(&context.api, &body) {
        Ok(level) => done(json!({ "level": level })).into_response(),
        Err(problem) => refused(problem.status, &problem.detail),
    }
}

pub(super) fn done(data: Value) -> Json<Value> {
    Json(json!({ "status": "success", "data": data }))
}

//! The answers about health. `docs/operations.md` says what each field means.
//!
//! Of one stream, whether it is the only one or asked for by `?stream=`, the answer is that stream's. Of
//! several it is that of the process, with each stream's below `streams`.

mod one;
mod owners;
mod worker;

use super::Context;
use super::which::Which;
use crate::status::health::Health;
use crate::status::line::{Overview, Status};
use crate::status::schedules::Schedules;
use crate::stream::streams::Handle;
use axum::Json;
use axum::extract::State as Of;
use axum::http::StatusCode;
use one::Standing;
use serde_json::{Value, json};
use std::sync::Arc;

type Answer = (StatusCode, Json<Value>);

/// The process runs and answers, and says whose it is.
#[utoipa::path(get, path = "/health/live", operation_id = "getLive", tag = "health", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object)), security(()))]
pub(super) async fn live(Of(context): Of<Arc<Context>>, which: Which) -> Json<Value> {
    if let Some(board) = &context.worker {
        return worker::live(board);
    }
    let mut body = match which.only() {
        Some(handle) => one::live(handle),
        None => json!({
            "state": context.streams.state().name(),
            "streams": each(&which, one::live),
        }),
    };
    body["status"] = "alive".into();
    Json(body)
}

/// Whether the streams do their work; for several, whether one does and none is still starting.
#[utoipa::path(get, path = "/health/ready", operation_id = "getReady", tag = "health", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object), (status = 503, body = Object)), security(()))]
pub(super) async fn ready(Of(context): Of<Arc<Context>>, which: Which) -> Answer {
    if let Some(board) = &context.worker {
        return worker::ready(board);
    }
    if let Some(handle) = which.only() {
        return (ok_if(handle.board.is_ready()), Json(one::ready(handle)));
    }
    // `tailwater live` has no stream.
    let is_alone = context.streams.all().is_empty();
    let serves = context.live.as_ref().filter(|_| is_alone);
    let is_ready = serves.map_or_else(|| context.streams.is_ready(), |live| live.ready.get());
    let body = json!({
        "status": one::ready_word(is_ready),
        "state": context.streams.state().name(),
        "streams": each(&which, one::ready),
    });
    (ok_if(is_ready), Json(body))
}

/// In one word, with why.
#[utoipa::path(get, path = "/health", operation_id = "getHealth", tag = "health", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object), (status = 503, body = Object)), security(()))]
pub(super) async fn health(Of(context): Of<Arc<Context>>, which: Which) -> Answer {
    if let Some(board) = &context.worker {
        return worker::health(board);
    }
    let health = health_of(&context, &which);
    let mut body = summary(&context, &health);
    if which.only().is_none() {
        body["streams"] = each(&which, one::health);
    }
    (status_of(&health), Json(body))
}

/// Component by component.
#[utoipa::path(get, path = "/health/detailed", operation_id = "getDetailedHealth", tag = "health", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object), (status = 503, body = Object)), security(()))]
pub(super) async fn detailed(Of(context): Of<Arc<Context>>, which: Which) -> Answer {
    if let Some(board) = &context.worker {
        return worker::health(board);
    }
    let health = health_of(&context, &which);
    let mut body = summary(&context, &health);
    match which.only() {
        Some(handle) => body = one::detailed(handle, body),
        None => {
            body["state"] = context.streams.state().name().into();
            body["streams"] = each(&which, |handle| one::detailed(handle, one::health(handle)));
        }
    }
    if let Some(board) = &context.schedules {
        body["schedules"] = schedules(board);
    }
    body["version"] = env!("CARGO_PKG_VERSION").into();
    (status_of(&health), Json(body))
}

/// The streams, with how many of them are in which state.
#[utoipa::path(get, path = "/health/subscriptions", operation_id = "getSubscriptions", tag = "health", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object)), security(()))]
pub(super) async fn subscriptions(Of(context): Of<Arc<Context>>, which: Which) -> Answer {
    let handles: &[Arc<Handle>] = match context.is_enabled {
        true => which.all(),
        false => &[],
    };
    let count = |standing| {
        let is_so = |handle: &&Arc<Handle>| one::standing(&handle.board) == standing;
        handles.iter().filter(is_so).count()
    };
    let rows = handles.iter().map(|handle| {
        let mut row = one::database(handle);
        owners::put(&mut row, handle.board.ownership().as_ref());
        if let Some(listeners) = one::listeners([&**handle]) {
            row["listeners"] = listeners;
            row["databases"] = one::databases(handle);
        }
        row
    });
    let mut body = json!({
        "total": handles.len(),
        "active": count(Standing::Active),
        "failed": count(Standing::Failed),
        "reconnecting": count(Standing::Reconnecting),
        "subscriptions": rows.collect::<Vec<_>>(),
    });
    if let Some(listeners) = one::listeners(handles.iter().map(|handle| &**handle)) {
        body["listeners"] = listeners;
    }
    let coordination = context.controls.coordination.borrow().clone();
    if let Some(coordination) = coordination.filter(|_| context.is_shared) {
        owners::put_others(&mut body, &coordination, which.only().is_some());
    }
    (StatusCode::OK, Json(body))
}

/// `/api/health`.
#[utoipa::path(get, path = "/api/health", operation_id = "getApiHealth", tag = "health", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object), (status = 503, body = Object)), security(()))]
pub(super) async fn api(Of(context): Of<Arc<Context>>, which: Which) -> Answer {
    let health = health_of(&context, &which);
    let mut data = summary(&context, &health);
    data["changeStreams"] = change_streams_data(&context, &which);
    let word = match health {
        Health::Unhealthy(_) => "error",
        _ => "success",
    };
    let body = json!({ "status": word, "message": "Health status retrieved", "data": data });
    (status_of(&health), Json(body))
}

/// `/api/health/change-streams`.
#[utoipa::path(get, path = "/api/health/change-streams", operation_id = "getChangeStreamsHealth", tag = "health", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object)), security(()))]
pub(super) async fn change_streams(Of(context): Of<Arc<Context>>, which: Which) -> Json<Value> {
    Json(json!({
        "status": "success",
        "message": "Change Streams status retrieved",
        "data": change_streams_data(&context, &which),
    }))
}

/// The status line.
#[utoipa::path(get, path = "/status", operation_id = "getStatus", tag = "health", params(("stream" = Option<String>, Query, description = "Only this stream: its name or id")), responses((status = 200, body = Object)), security(()))]
pub(super) async fn status(which: Which) -> Json<Value> {
    Json(match which.only() {
        Some(handle) => json!(Status::of(&handle.board)),
        None => json!(Overview::of(
            which.all().iter().map(|handle| &*handle.board)
        )),
    })
}

fn change_streams_data(context: &Context, which: &Which) -> Value {
    let watches = |handle: &Arc<Handle>| {
        handle.board.state().is_running() && handle.board.mongo_connected.get()
    };
    json!({
        "enabled": context.is_enabled,
        "isWatching": which.all().iter().any(watches),
    })
}

fn health_of(context: &Context, which: &Which) -> Health {
    let health = match which.only() {
        Some(handle) => handle.board.health(),
        None => context.streams.health(),
    };
    // As long as a stream does its work, a restart for the schedules' sake would only disturb that one.
    match (&health, context.schedules.as_ref().map(|it| it.health())) {
        (Health::Healthy, Some(Health::Degraded(reason) | Health::Unhealthy(reason))) => {
            Health::Degraded(reason)
        }
        _ => health,
    }
}

/// How the schedules are.
fn schedules(board: &Schedules) -> Value {
    let time = |millis: Option<i64>| millis.map(crate::schedule::text);
    let mut body = one::told(&board.health());
    body["state"] = board.phase().name().into();
    body["owner"] = board.ownership().and_then(|it| it.owner).into();
    body["nextAt"] = time(board.next()).into();
    body["produced"] = board.produced.get().into();
    body["interruptions"] = board.failed.get().into();
    body["waitingFor"] = board.waiting().iter().map(|wait| wait.sentence()).collect();
    for (state, count) in board.count() {
        body["count"][state] = count.into();
    }
    let bad = board.all().into_iter().filter_map(|(key, shown)| {
        let reason = shown.state.reason()?.to_owned();
        Some(json!({"id": key, "name": shown.name, "state": shown.state.name(), "reason": reason}))
    });
    body["problems"] = bad.take(PROBLEMS).collect();
    body
}

/// How many schedules with problems are named.
const PROBLEMS: usize = 20;

fn each(which: &Which, answer: impl Fn(&Handle) -> Value) -> Value {
    which.all().iter().map(|handle| answer(handle)).collect()
}

fn summary(context: &Context, health: &Health) -> Value {
    let mut body = one::told(health);
    body["uptime"] = ((context.started.elapsed().as_secs_f64() * 1e3).round() / 1e3).into();
    if context.is_dry_run {
        body["dryRun"] = true.into();
    }
    body
}

fn status_of(health: &Health) -> StatusCode {
    ok_if(!matches!(health, Health::Unhealthy(_)))
}

fn ok_if(is_well: bool) -> StatusCode {
    match is_well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

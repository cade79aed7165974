//! The answers about health. `docs/operations.md` says what each field means.

use super::Context;
use crate::config::Scope;
use crate::status::health::Health;
use crate::status::line::Status;
use crate::status::waiting::Wait;
use crate::status::{Board, Flag, Note, State};
use axum::Json;
use axum::extract::State as Of;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

type Answer = (StatusCode, Json<Value>);

/// The process runs and answers, and says whose it is.
pub(super) async fn live(Of(context): Of<Arc<Context>>) -> Json<Value> {
    let state = context.board.state();
    let mut body = json!({
        "status": "alive",
        "state": state.name(),
        "stream": context.stream,
    });
    if state == State::Paused {
        body["drained"] = (!context.board.cut_short.get()).into();
    }
    Json(body)
}

/// Cursor open, Kafka reachable, checkpoint loaded, nothing waited for that it stands still for.
pub(super) async fn ready(Of(context): Of<Arc<Context>>) -> Answer {
    let board = &context.board;
    let is_ready = board.is_ready();
    let mut body = json!({
        "status": if is_ready { "ready" } else { "not ready" },
        "state": board.state().name(),
        "stream": context.stream,
        "mongoConnected": board.mongo_connected.get(),
        "kafkaConnected": board.kafka_connected.get(),
        "checkpointLoaded": board.checkpoint_loaded.get(),
    });
    if let Some(wait) = board.stands_still() {
        body["waitingFor"] = wait.sentence().into();
    }
    (ok_if(is_ready), Json(body))
}

/// In one word, with why.
pub(super) async fn health(Of(context): Of<Arc<Context>>) -> Answer {
    let health = context.board.health();
    (status_of(&health), Json(summary(&context.board, &health)))
}

/// Component by component.
pub(super) async fn detailed(Of(context): Of<Arc<Context>>) -> Answer {
    let board = &context.board;
    let health = board.health();
    let mut body = summary(board, &health);
    body["state"] = board.state().name().into();
    body["stream"] = context.stream.clone().into();
    body["version"] = env!("CARGO_PKG_VERSION").into();
    body["components"] = json!({
        "source": component(
            board, connected(&board.mongo_connected), &board.mongo_connected, &board.source_error,
            json!({
                "replies": board.replies.get(),
                "events": board.events.get(),
                "reconnects": board.reconnects.get(),
                "historyGaps": board.gaps.get(),
            }),
        ),
        "sink": component(
            board, connected(&board.kafka_connected), &board.kafka_connected, &board.sink_error,
            json!({
                "produced": board.produced.get(),
                "acknowledged": board.acked.get(),
                "inFlight": board.in_flight(),
                "deadLettered": board.dead_lettered.get(),
                "skipped": board.skipped.get(),
            }),
        ),
        "checkpoint": checkpoint(board),
        // Listeners come from a collection; none is configured.
        "listeners": { "state": "off" },
    });
    body["waiting"] = waiting(board);
    body["databases"] = databases(&context);
    (status_of(&health), Json(body))
}

/// What is waited for, beyond a hiccup.
fn waiting(board: &Board) -> Value {
    let waits = board.waiting().into_iter().filter(Wait::is_noticed);
    let row = |wait: Wait| {
        json!({
            "for": wait.what.name(),
            "what": wait.what.to_string(),
            "since": time(wait.since.millis),
            "seconds": wait.lasts().as_secs(),
            "reason": wait.why,
        })
    };
    waits.map(row).collect()
}

/// The streams, one per source database.
pub(super) async fn subscriptions(Of(context): Of<Arc<Context>>) -> Answer {
    let state = context.board.state();
    // Each stream counts once at most; one that is paused or draining is none of the three.
    let is_opened = matches!(state, State::Starting | State::Recovering);
    let is_failed = !is_opened && matches!(context.board.health(), Health::Unhealthy(_));
    let is_interrupted = state == State::Running && !context.board.mongo_connected.get();
    let is_reconnecting = is_opened || (is_interrupted && !is_failed);
    let body = json!({
        "total": u8::from(context.is_enabled),
        "active": u8::from(state == State::Running && !is_failed && !is_reconnecting),
        "failed": u8::from(is_failed),
        "reconnecting": u8::from(is_reconnecting),
        "subscriptions": if context.is_enabled { json!([database(&context)]) } else { json!([]) },
    });
    (StatusCode::OK, Json(body))
}

/// `/api/health`.
pub(super) async fn api(Of(context): Of<Arc<Context>>) -> Answer {
    let health = context.board.health();
    let mut data = summary(&context.board, &health);
    data["changeStreams"] = change_streams_data(&context);
    let word = match health {
        Health::Unhealthy(_) => "error",
        _ => "success",
    };
    let body = json!({ "status": word, "message": "Health status retrieved", "data": data });
    (status_of(&health), Json(body))
}

/// `/api/health/change-streams`.
pub(super) async fn change_streams(Of(context): Of<Arc<Context>>) -> Json<Value> {
    Json(json!({
        "status": "success",
        "message": "Change Streams status retrieved",
        "data": change_streams_data(&context),
    }))
}

/// The status line.
pub(super) async fn status(Of(context): Of<Arc<Context>>) -> Json<Status> {
    Json(Status::of(&context.board))
}

fn change_streams_data(context: &Context) -> Value {
    json!({
        "enabled": context.is_enabled,
        "isWatching": context.board.state().is_running() && context.board.mongo_connected.get(),
    })
}

fn summary(board: &Board, health: &Health) -> Value {
    let mut body = json!({
        "status": health.name(),
        "uptime": (board.uptime().as_secs_f64() * 1e3).round() / 1e3,
    });
    if board.dry_run.get() {
        body["dryRun"] = true.into();
    }
    if let Some(reason) = health.reason() {
        body["reason"] = reason.into();
    }
    body
}

fn component(board: &Board, state: &str, flag: &Flag, error: &Note, counters: Value) -> Value {
    let started = board.started_millis();
    let last_error = error
        .get()
        .map(|noted| json!({ "message": noted.text, "at": time(noted.at_millis) }));
    json!({
        "state": state,
        // Before its first change it is as it was at the start.
        "since": time(flag.since_millis().unwrap_or(started)),
        "lastError": last_error,
        "counters": counters,
    })
}

fn connected(flag: &Flag) -> &'static str {
    if flag.get() {
        "connected"
    } else {
        "disconnected"
    }
}

fn checkpoint(board: &Board) -> Value {
    let state = match (
        board.checkpoint_loaded.get(),
        board.checkpoint_failing.get(),
    ) {
        (false, _) => "not loaded",
        (true, true) => "failing",
        (true, false) if board.dry_run.get() => "not stored: a dry run",
        (true, false) => "stored",
    };
    let committed = board.committed();
    let counters = json!({
        "ageSeconds": committed.as_ref().map(|committed| committed.at.elapsed().as_secs()),
        "seq": committed.as_ref().map(|committed| committed.position.seq.0),
    });
    let flag = match board.checkpoint_failing.get() {
        true => &board.checkpoint_failing,
        false => &board.checkpoint_loaded,
    };
    component(board, state, flag, &board.checkpoint_error, counters)
}

/// What is done for one database. A position is told by its time and number: its token holds a key.
fn database(context: &Context) -> Value {
    let board = &context.board;
    let position = board.committed().map(|committed| {
        json!({
            "seq": committed.position.seq.0,
            "time": committed.position.time_millis.and_then(time),
        })
    });
    json!({
        "database": board.namespace,
        "stream": context.stream,
        "filter": context.filter,
        "state": board.state().name(),
        "position": position,
        "lagMs": board.lag().as_millis() as u64,
        "events": board.events.get(),
    })
}

/// One row for the database that is watched, or for each of a deployment's that events came from.
fn databases(context: &Context) -> Value {
    let whole = database(context);
    let tallies = context.board.metrics.databases();
    if context.board.namespace != Scope::DEPLOYMENT || tallies.is_empty() {
        return json!([whole]);
    }
    let row = |(name, events, last): (String, u64, i64)| {
        let mut row = whole.clone();
        row["database"] = name.into();
        row["events"] = events.into();
        row["lastEventRead"] = time(last).into();
        row
    };
    tallies.into_iter().map(row).collect()
}

fn time(millis: i64) -> Option<String> {
    Timestamp::from_millisecond(millis)
        .ok()
        .map(|time| format!("{time:.3}"))
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

//! The answers about one stream.

use super::owners;
use crate::api::time::of_millis;
use crate::config::Scope;
use crate::status::health::Health;
use crate::status::listeners;
use crate::status::waiting::Wait;
use crate::status::{Board, Flag, Note, State};
use crate::stream::streams::Handle;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// That it is there, and in which state.
pub(super) fn live(handle: &Handle) -> Value {
    let board = &handle.board;
    let state = board.state();
    let mut body = json!({
        "state": state.name(),
        "stream": handle.spec.id,
    });
    if let Some(name) = &handle.spec.given_name {
        body["name"] = name.as_str().into();
    }
    if state == State::Paused {
        body["drained"] = (!board.cut_short.get()).into();
    }
    body
}

/// Cursor open, Kafka reachable, checkpoint loaded, nothing waited for that it stands still for.
pub(super) fn ready(handle: &Handle) -> Value {
    let board = &handle.board;
    let mut body = json!({
        "status": ready_word(board.is_ready()),
        "state": board.state().name(),
        "stream": handle.spec.id,
        "mongoConnected": board.mongo_connected.get(),
        "kafkaConnected": board.kafka_connected.get(),
        "checkpointLoaded": board.checkpoint_loaded.get(),
    });
    if let Some(wait) = board.stands_still() {
        body["waitingFor"] = wait.sentence().into();
    }
    body
}

pub(super) fn ready_word(is_ready: bool) -> &'static str {
    match is_ready {
        true => "ready",
        false => "not ready",
    }
}

/// In one word, with why.
pub(super) fn health(handle: &Handle) -> Value {
    let mut body = told(&handle.board.health());
    body["stream"] = handle.spec.id.as_str().into();
    body
}

/// The word, and why where it is not well.
pub(super) fn told(health: &Health) -> Value {
    let mut body = json!({ "status": health.name() });
    if let Some(reason) = health.reason() {
        body["reason"] = reason.into();
    }
    body
}

/// Component by component, beside its [`health`].
pub(super) fn detailed(handle: &Handle, mut body: Value) -> Value {
    let board = &handle.board;
    body["stream"] = handle.spec.id.as_str().into();
    body["state"] = board.state().name().into();
    if let Some(name) = &handle.spec.given_name {
        body["name"] = name.as_str().into();
    }
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
        "snapshot": snapshot(board),
        "listeners": listeners([handle]).unwrap_or_else(|| json!({ "state": "off" })),
    });
    owners::put(&mut body, board.ownership().as_ref());
    body["waiting"] = waiting(board);
    body["databases"] = databases(handle);
    body
}

/// How far the snapshot is, where one was taken.
fn snapshot(board: &Board) -> Value {
    let Some(view) = board.snapshots.view() else {
        return json!({ "state": "none" });
    };
    let reading = view.reading.iter().map(|each| {
        json!({
            "collection": each.namespace, "rows": each.rows, "bytes": each.bytes, "total": each.total,
        })
    });
    let problem = board.snapshots.problem();
    json!({
        "state": view.state.name(),
        "id": view.id,
        "reason": view.reason,
        "started": of_millis(view.started),
        "ended": view.ended.and_then(of_millis),
        "rows": view.rows,
        "bytes": view.bytes,
        "leftOut": view.left_out,
        "collections": view.collections,
        "skipped": view.skipped,
        "reading": reading.collect::<Vec<_>>(),
        "rate": view.rate.round(),
        "secondsLeft": view.seconds_left(),
        "problem": problem.map(|problem| json!({
            "text": problem.text, "since": of_millis(problem.since),
        })),
    })
}

/// How the listeners of these streams do; none where no stream has any. A listener may be one of several streams.
pub(super) fn listeners<'a>(handles: impl IntoIterator<Item = &'a Handle>) -> Option<Value> {
    let mut has_any = false;
    let mut counts = BTreeMap::from(listeners::State::NAMES.map(|name| (name, 0)));
    let (mut invalid, mut settings) = (Vec::new(), Vec::new());
    for handle in handles {
        let board = &handle.board;
        has_any |= board.has_listeners.get();
        for shown in board.listeners.all() {
            *counts.entry(shown.state.name()).or_default() += 1;
            if let Some(reason) = shown.state.reason() {
                invalid.push(json!({
                    "id": shown.name, "stream": handle.spec.id, "jobName": shown.job, "reason": reason,
                    "since": of_millis(shown.since_millis),
                }));
            }
        }
        for (id, reason) in board.listeners.settings() {
            settings.push(json!({ "id": id, "stream": handle.spec.id, "reason": reason }));
        }
    }
    has_any.then(|| {
        json!({
            "state": "on",
            "total": counts.values().sum::<usize>(),
            "active": counts["active"],
            "disabled": counts["disabled"],
            "failed": counts["invalid"],
            "invalid": invalid,
            "invalidSettings": settings,
        })
    })
}

/// What is waited for, beyond a hiccup.
fn waiting(board: &Board) -> Value {
    let waits = board.waiting().into_iter().filter(Wait::is_noticed);
    let row = |wait: Wait| {
        json!({
            "for": wait.what.name(),
            "what": wait.what.to_string(),
            "since": of_millis(wait.since.millis),
            "seconds": wait.lasts().as_secs(),
            "reason": wait.why,
        })
    };
    waits.map(row).collect()
}

fn component(board: &Board, state: &str, flag: &Flag, error: &Note, counters: Value) -> Value {
    let started = board.started_millis();
    let last_error = error
        .get()
        .map(|noted| json!({ "message": noted.text, "at": of_millis(noted.at_millis) }));
    json!({
        "state": state,
        // Before its first change it is as it was at the start.
        "since": of_millis(flag.since_millis().unwrap_or(started)),
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
pub(super) fn database(handle: &Handle) -> Value {
    let board = &handle.board;
    let position = board.committed().map(|committed| {
        json!({
            "seq": committed.position.seq.0,
            "time": committed.position.time_millis.and_then(of_millis),
        })
    });
    json!({
        "database": board.namespace,
        "stream": handle.spec.id,
        "filter": handle.filter,
        "state": board.state().name(),
        "position": position,
        "lagMs": board.lag().as_millis() as u64,
        "events": board.events.get(),
    })
}

/// One row for the database that is watched, or for each of a deployment's that events came from.
pub(super) fn databases(handle: &Handle) -> Value {
    let whole = database(handle);
    let tallies = handle.board.metrics.databases();
    if handle.board.namespace != Scope::DEPLOYMENT || tallies.is_empty() {
        return json!([whole]);
    }
    let row = |(name, events, last): (String, u64, i64)| {
        let mut row = whole.clone();
        row["database"] = name.into();
        row["events"] = events.into();
        row["lastEventRead"] = of_millis(last).into();
        row
    };
    tallies.into_iter().map(row).collect()
}

/// How a stream counts among the others: each counts once at most, and one that is paused or draining is none
/// of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    Failed,
    Reconnecting,
    Other,
}

pub(super) fn standing(board: &Board) -> Standing {
    let state = board.state();
    let is_opened = matches!(state, State::Starting | State::Recovering);
    if is_opened {
        return Standing::Reconnecting;
    }
    if matches!(board.health(), Health::Unhealthy(_)) {
        return Standing::Failed;
    }
    match state {
        State::Running if board.mongo_connected.get() => Standing::Active,
        State::Running => Standing::Reconnecting,
        _ => Standing::Other,
    }
}

//! The answers of a worker.

use super::{Answer, ok_if, one};
use crate::status::worker::Board;
use axum::Json;
use serde_json::{Value, json};

/// That it is there, and of which group.
pub(super) fn live(board: &Board) -> Json<Value> {
    Json(json!({
        "status": "alive",
        "worker": board.view().group,
        "state": board.state(),
    }))
}

/// Whether it is a member of its group.
pub(super) fn ready(board: &Board) -> Answer {
    let is_ready = board.ready.get();
    let body = json!({
        "status": one::ready_word(is_ready),
        "worker": board.view().group,
        "state": board.state(),
    });
    (ok_if(is_ready), Json(body))
}

/// What it does and what it waits for. It is well as long as it is a member: what its services do is not its own fault.
pub(super) fn health(board: &Board) -> Answer {
    let view = board.view();
    let is_ready = board.ready.get();
    let problem = match is_ready {
        true => view.problem(),
        false => Some(
            view.problem()
                .unwrap_or_else(|| "not a member of its group yet".to_owned()),
        ),
    };
    let word = match (is_ready, &problem) {
        (false, _) => "unhealthy",
        (true, Some(_)) => "degraded",
        (true, None) => "healthy",
    };
    let mut body = json!(view);
    body["status"] = word.into();
    body["worker"] = body["group"].take();
    body["instance"] = board.instance.as_str().into();
    body["state"] = board.state().into();
    body["version"] = env!("CARGO_PKG_VERSION").into();
    if let Some(problem) = problem {
        body["reason"] = problem.into();
    }
    if let Some(body) = body.as_object_mut() {
        body.remove("group");
    }
    (ok_if(is_ready), Json(body))
}

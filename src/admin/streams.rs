//! Calls that give a stream to another instance. [`guard`](super::guard) says who may make them.

use super::Context;
use super::control::done;
use super::guard::refused;
use crate::api::steering;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
pub(super) struct Move {
    stream: String,
    to: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Release {
    stream: String,
}

/// The stream goes to this instance, after its last commit where it is now, and stays there.
#[utoipa::path(post, path = "/admin/streams/move", operation_id = "adminMoveStream", tag = "admin", params(("stream" = String, Query, description = "The stream: its name or id"), ("to" = String, Query, description = "The instance, or the beginning of its name")), responses((status = 200, body = Object), (status = 409, body = Object)))]
pub(super) async fn move_to(
    State(context): State<Arc<Context>>,
    Query(asked): Query<Move>,
) -> Response {
    give(&context, &asked.stream, Some(&asked.to)).await
}

/// The stream goes to another instance, whichever has the fewest.
#[utoipa::path(post, path = "/admin/streams/release", operation_id = "adminReleaseStream", tag = "admin", params(("stream" = String, Query, description = "The stream: its name or id")), responses((status = 200, body = Object), (status = 409, body = Object)))]
pub(super) async fn release(
    State(context): State<Arc<Context>>,
    Query(asked): Query<Release>,
) -> Response {
    give(&context, &asked.stream, None).await
}

async fn give(context: &Context, stream: &str, to: Option<&str>) -> Response {
    match steering::give(&context.api, stream, to).await {
        Ok((stream, to)) => done(json!({ "stream": stream, "to": to })).into_response(),
        Err(problem) => refused(problem.status, &problem.detail),
    }
}

//! What steers a stream.

use super::Stream;
use crate::api::problem::Problem;
use crate::api::{Answer, Context, body, steering};
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Pause a stream
///
/// It drains, commits and stands still at its checkpoint. The answer comes at once: `state` says when it is `paused`.
#[utoipa::path(
    post, path = "/api/streams/{name}/pause", tag = "streams", operation_id = "pauseStream",
    params(("name" = String, Path, description = "Its name, or its id")),
    responses(
        (status = 200, body = Stream),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It does not run on this instance"),
    ),
)]
pub(in crate::api) async fn pause(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
) -> Answer {
    set_paused(&context, &name, true)
}

/// Resume a stream
///
/// A paused or failed one resumes at its checkpoint.
#[utoipa::path(
    post, path = "/api/streams/{name}/resume", tag = "streams", operation_id = "resumeStream",
    params(("name" = String, Path, description = "Its name, or its id")),
    responses(
        (status = 200, body = Stream),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It does not run on this instance"),
    ),
)]
pub(in crate::api) async fn resume(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
) -> Answer {
    set_paused(&context, &name, false)
}

fn set_paused(context: &Context, name: &str, is_paused: bool) -> Answer {
    let handle = steering::stream(context, name)?;
    steering::set_paused(context, &[Arc::clone(&handle)], is_paused)?;
    Ok(body::answer(&Stream::of(context, &handle)))
}

/// Where a stream goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Moved {
    /// The stream's id.
    #[schema(example = "tailwater:shop")]
    stream: String,
    /// The instance that it goes to; none where that is for the instances to say.
    #[schema(example = "host-2/17-0e")]
    to: Option<String>,
}

/// Where a stream should go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The instance, as getInstances names it, or the beginning of its name.
    #[schema(example = "host-2")]
    to: String,
}

/// Move a stream to an instance
///
/// It goes there after its last commit, and stays while that instance is alive.
#[utoipa::path(
    post, path = "/api/streams/{name}/move", tag = "streams", operation_id = "moveStream",
    params(("name" = String, Path, description = "Its name, or its id")),
    request_body = Move,
    responses(
        (status = 200, body = Moved),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such instance"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "COORDINATION=none, or there is no such stream"),
    ),
)]
pub(in crate::api) async fn move_to(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    sent: Bytes,
) -> Answer {
    let asked: Move = body::read(&sent)?;
    let (stream, to) = steering::give(&context, &name, Some(&asked.to)).await?;
    Ok(body::answer(&Moved { stream, to }))
}

/// Give a stream to another instance
///
/// To the one that has the fewest, after its last commit.
#[utoipa::path(
    post, path = "/api/streams/{name}/release", tag = "streams", operation_id = "releaseStream",
    params(("name" = String, Path, description = "Its name, or its id")),
    responses(
        (status = 200, body = Moved),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "COORDINATION=none, or there is no such stream"),
    ),
)]
pub(in crate::api) async fn release(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
) -> Answer {
    let (stream, to) = steering::give(&context, &name, None).await?;
    Ok(body::answer(&Moved { stream, to }))
}

/// How much is logged.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    /// error, warn, info, debug or trace.
    #[schema(example = "debug")]
    level: String,
}

/// Change the log level
///
/// Of the whole process, until it ends.
#[utoipa::path(
    post, path = "/api/log-level", tag = "instances", operation_id = "setLogLevel",
    request_body = LogLevel,
    responses(
        (status = 200, body = LogLevel),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(in crate::api) async fn log_level(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    let level = steering::set_level(&context, &sent)?;
    Ok(body::answer(&LogLevel { level }))
}

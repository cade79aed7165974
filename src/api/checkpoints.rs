//! `/api/streams/{name}/checkpoint`: where a stream resumes, and moving that.

use super::problem::Problem;
use super::query::InQuery;
use super::{Answer, Context, body, steering};
use crate::checkpoint::{self, Checkpoint, Location};
use crate::error::Error;
use crate::status::State as StreamState;
use crate::stream::moving::{self, Exported, time_of};
use crate::stream::streams::Handle;
use axum::body::Bytes;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// What is told.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Whether the checkpoint is exported with its token, which holds the key of a document: with
    /// ADMIN_SHOW_DOCUMENTS=true.
    #[serde(default)]
    token: bool,
}

/// A stored position.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Checkpoint)]
pub struct Stored {
    #[schema(example = "tailwater:shop")]
    stream: String,
    /// The database that is watched, or `*`.
    #[schema(example = "shop")]
    namespace: String,
    /// The replica set or cluster.
    source: String,
    /// What is watched, in words.
    filter: String,
    /// The tw-seq of the position.
    seq: u64,
    /// The time of the position.
    time: Option<String>,
    /// The instance that stored it.
    instance: String,
    /// Grows each time an instance takes the stream.
    epoch: u64,
    written_at: Option<String>,
    /// For a move to it, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    exported: Option<Exported>,
}

impl Stored {
    fn of(found: Checkpoint, with_token: bool) -> Result<Self, Error> {
        Ok(Self {
            stream: found.stream.clone(),
            namespace: found.namespace.clone(),
            source: found.source.clone(),
            filter: found.filter.summary.clone(),
            seq: found.position.seq.0,
            time: found.position.time_millis.and_then(time_of),
            instance: found.instance.clone(),
            epoch: found.epoch,
            written_at: time_of(found.updated_at_millis),
            exported: match with_token {
                true => Some(Exported::of(found)?),
                false => None,
            },
        })
    }
}

/// Show the checkpoint of a stream
///
/// As it is stored, whichever instance has the stream.
#[utoipa::path(
    get, path = "/api/streams/{name}/checkpoint", tag = "checkpoints", operation_id = "getCheckpoint",
    params(("name" = String, Path, description = "The stream's name, or its id"), Asked),
    responses(
        (status = 200, body = Stored),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "Tokens are not shown: ADMIN_SHOW_DOCUMENTS=false"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such stream, or it has no checkpoint"),
    ),
)]
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    InQuery(asked): InQuery<Asked>,
) -> Answer {
    if asked.token && !context.shows_documents {
        return Err(super::hidden());
    }
    let handle = steering::stream(&context, &name)?;
    let client = context.client()?;
    match checkpoint::read(location(&context, &handle), Some(&client)).await? {
        Some(found) => Ok(body::answer(&Stored::of(found, asked.token)?)),
        None => Err(Problem::not_found(format!(
            "the stream {} has no checkpoint",
            handle.spec.id
        ))),
    }
}

/// Where a stream should resume: exactly one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CheckpointMove)]
pub struct Wanted {
    /// After this resume token: its `_data`, hex digits.
    token: Option<String>,
    /// At this time, in whole seconds; the oplog must reach back to it.
    #[schema(example = "2026-01-31T12:00:00Z")]
    time: Option<String>,
    /// At an exported checkpoint of this source and database: `exported` of getCheckpoint, or what `tailwater token
    /// export` prints.
    #[schema(value_type = Option<Object>)]
    exported: Option<Exported>,
    /// Nowhere: the next start is a first start, by START_AT.
    #[serde(default)]
    reset: bool,
}

/// What follows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckpointMoved)]
pub struct Moved {
    #[schema(example = "tailwater:shop")]
    stream: String,
    /// Where it resumes when it is resumed.
    #[schema(example = "resumes at 2026-01-31T12:00:00Z")]
    what: String,
}

/// Move the checkpoint of a stream
///
/// The stream must be paused on this instance, or have failed; it resumes at the new position when it is resumed. A
/// position is accepted only where MongoDB can resume from it. tw-seq continues above all earlier numbers.
#[utoipa::path(
    post, path = "/api/streams/{name}/checkpoint", tag = "checkpoints", operation_id = "moveCheckpoint",
    params(("name" = String, Path, description = "The stream's name, or its id")),
    request_body(content = Wanted, example = json!({"time": "2026-01-31T12:00:00Z"})),
    responses(
        (status = 200, body = Moved),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The stream is not paused here, or MongoDB cannot resume there"),
    ),
)]
pub(super) async fn move_to(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    sent: Bytes,
) -> Answer {
    let wanted: Wanted = body::read(&sent)?;
    let handle = steering::stream(&context, &name)?;
    let (stream, client) = (&handle.spec, context.client()?);
    if context.kafka.dry_run {
        return Err(Problem::conflict("a dry run stores no checkpoint"));
    }
    stands_still(&handle)?;
    let Some(instance) = context.instance() else {
        return Err(Problem::unavailable("this instance is starting; ask again"));
    };
    let (token, what) = match wanted {
        Wanted {
            token: Some(token),
            time: None,
            exported: None,
            reset: false,
        } => {
            let token = moving::typed(&client, stream, &token).await?;
            (Some(token), "resumes after that token".to_owned())
        }
        Wanted {
            token: None,
            time: Some(time),
            exported: None,
            reset: false,
        } => {
            let time: Timestamp = time.parse().map_err(|_| {
                Problem::malformed("time: is no time; give one as 2024-01-31T12:00:00Z")
            })?;
            let token = moving::at(&client, stream, time).await?;
            (Some(token), format!("resumes at {time}"))
        }
        Wanted {
            token: None,
            time: None,
            exported: Some(exported),
            reset: false,
        } => {
            let token = moving::imported(&client, stream, "the export", &exported).await?;
            (Some(token), "resumes after the imported token".to_owned())
        }
        Wanted {
            token: None,
            time: None,
            exported: None,
            reset: true,
        } => (None, "forgets its position".to_owned()),
        _ => {
            return Err(Problem::malformed(
                "give exactly one of token, time, exported and reset: true",
            ));
        }
    };
    let location = location(&context, &handle);
    checkpoint::refuse_in_use(location).await?;
    // It may have been resumed meanwhile; from here on the claim decides.
    stands_still(&handle)?;
    Box::pin(moving::set(location, stream, &client, instance, token)).await?;
    tracing::warn!(
        stream = handle.spec.name(),
        "the checkpoint was moved by a call: the stream {what}"
    );
    Ok(body::answer(&Moved {
        stream: stream.id.clone(),
        what,
    }))
}

/// Whoever carries the stream would be fenced in the middle of it.
fn stands_still(handle: &Handle) -> Result<(), Problem> {
    let state = handle.board.state();
    if let Some(owner) = steering::elsewhere(handle) {
        return Err(Problem::conflict(format!(
            "this stream runs on another instance: {owner}; ask that one"
        )));
    }
    match state {
        StreamState::Paused | StreamState::Failed => Ok(()),
        _ => Err(Problem::conflict(format!(
            "the stream is {}: pause it first, and wait until it is paused",
            state.name()
        ))),
    }
}

fn location<'a>(context: &'a Context, handle: &'a Handle) -> Location<'a> {
    Location::of(&context.kafka, &context.mongo, &handle.spec)
}

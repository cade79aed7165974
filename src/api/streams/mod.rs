//! `/api/streams`: what the streams do, and what steers them.

mod detailed;
mod one;
pub(super) mod steer;

pub(super) use one::Stream;

use super::problem::Problem;
use super::{Answer, Context, body, steering};
use crate::status::health::Health;
use crate::status::owner::Ownership;
use axum::extract::{Path, State};
use detailed::Detailed;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// All streams.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamList {
    /// healthy, degraded or unhealthy.
    #[schema(value_type = String, example = "healthy")]
    health: &'static str,
    /// Why it is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Those that this instance is configured for, and those that only others are.
    streams: Vec<Stream>,
}

/// List the streams
///
/// With the state, owner, rate, lag, checkpoint and headroom of each, and what is wrong with it.
#[utoipa::path(
    get, path = "/api/streams", tag = "streams", operation_id = "listStreams",
    responses((status = 200, body = StreamList)),
    security(()),
)]
pub(super) async fn list(State(context): State<Arc<Context>>) -> Answer {
    let health: Health = context.streams.health();
    let mut streams: Vec<_> = context
        .streams
        .all()
        .iter()
        .map(|handle| Stream::of(&context, handle))
        .collect();
    let coordination = context.coordination.borrow().clone();
    if let Some(coordination) = coordination.filter(|_| context.is_shared) {
        let view = coordination.view().borrow().clone();
        for (id, ownership) in &view.streams {
            if !streams.iter().any(|stream| stream.is(id)) {
                streams.push(Stream::of_others(id, ownership));
            }
        }
    }
    Ok(body::answer(&StreamList {
        health: health.name(),
        reason: health.reason().map(str::to_owned),
        streams,
    }))
}

/// Show a stream
///
/// All that [`listStreams`] tells of it, with its counts by collection and operation, its connections, what it waits
/// for and its recent faults.
#[utoipa::path(
    get, path = "/api/streams/{name}", tag = "streams", operation_id = "getStream",
    params(("name" = String, Path, description = "Its name, or its id")),
    responses(
        (status = 200, body = Detailed),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
    security(()),
)]
pub(super) async fn show(State(context): State<Arc<Context>>, Path(name): Path<String>) -> Answer {
    let handle = steering::stream(&context, &name)?;
    Ok(body::answer(&Detailed::of(&context, &handle)))
}

/// Which instance has a stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// None while no instance has it.
    instance: Option<String>,
    /// Whether that is this one.
    mine: bool,
    since: Option<String>,
    last_heartbeat: Option<String>,
    /// Grows each time an instance takes it.
    epoch: u64,
    hand_overs: u64,
    /// Who had it before.
    previous: Option<String>,
    /// Which instance it is on its way to.
    #[serde(skip_serializing_if = "Option::is_none")]
    moving_to: Option<String>,
}

impl Owner {
    fn of(ownership: &Ownership) -> Self {
        Self {
            instance: ownership.owner.clone(),
            mine: ownership.mine,
            since: ownership.since.and_then(super::time::of_system),
            last_heartbeat: ownership.last_heartbeat.and_then(super::time::of_system),
            epoch: ownership.epoch,
            hand_overs: ownership.hand_overs,
            previous: ownership.previous.clone(),
            moving_to: ownership.moving_to.clone(),
        }
    }
}

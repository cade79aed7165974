//! `/api/instances`: who runs, and what each has.

use super::{Answer, Context, body, time};
use crate::coordination::InstanceView;
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The instances that share the streams.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceList {
    /// Whether several instances share the streams: with COORDINATION.
    shared: bool,
    /// Why what COORDINATION is kept in cannot be reached: what is told is then as it was last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
    instances: Vec<Instance>,
}

/// One instance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    #[schema(example = "host-1/12-0f")]
    id: String,
    /// Whether it is the one that answers.
    mine: bool,
    /// Tailwater's version.
    #[schema(example = "0.1.0")]
    version: String,
    since: Option<String>,
    last_heartbeat: Option<String>,
    /// It is being stopped, and is given nothing more.
    leaving: bool,
    /// The ids of the streams that it has.
    streams: Vec<String>,
}

/// List the instances
///
/// Who runs, which version, since when, and which streams each has. Without COORDINATION it is this one.
#[utoipa::path(
    get, path = "/api/instances", tag = "instances", operation_id = "listInstances",
    responses((status = 200, body = InstanceList)),
    security(()),
)]
pub(super) async fn list(State(context): State<Arc<Context>>) -> Answer {
    let coordination = context.coordination.borrow().clone();
    let shared = coordination.filter(|_| context.is_shared);
    let Some(coordination) = shared else {
        return Ok(body::answer(&InstanceList {
            shared: context.is_shared,
            unreachable: None,
            instances: vec![alone(&context)],
        }));
    };
    let view = coordination.view().borrow().clone();
    let mine = coordination.instance();
    let of = |(id, instance): (&String, &InstanceView)| Instance {
        id: id.clone(),
        mine: id == mine,
        version: instance.version.clone(),
        since: instance.since.and_then(time::of_system),
        last_heartbeat: instance.last_heartbeat.and_then(time::of_system),
        leaving: instance.leaving,
        streams: instance.streams.clone(),
    };
    Ok(body::answer(&InstanceList {
        shared: true,
        instances: view.instances.iter().map(of).collect(),
        unreachable: view.unreachable,
    }))
}

/// This one, which shares nothing.
fn alone(context: &Context) -> Instance {
    let handles = context.streams.all();
    let started = handles.first().map(|handle| handle.board.started_millis());
    let has_it =
        |handle: &&Arc<crate::stream::streams::Handle>| !handle.board.state().is_elsewhere();
    Instance {
        id: match context.coordination.borrow().as_ref() {
            Some(coordination) => coordination.instance().to_owned(),
            None => "this one".to_owned(),
        },
        mine: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: started.and_then(time::of_millis),
        last_heartbeat: None,
        leaving: context.stop.is_cancelled(),
        streams: handles
            .iter()
            .filter(has_it)
            .map(|handle| handle.spec.id.clone())
            .collect(),
    }
}

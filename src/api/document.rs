//! The OpenAPI document, generated from the code of the calls.

use super::problem::{FieldProblem, Problem};
use super::{
    checkpoints, dead_letters, graphql, instances, jobs, listeners, samples, schedules, snapshots,
    streams, tail,
};
use crate::listener::fields;
use axum::Extension;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Tailwater",
        description = "Calls that show and steer Tailwater. Where ADMIN_TOKEN is set, they need the header `Authorization: Bearer <ADMIN_TOKEN>`; without ADMIN_TOKEN they are answered on a loopback address only, and to no page in a browser. Calls that state an empty security requirement show how Tailwater is, and are as open as its health.",
    ),
    paths(
        streams::list,
        streams::show,
        streams::steer::pause,
        streams::steer::resume,
        streams::steer::move_to,
        streams::steer::release,
        checkpoints::show,
        checkpoints::move_to,
        dead_letters::list,
        dead_letters::again::replay,
        samples::get,
        snapshots::list,
        snapshots::start,
        snapshots::stop,
        snapshots::pause,
        snapshots::resume,
        tail::tail,
        instances::list,
        streams::steer::log_level,
        listeners::read::list,
        listeners::read::show,
        listeners::write::create_one,
        listeners::write::replace,
        listeners::write::patch,
        listeners::write::delete,
        listeners::trial::test,
        listeners::history::list,
        jobs::list,
        jobs::show,
        jobs::failed::list,
        jobs::failed::retry,
        schedules::list,
        schedules::create,
        schedules::show,
        schedules::replace,
        schedules::patch,
        schedules::delete,
        schedules::run,
        graphql::ask,
        serve,
    ),
    components(schemas(Problem, FieldProblem, listeners::Listener, listeners::ListenerPatch)),
    tags(
        (name = "streams", description = "What the streams do, and what steers them: docs/operations.md"),
        (name = "checkpoints", description = "Where the streams resume: docs/checkpoints.md"),
        (name = "dead letters", description = "Events that could not become records: docs/delivery.md"),
        (name = "snapshots", description = "Copies of what was there before the stream: docs/snapshots.md"),
        (name = "instances", description = "Who runs, and how much is logged: docs/coordination.md"),
        (name = "listeners", description = "Routes that users change while a stream runs: docs/listeners.md"),
        (name = "schedules", description = "Jobs that are due at a time: docs/schedules.md"),
        (name = "jobs", description = "What a worker does, and jobs that failed: docs/workers.md"),
        (name = "api", description = "The calls themselves"),
    ),
)]
struct Api;

/// The text of the document, with what else the server serves.
#[derive(Debug, Clone)]
pub struct Described(Arc<str>);

impl Described {
    pub fn with(others: OpenApi) -> Self {
        Self(format!("{:#}\n", document(others)).into())
    }
}

/// The document.
pub(super) fn document(others: OpenApi) -> Value {
    let whole = Api::openapi().merge_from(others);
    let mut whole = serde_json::to_value(whole).unwrap_or_default();
    // The fields of listeners are told once, in their own table.
    let schema = fields::schema();
    let mut listener = schema["$defs"]["listener"].clone();
    let mut patch = listener.clone();
    if let Some(patch) = patch.as_object_mut() {
        patch.remove("required");
    }
    listener["description"] = "A listener, or with kind database the settings of one".into();
    patch["description"] = "Some fields of a listener; null takes one away".into();
    for (name, schema) in [("Listener", listener), ("ListenerPatch", patch)] {
        whole["components"]["schemas"][name] = schema;
    }
    whole["components"]["securitySchemes"] =
        json!({"token": {"type": "http", "scheme": "bearer", "description": "ADMIN_TOKEN"}});
    whole["security"] = json!([{"token": []}]);
    whole
}

/// Describe the calls
///
/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "api", operation_id = "getOpenApi",
    responses((status = 200, body = Object, description = "OpenAPI 3.1")),
    security(()),
)]
pub(super) async fn serve(Extension(text): Extension<Described>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        text.0.to_string(),
    )
}

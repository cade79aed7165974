//! The calls that write listeners.

use super::changing::{changed, created, deleted, merged};
use super::read::shown;
use super::{Listener, ListenerPatch, Place};
use crate::api::etag::IfMatch;
use crate::api::problem::Problem;
use crate::api::{Answer, Context, body, escaped};
use crate::listener::entry;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use std::sync::Arc;

/// Create a listener
///
/// Without an `_id` it gets one that is made from database, collection, jobName and documentKey.
#[utoipa::path(
    post, path = "/api/listeners", tag = "listeners", operation_id = "createListener",
    request_body(content = Listener, example = json!({
        "collection": "batches", "jobName": "process", "operationType": ["insert", "update"],
        "filter": {"status": "received", "at": {"$gt": {"$date": "2026-01-01T00:00:00Z"}}},
    })),
    responses(
        (status = 201, body = Listener, headers(
            ("Location" = String, description = "Its path"), ("ETag" = String, description = "Its entity tag"),
        )),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "There is one with the same _id, or the same database, collection, jobName and documentKey"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "It is wrong; everything that is wrong is told"),
    ),
)]
pub(in crate::api) async fn create_one(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    let place = Place::of(&context)?;
    let document = created(&place, &body::document(&sent)?).await?;
    let id = entry::name(&document);
    let mut response = shown(&document);
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(path) = HeaderValue::from_str(&format!("/api/listeners/{}", escaped(&id))) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    Ok(response)
}

/// Replace a listener
///
/// What is not sent is taken away; `createdAt`, `updatedAt`, `status` and `lockInfo` are ignored. If-Match must have
/// the entity tag that was read, or `*`.
#[utoipa::path(
    put, path = "/api/listeners/{id}", tag = "listeners", operation_id = "replaceListener",
    params(
        ("id" = String, Path, description = "The text of its _id"),
        ("If-Match" = String, Header, description = "The entity tag that was read, or *"),
    ),
    request_body(content = Listener, example = json!({"collection": "batches", "jobName": "process", "isActive": false})),
    responses(
        (status = 200, body = Listener, headers(("ETag" = String, description = "Its entity tag"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another one has that database, collection, jobName and documentKey"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "Somebody has changed it since it was read"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json", description = "If-Match is missing"),
    ),
)]
pub(in crate::api) async fn replace(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Bytes,
) -> Answer {
    let place = Place::of(&context)?;
    let expected = IfMatch::of(&headers)?;
    if expected == IfMatch::Absent {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            "send If-Match with the ETag that was read, so that nobody's change is lost; or * to replace whatever is there",
        ));
    }
    let wanted = body::document(&sent)?;
    let changed = changed(&place, &id, &expected, |_| wanted.clone()).await?;
    Ok(shown(&changed))
}

/// Change fields of a listener
///
/// A merge patch (RFC 7396): what is not sent stays, null takes a field away, and an object is merged into the one that
/// is there, the filter too. With If-Match only while it is as it was read.
#[utoipa::path(
    patch, path = "/api/listeners/{id}", tag = "listeners", operation_id = "patchListener",
    params(
        ("id" = String, Path, description = "The text of its _id"),
        ("If-Match" = Option<String>, Header, description = "The entity tag that was read"),
    ),
    request_body(content = ListenerPatch, content_type = "application/merge-patch+json", example = json!({"isActive": false})),
    responses(
        (status = 200, body = Listener, headers(("ETag" = String, description = "Its entity tag"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(in crate::api) async fn patch(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Bytes,
) -> Answer {
    let place = Place::of(&context)?;
    let expected = IfMatch::of(&headers)?;
    let patch = body::document(&sent)?;
    let changed = changed(&place, &id, &expected, |there| merged(there, &patch)).await?;
    Ok(shown(&changed))
}

/// Delete a listener
#[utoipa::path(
    delete, path = "/api/listeners/{id}", tag = "listeners", operation_id = "deleteListener",
    params(
        ("id" = String, Path, description = "The text of its _id"),
        ("If-Match" = Option<String>, Header, description = "The entity tag that was read"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(in crate::api) async fn delete(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let place = Place::of(&context)?;
    deleted(&place, &id, &IfMatch::of(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

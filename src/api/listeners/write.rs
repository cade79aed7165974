//! Writing listeners: each write only while the document is still as it was read.

use super::read::shown;
use super::{Listener, ListenerPatch, Place};
use crate::api::etag::{self, IfMatch};
use crate::api::problem::Problem;
use crate::api::{Answer, Context, body};
use crate::listener::Problem as Wrong;
use crate::listener::document::{held, id_text};
use crate::listener::entry::{self, Entry};
use crate::source::listeners::changes::{Change, Done, difference, of_file};
use crate::source::listeners::create::{Created, create};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use bson::{Bson, Document};
use std::sync::Arc;

/// How often a change that named no state is tried again on the next one.
const TRIES: usize = 5;

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
    let mut response = shown(document);
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(path) = HeaderValue::from_str(&format!("/api/listeners/{}", encoded(&id))) {
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
    Ok(shown(changed))
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
    Ok(shown(changed))
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

/// Creates it; the whole document.
pub(in crate::api) async fn created(place: &Place, sent: &Document) -> Result<Document, Problem> {
    let document = of_file(sent);
    check(place, &document)?;
    match create(&place.client, place.at(), &document).await? {
        Created::New(id) => {
            let id = id_text(&id);
            tracing::info!(
                listener = id,
                "created by a call: {}",
                entry::title(&document)
            );
            place.one(&id).await
        }
        Created::Kept(id) => Err(Problem::new(
            StatusCode::CONFLICT,
            "exists",
            format!(
                "the listener {} has the same _id, or the same database, collection, jobName and documentKey; change that one",
                id_text(&id)
            ),
        )),
    }
}

/// Changes it to what `wanted` makes of it, only while it is as it was read; the whole document.
pub(in crate::api) async fn changed(
    place: &Place,
    id: &str,
    expected: &IfMatch,
    wanted: impl Fn(&Document) -> Document,
) -> Result<Document, Problem> {
    for _ in 0..TRIES {
        let seen = place.one(id).await?;
        expected.admit(&seen)?;
        let there = of_file(&seen);
        let mut wanted = of_file(&wanted(&there));
        if let Some(own) = there.get("_id") {
            match wanted.get("_id") {
                Some(other) if other != own => return Err(other_id(id)),
                _ => wanted.insert("_id", own.clone()),
            };
        }
        check(place, &wanted)?;
        let fields = difference(&there, &wanted);
        if fields.is_empty() {
            return Ok(seen);
        }
        let change = Change::Change { seen, fields };
        match change.apply(&place.client, place.at()).await? {
            Done::Overtaken => match expected {
                IfMatch::These(_) => return Err(etag::changed()),
                IfMatch::Absent | IfMatch::Any => {}
            },
            Done::Taken => {
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    "exists",
                    "another listener has that database, collection, jobName and documentKey; change that one",
                ));
            }
            _ => {
                tracing::info!(listener = id, "changed by a call");
                return place.one(id).await;
            }
        }
    }
    Err(Problem::conflict(
        "others change this listener all the time; read it, and send If-Match",
    ))
}

/// Deletes it, only while it is as it was read.
pub(in crate::api) async fn deleted(
    place: &Place,
    id: &str,
    expected: &IfMatch,
) -> Result<(), Problem> {
    for _ in 0..TRIES {
        let seen = place.one(id).await?;
        expected.admit(&seen)?;
        match Change::Delete(seen)
            .apply(&place.client, place.at())
            .await?
        {
            Done::Overtaken => match expected {
                IfMatch::These(_) => return Err(etag::changed()),
                IfMatch::Absent | IfMatch::Any => {}
            },
            _ => {
                tracing::info!(listener = id, "deleted by a call");
                return Ok(());
            }
        }
    }
    Err(Problem::conflict(
        "others change this listener all the time; read it, and send If-Match",
    ))
}

/// As `tailwater listeners lint` does, with the topics that may be named here.
fn check(place: &Place, document: &Document) -> Result<Entry, Problem> {
    let mut whole = document.clone();
    whole.insert("_id", entry::id_of(document));
    if held(&whole).is_none() {
        return Err(Problem::invalid(&[Wrong {
            field: "_id",
            sentence: "is too large, nested too deep, or looks like Extended JSON; leave it out, or give another"
                .to_owned(),
        }]));
    }
    let entry = entry::read(document).map_err(|problems| Problem::invalid(&problems))?;
    match entry::not_allowed(&entry, &place.listeners.topics) {
        None => Ok(entry),
        Some(problem) => Err(Problem::invalid(&[problem])),
    }
}

fn other_id(id: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_listener",
        format!(
            "_id: is not {id}, and cannot be changed; leave it out, or create another listener"
        ),
    )
}

/// RFC 7396.
fn merged(there: &Document, patch: &Document) -> Document {
    let mut merged = there.clone();
    for (name, value) in patch {
        match value {
            Bson::Null => {
                merged.remove(name);
            }
            Bson::Document(inner) => {
                let before = match merged.get(name) {
                    Some(Bson::Document(before)) => before.clone(),
                    _ => Document::new(),
                };
                merged.insert(name, self::merged(&before, inner));
            }
            other => {
                merged.insert(name, other.clone());
            }
        }
    }
    merged
}

/// A part of a path, with what has a meaning in one escaped.
pub(in crate::api) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte as char);
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn a_merge_patch_changes_what_it_names() {
        let there = doc! {"a": 1, "filter": {"x": 1, "y": {"$gt": 2}}, "metadata": {"m": 1}};
        let patch =
            doc! {"a": null, "filter": {"y": {"$lt": 3}}, "metadata": "gone", "b": {"c": null}};
        let wanted =
            doc! {"filter": {"x": 1, "y": {"$gt": 2, "$lt": 3}}, "metadata": "gone", "b": {}};
        assert_eq!(merged(&there, &patch), wanted);
    }

    #[test]
    fn an_id_becomes_one_part_of_a_path() {
        assert_eq!(encoded("507f"), "507f");
        assert_eq!(
            encoded("a/b c?{\"x\":1}é"),
            "a%2Fb%20c%3F%7B%22x%22%3A1%7D%C3%A9"
        );
    }
}

//! `/api/schedules`: jobs that are due at a time.

use super::etag::IfMatch;
use super::listeners::changing::merged;
use super::listeners::read::{Written, shown};
use super::problem::Problem;
use super::query::{InQuery, allow};
use super::{Answer, Context, body, etag, id, time};
use crate::change::namespace::Namespace;
use crate::listener::entry;
use crate::mongo::describe::describe;
use crate::mongo::errors::is_duplicate;
use crate::schedule::{Desk, Listed, NotRun, Schedule, file_document, schedule};
use crate::source::documents;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Collection};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How many next times of each may be asked for.
const MOST: usize = 100;

/// The fields that are Tailwater's, or set by these calls.
const WRITTEN: [&str; 4] = ["createdAt", "updatedAt", "status", "lockInfo"];

/// What is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// How many of its next times to give of each: at most 100.
    #[param(default = 1, minimum = 1, maximum = 100)]
    times: usize,
    /// Only the one of this name.
    name: Option<String>,
}

impl Default for Which {
    fn default() -> Self {
        Self {
            times: 1,
            name: None,
        }
    }
}

/// The schedules, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleList<'a> {
    /// The collection that they are in; null for a file.
    #[schema(example = "airank.schedules")]
    at: Option<String>,
    /// What this instance does about them: running, starting, standby, stopped or fenced.
    #[schema(value_type = String, example = "running")]
    state: &'static str,
    /// Which instance runs them, where several share them.
    owner: Option<String>,
    schedules: Vec<Row<'a>>,
}

/// One schedule, and how it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScheduleRow)]
pub struct Row<'a> {
    /// The text of its `_id`, as in paths.
    #[schema(example = "507f1f77bcf86cd799439011")]
    id: String,
    /// For If-Match.
    etag: String,
    #[schema(example = "daily-report")]
    name: String,
    /// When it is due, in words.
    #[schema(example = "cron 0 9 * * 1-5 Europe/Berlin")]
    timing: String,
    #[schema(example = "sendReport")]
    job: String,
    #[schema(example = "jobs.sendReport")]
    topic: String,
    /// active, disabled, done, waiting or invalid.
    #[schema(value_type = String, example = "active")]
    state: &'static str,
    /// Why it waits, or is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When it was due last.
    last: Option<String>,
    /// When its next jobs are due.
    times: Vec<String>,
    /// Records that the instance that runs it has made.
    produced: u64,
    /// The document as relaxed Extended JSON.
    #[schema(value_type = Object)]
    document: Written<'a>,
}

/// The `tw-id` of the record that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleRun {
    #[schema(example = "tailwater/schedules/daily-report@2027-01-29T08:00:00Z")]
    id: String,
}

fn desk(context: &Context) -> Result<Arc<Desk>, Problem> {
    context.schedules.clone().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_schedules",
            "neither SCHEDULES_COLLECTION nor SCHEDULES_FILE is set; name the collection of the schedules, such as airank.schedules",
        )
    })
}

/// List the schedules
///
/// With their documents, how they are, and when they are due next.
#[utoipa::path(
    get, path = "/api/schedules", tag = "schedules", operation_id = "listSchedules",
    params(Which),
    responses(
        (status = 200, body = ScheduleList),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There are none, or none of that name"),
    ),
)]
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    InQuery(which): InQuery<Which>,
) -> Answer {
    let (desk, listed) = listed(&context, which.times, which.name.as_deref()).await?;
    let with_document = |listed: Listed| {
        let document = Bson::Document(listed.document.clone());
        (listed, document)
    };
    let all: Vec<(Listed, Bson)> = listed.into_iter().map(with_document).collect();
    let told = |millis: Option<i64>| millis.and_then(time::of_millis);
    let rows = all.iter().map(|(listed, document)| Row {
        id: listed.key.clone(),
        etag: etag::of(&listed.document),
        name: listed.shown.name.clone(),
        timing: listed.shown.timing.clone(),
        job: listed.shown.job.clone(),
        topic: listed.shown.topic.clone(),
        state: listed.shown.state.name(),
        reason: listed.shown.state.reason().map(str::to_owned),
        last: told(listed.shown.last),
        times: match listed.times.is_empty() {
            true => told(listed.shown.next).into_iter().collect(),
            false => listed
                .times
                .iter()
                .filter_map(|due| time::of_millis(*due))
                .collect(),
        },
        produced: listed.shown.produced,
        document: Written(document),
    });
    let board = &desk.unit.board;
    Ok(body::answer(&ScheduleList {
        at: desk.config.at.as_ref().map(ToString::to_string),
        state: board.phase().name(),
        owner: board.ownership().and_then(|ownership| ownership.owner),
        schedules: rows.collect(),
    }))
}

/// All, or the one of this name, each with so many next times.
pub(super) async fn listed(
    context: &Context,
    times: usize,
    name: Option<&str>,
) -> Result<(Arc<Desk>, Vec<Listed>), Problem> {
    allow(times, MOST)?;
    let desk = desk(context)?;
    let mut all = desk.list(&context.client()?, times).await?;
    all.retain(|listed| name.is_none_or(|name| name == listed.shown.name));
    match name.filter(|_| all.is_empty()) {
        Some(name) => Err(not_found(name)),
        None => Ok((desk, all)),
    }
}

fn not_found(id: &str) -> Problem {
    Problem::not_found(format!(
        "there is no schedule {id}; GET /api/schedules lists them"
    ))
}

/// The collection, for the calls that write.
struct Place {
    desk: Arc<Desk>,
    client: Client,
    at: Namespace,
    collection: Collection<Document>,
}

impl Place {
    fn of(context: &Context) -> Result<Self, Problem> {
        let desk = desk(context)?;
        let Some(at) = &desk.config.at else {
            let sentence = "the schedules are those of SCHEDULES_FILE, which is read at the start; change the file";
            return Err(Problem::conflict(sentence));
        };
        let (client, at) = (context.client()?, at.clone());
        let collection = client.database(&at.database).collection(&at.collection);
        Ok(Self {
            desk,
            client,
            at,
            collection,
        })
    }

    async fn one(&self, id: &str) -> Result<Document, Problem> {
        let found = documents::one(&self.client, &self.at, &id::of_listener(id)).await;
        found
            .map_err(failed)?
            .filter(|found| id::is_of(found, id))
            .ok_or_else(|| not_found(id))
    }

    /// What is to be there: without what only Tailwater writes, and right.
    async fn checked(&self, mut sent: Document, own: Option<&Bson>) -> Result<Document, Problem> {
        for field in WRITTEN {
            sent.remove(field);
        }
        if let Err(problems) = Schedule::read(&sent) {
            let mut problem = Problem::invalid(&problems);
            problem.code = "invalid_schedule";
            return Err(problem);
        }
        let read = schedule(&sent, &self.desk.config).map_err(|sentence| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_schedule",
                sentence,
            )
        })?;
        let same = self
            .collection
            .find_one(doc! {"name": &read.name})
            .await
            .map_err(failed)?;
        match same {
            Some(same) if same.get("_id") != own => Err(Problem::conflict(format!(
                "there is a schedule {} already; give this one another name",
                read.name
            ))),
            _ => Ok(sent),
        }
    }
}

fn failed(error: mongodb::error::Error) -> Problem {
    Problem::unavailable(format!("MongoDB: {}", describe(&error)))
}

/// Create a schedule
///
/// Without an `_id` it gets its name as one.
#[utoipa::path(
    post, path = "/api/schedules", tag = "schedules", operation_id = "createSchedule",
    request_body(content = Object, example = json!({"name": "daily-report", "cron": "0 9 * * 1-5", "timezone": "Europe/Berlin", "jobName": "sendReport"})),
    responses(
        (status = 201, body = Object, headers(("ETag" = String, description = "Its entity tag"))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "There is one of that name or _id, or they are those of a file"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "It is wrong; everything that is wrong is told"),
    ),
)]
pub(super) async fn create(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    let document = created(&context, body::document(&sent)?).await?;
    let mut response = shown(&document);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Makes one; its document.
pub(super) async fn created(context: &Context, sent: Document) -> Result<Document, Problem> {
    let place = Place::of(context)?;
    let mut document = file_document(place.checked(sent, None).await?);
    let now = DateTime::now();
    document.extend(doc! {"createdAt": now, "updatedAt": now});
    match place.collection.insert_one(&document).await {
        Ok(_) => Ok(document),
        Err(error) if is_duplicate(&error) => Err(Problem::conflict(
            "there is a schedule with that _id already",
        )),
        Err(error) => Err(failed(error)),
    }
}

/// Show a schedule
///
/// Its document as relaxed Extended JSON, with its entity tag in the header ETag.
#[utoipa::path(
    get, path = "/api/schedules/{id}", tag = "schedules", operation_id = "getSchedule",
    params(("id" = String, Path, description = "The text of its _id")),
    responses(
        (status = 200, body = Object, headers(("ETag" = String, description = "Its entity tag"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(State(context): State<Arc<Context>>, Path(id): Path<String>) -> Answer {
    Ok(shown(&Place::of(&context)?.one(&id).await?))
}

/// Replace a schedule
///
/// What is not sent is taken away; what Tailwater writes is ignored. With If-Match only while it is as it was read.
#[utoipa::path(
    put, path = "/api/schedules/{id}", tag = "schedules", operation_id = "replaceSchedule",
    params(
        ("id" = String, Path, description = "The text of its _id"),
        ("If-Match" = Option<String>, Header, description = "The entity tag that was read"),
    ),
    request_body(content = Object, example = json!({"name": "daily-report", "every": "1d", "jobName": "sendReport"})),
    responses(
        (status = 200, body = Object, headers(("ETag" = String, description = "Its entity tag"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "Somebody has changed it since it was read"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn replace(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Bytes,
) -> Answer {
    let expected = IfMatch::of(&headers)?;
    let document = replaced(&context, &id, &expected, body::document(&sent)?).await?;
    Ok(shown(&document))
}

/// Change some fields of a schedule
///
/// A merge patch (RFC 7396): what is not sent stays, null takes a field away, and an object is merged into the one that
/// is there, the payload too. With If-Match only while it is as it was read.
#[utoipa::path(
    patch, path = "/api/schedules/{id}", tag = "schedules", operation_id = "patchSchedule",
    params(
        ("id" = String, Path, description = "The text of its _id"),
        ("If-Match" = Option<String>, Header, description = "The entity tag that was read"),
    ),
    request_body(content = Object, content_type = "application/merge-patch+json", example = json!({"isActive": false})),
    responses(
        (status = 200, body = Object, headers(("ETag" = String, description = "Its entity tag"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "Somebody has changed it since it was read"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn patch(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Bytes,
) -> Answer {
    let expected = IfMatch::of(&headers)?;
    let patch = body::document(&sent)?;
    let document = changed(&context, &id, &expected, |there| merged(there, &patch)).await?;
    Ok(shown(&document))
}

/// Puts another document in the place of one; the new one.
pub(super) async fn replaced(
    context: &Context,
    id: &str,
    expected: &IfMatch,
    sent: Document,
) -> Result<Document, Problem> {
    changed(context, id, expected, |_| sent).await
}

/// Puts what `wanted` makes of a document in its place, while it is as it was read; the new one.
async fn changed(
    context: &Context,
    id: &str,
    expected: &IfMatch,
    wanted: impl FnOnce(&Document) -> Document,
) -> Result<Document, Problem> {
    let place = Place::of(context)?;
    let there = place.one(id).await?;
    expected.admit(&there)?;
    let sent = place.checked(wanted(&there), there.get("_id")).await?;
    let mut document = sent;
    document.remove("_id");
    let mut whole = Document::new();
    whole.extend(there.get("_id").map(|id| ("_id".to_owned(), id.clone())));
    whole.extend(document);
    for field in ["createdAt", "status"] {
        whole.extend(
            there
                .get(field)
                .map(|value| (field.to_owned(), value.clone())),
        );
    }
    whole.insert("updatedAt", DateTime::now());
    // Only what Tailwater writes may have changed meanwhile.
    let is_of_users =
        |name: &str| !WRITTEN.contains(&name) && !name.contains('.') && !name.starts_with('$');
    let as_read = entry::normal(&there).into_iter();
    let as_read = as_read
        .filter(|(name, _)| is_of_users(name))
        .map(|(name, value)| (name, doc! {"$eq": value}.into()));
    let as_read: Document = as_read.collect();
    let done = place
        .collection
        .replace_one(as_read, &whole)
        .await
        .map_err(failed)?;
    match done.matched_count {
        0 => Err(etag::changed()),
        _ => Ok(whole),
    }
}

/// Delete a schedule
#[utoipa::path(
    delete, path = "/api/schedules/{id}", tag = "schedules", operation_id = "deleteSchedule",
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
pub(super) async fn delete(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    deleted(&context, &id, &IfMatch::of(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Takes one away.
pub(super) async fn deleted(
    context: &Context,
    id: &str,
    expected: &IfMatch,
) -> Result<(), Problem> {
    let place = Place::of(context)?;
    let there = place.one(id).await?;
    expected.admit(&there)?;
    let query = doc! {"_id": there.get("_id").cloned().unwrap_or(Bson::Null)};
    place.collection.delete_one(query).await.map_err(failed)?;
    Ok(())
}

/// Run a schedule now
///
/// Makes a record of its job at once. When it is due next stays as it is. Only the instance that runs the schedules can.
#[utoipa::path(
    post, path = "/api/schedules/{id}/run", tag = "schedules", operation_id = "runSchedule",
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = ScheduleRun),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another instance runs the schedules, or the schedule is not right"),
    ),
)]
pub(super) async fn run(State(context): State<Arc<Context>>, Path(id): Path<String>) -> Answer {
    let id = ran(&context, &id).await?;
    Ok(body::answer(&ScheduleRun { id }))
}

/// Makes a record of one now; its `tw-id`.
pub(super) async fn ran(context: &Context, name: &str) -> Result<String, Problem> {
    let desk = desk(context)?;
    match desk.unit.order(name).await {
        Ok(id) => Ok(id),
        Err(NotRun::Unknown) => Err(Problem::not_found(format!(
            "there is no schedule of the name {name}; GET /api/schedules lists them"
        ))),
        Err(NotRun::Refused(sentence)) => {
            let owner = desk
                .unit
                .board
                .ownership()
                .and_then(|ownership| ownership.owner);
            let whose = owner.filter(|_| !desk.unit.is_running());
            let whose = whose.map_or_else(String::new, |owner| {
                format!("; {owner} runs them, ask that one")
            });
            Err(Problem::conflict(format!("{sentence}{whose}")))
        }
    }
}

//! `/api/snapshots`: snapshots of the streams' collections, while the streams run.

use super::problem::Problem;
use super::{Answer, Context, body, steering, time};
use crate::change::namespace::Namespace;
use crate::config::Scope;
use crate::mongo::describe::describe;
use crate::mongo::errors::{self, Phase, SourceFault};
use crate::snapshot::desk::{Order, Wanted};
use crate::snapshot::progress::Bounds;
use crate::source::Filter;
use crate::source::collections::{self, Kind};
use crate::status::snapshot::{Collection, View};
use crate::stream::streams::Handle;
use axum::body::Bytes;
use axum::extract::State;
use bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How long a query is tried before a snapshot with it begins.
const TRIAL: Duration = Duration::from_secs(5);

/// The snapshots of all streams.
#[derive(Debug, Serialize, ToSchema)]
pub struct SnapshotList {
    snapshots: Vec<Shown>,
}

/// The snapshot of a stream: the one that runs, or the last one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Snapshot)]
pub struct Shown {
    /// The stream's id.
    #[schema(example = "tailwater:shop")]
    stream: String,
    /// Names it: the header tw-snapshot of its rows.
    id: String,
    /// Why it is taken: initial, requested or history_lost.
    #[schema(value_type = String, example = "initial")]
    reason: &'static str,
    /// running, paused, finished or stopped.
    #[schema(value_type = String, example = "running")]
    state: &'static str,
    started: Option<String>,
    ended: Option<String>,
    /// Rows that were produced.
    rows: u64,
    /// Bytes of their documents, as BSON.
    bytes: u64,
    /// Documents that were read and left out, because the stream brought them.
    left_out: u64,
    /// Collections that are done.
    collections: u64,
    /// Those that could not be copied; the log says why.
    skipped: Vec<String>,
    /// Those that are being read.
    reading: Vec<Reading>,
    /// Rows a second, over the last 10 s.
    rate: f64,
    /// How long those that are being read will take, where that can be told.
    seconds_left: Option<u64>,
    /// Why nothing can be read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Waits>,
}

/// What keeps a snapshot from reading.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SnapshotProblem)]
pub struct Waits {
    text: String,
    since: Option<String>,
}

/// A collection that is being read.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SnapshotCollection)]
pub struct Reading {
    #[schema(example = "shop.orders")]
    collection: String,
    rows: u64,
    bytes: u64,
    /// How many documents there were when it began, as the server estimates.
    total: Option<u64>,
}

impl Shown {
    fn of(handle: &Handle) -> Option<Self> {
        let snapshots = &handle.board.snapshots;
        let view: View = snapshots.view()?;
        let problem = snapshots.problem();
        Some(Self {
            stream: handle.spec.id.clone(),
            seconds_left: view.seconds_left(),
            id: view.id,
            reason: view.reason,
            state: view.state.name(),
            started: time::of_millis(view.started),
            ended: view.ended.and_then(time::of_millis),
            rows: view.rows,
            bytes: view.bytes,
            left_out: view.left_out,
            collections: view.collections,
            skipped: view.skipped,
            reading: view.reading.into_iter().map(Reading::of).collect(),
            rate: (view.rate * 10.0).round() / 10.0,
            problem: problem.map(|problem| Waits {
                since: time::of_millis(problem.since),
                text: problem.text,
            }),
        })
    }
}

impl Reading {
    fn of(collection: Collection) -> Self {
        Self {
            collection: collection.namespace,
            rows: collection.rows,
            bytes: collection.bytes,
            total: collection.total,
        }
    }
}

/// List the snapshots
///
/// Of each stream that runs here: the one that is under way, or the last one.
#[utoipa::path(
    get, path = "/api/snapshots", tag = "snapshots", operation_id = "listSnapshots",
    responses((status = 200, body = SnapshotList)),
    security(()),
)]
pub(super) async fn list(State(context): State<Arc<Context>>) -> Answer {
    let handles = context.streams.all();
    let snapshots = handles.iter().filter_map(|handle| Shown::of(handle));
    Ok(body::answer(&SnapshotList {
        snapshots: snapshots.collect(),
    }))
}

/// What should be copied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SnapshotStart)]
pub struct Start {
    /// The stream, by its name or id. Needed where several streams run here, and none of them or more than one watches
    /// the collection.
    stream: Option<String>,
    /// The collection, with its database where the stream watches several; without one, all that
    /// SNAPSHOT_COLLECTIONS says.
    #[schema(example = "orders")]
    collection: Option<String>,
    /// Which of its documents: a query of MongoDB, in Extended JSON.
    #[schema(value_type = Option<Object>)]
    filter: Option<Document>,
}

/// Which snapshot is meant.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SnapshotOfStream)]
pub struct Meant {
    /// The stream, by its name or id. Needed where several streams run here.
    stream: Option<String>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SnapshotDone)]
pub struct Done {
    /// The stream's id.
    #[schema(example = "tailwater:shop")]
    stream: String,
    /// The snapshot's id: the header tw-snapshot of its rows.
    snapshot: String,
}

/// Start a snapshot
///
/// Of a collection, or of all. The answer comes when the stream has stored that it begins: it survives a restart from
/// then on. While one runs, collections are added to it.
#[utoipa::path(
    post, path = "/api/snapshots", tag = "snapshots", operation_id = "startSnapshot",
    request_body(content = Start, example = json!({"collection": "orders", "filter": {"status": "open"}})),
    responses(
        (status = 200, body = Done),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such stream"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The stream does not run here, or cannot take it now"),
    ),
)]
pub(super) async fn start(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    let asked: Start = body::read(&sent)?;
    let handle = meant(
        &context,
        asked.stream.as_deref(),
        asked.collection.as_deref(),
    )?;
    let wanted = match asked.collection {
        None if asked.filter.is_some() => {
            return Err(Problem::malformed(
                "filter: is of no collection; give one, or SNAPSHOT_FILTER a query for each",
            ));
        }
        None => Vec::new(),
        Some(name) => {
            let at = namespace(&handle, &name)?;
            if Filter::of(&handle.spec).watches(&at.database, &at.collection) {
                look_at(&context, &at).await?;
            }
            if let Some(filter) = &asked.filter {
                try_filter(&context, &at, filter).await?;
            }
            let (filter, bounds) = bounds(asked.filter);
            vec![Wanted { at, filter, bounds }]
        }
    };
    ask(&handle, Order::Start(wanted)).await
}

/// Stop a snapshot
///
/// What was copied stays, and nothing more is.
#[utoipa::path(
    post, path = "/api/snapshots/stop", tag = "snapshots", operation_id = "stopSnapshot",
    request_body = Meant,
    responses(
        (status = 200, body = Done),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "No snapshot is running here"),
    ),
)]
pub(super) async fn stop(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    steer(&context, &sent, Order::Stop).await
}

/// Pause a snapshot
///
/// The stream continues without it, also after a restart.
#[utoipa::path(
    post, path = "/api/snapshots/pause", tag = "snapshots", operation_id = "pauseSnapshot",
    request_body = Meant,
    responses(
        (status = 200, body = Done),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "No snapshot is running here"),
    ),
)]
pub(super) async fn pause(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    steer(&context, &sent, Order::Pause).await
}

/// Resume a snapshot
///
/// It continues where it was paused.
#[utoipa::path(
    post, path = "/api/snapshots/resume", tag = "snapshots", operation_id = "resumeSnapshot",
    request_body = Meant,
    responses(
        (status = 200, body = Done),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "No snapshot is running here"),
    ),
)]
pub(super) async fn resume(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    steer(&context, &sent, Order::Resume).await
}

async fn steer(context: &Context, sent: &Bytes, order: Order) -> Answer {
    let asked: Meant = match sent.is_empty() {
        true => Meant::default(),
        false => body::read(sent)?,
    };
    let handle = meant(context, asked.stream.as_deref(), None)?;
    ask(&handle, order).await
}

async fn ask(handle: &Handle, order: Order) -> Answer {
    steering::here(handle)?;
    let state = handle.board.state();
    if !state.is_running() {
        return Err(Problem::conflict(format!(
            "the stream is {}; a snapshot is taken while it runs",
            state.name()
        )));
    }
    let snapshot = handle.desk.ask(order).await.map_err(Problem::conflict)?;
    Ok(body::answer(&Done {
        stream: handle.spec.id.clone(),
        snapshot,
    }))
}

/// The stream that is meant: the one that is named, the only one, or the only one that watches the collection.
fn meant(
    context: &Context,
    name: Option<&str>,
    collection: Option<&str>,
) -> Result<Arc<Handle>, Problem> {
    if let Some(name) = name {
        return steering::stream(context, name);
    }
    let mut all = context.streams.all();
    if all.len() > 1
        && let Some(collection) = collection
    {
        all.retain(|handle| {
            let at = namespace(handle, collection);
            at.is_ok_and(|at| Filter::of(&handle.spec).watches(&at.database, &at.collection))
        });
    }
    match all.as_slice() {
        [only] => Ok(Arc::clone(only)),
        _ => Err(Problem::malformed(
            "stream: is not given, and it is not the only one; name one",
        )),
    }
}

/// A collection as a stream's user names it: with its database where there are several.
fn namespace(handle: &Handle, name: &str) -> Result<Namespace, Problem> {
    let whole = name.split_once('.');
    let (database, collection) = match (&handle.spec.source.scope, whole) {
        (Scope::Database(own), Some((database, collection))) if own == database => {
            (database, collection)
        }
        (Scope::Database(own), _) => (own.as_str(), name),
        (Scope::Deployment { .. }, Some(named)) => named,
        (Scope::Deployment { .. }, None) => {
            return Err(Problem::malformed(format!(
                "collection: {name} names no database; give database.collection"
            )));
        }
    };
    if collection.is_empty() || database.is_empty() {
        return Err(Problem::malformed(
            "collection: is no name; give database.collection",
        ));
    }
    Ok(Namespace {
        database: database.to_owned(),
        collection: collection.to_owned(),
    })
}

/// A list of ids is read as such, and not with the whole collection.
fn bounds(filter: Option<Document>) -> (Option<Document>, Bounds) {
    if let Some(filter) = &filter
        && filter.len() == 1
        && let Some(Bson::Document(of_id)) = filter.get("_id")
        && of_id.len() == 1
        && let Some(Bson::Array(ids)) = of_id.get("$in")
    {
        return (None, Bounds::Ids(ids.clone()));
    }
    (filter, Bounds::ALL)
}

/// Whether there is a collection of this name, as far as this user may see that: a name that is misspelt is copied
/// without a word otherwise.
async fn look_at(context: &Context, at: &Namespace) -> Result<(), Problem> {
    let client = context.client()?;
    let found = tokio::time::timeout(TRIAL, collections::kind(&client, at)).await;
    let sentence = match found {
        Ok(Ok(Kind::Collection) | Err(_)) | Err(_) => return Ok(()),
        Ok(Ok(Kind::Without(kind))) => {
            format!("collection: {at} is a {kind}, which has no changes that could follow its rows")
        }
        Ok(Ok(Kind::Absent)) => format!("collection: {at} does not exist; give one that does"),
    };
    Err(Problem::malformed(sentence))
}

/// Has the server say whether it takes a query, before a snapshot begins with it.
async fn try_filter(context: &Context, at: &Namespace, filter: &Document) -> Result<(), Problem> {
    let client = context.client()?;
    let find = doc! {
        "find": &at.collection, "filter": filter.clone(), "limit": 1_i64, "singleBatch": true,
        "projection": {"_id": 1}, "maxTimeMS": 1000_i64,
    };
    let database = client.database(&at.database);
    let tried = tokio::time::timeout(TRIAL, database.run_command(find)).await;
    match tried {
        Ok(Err(error)) if errors::classify(&error, Phase::Other) == SourceFault::Refused => Err(
            Problem::malformed(format!("filter: MongoDB refuses it: {}", describe(&error))),
        ),
        // That it takes long says nothing against it.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_ids_is_no_filter() {
        let ids = || vec![Bson::from(1), "a".into()];
        let (filter, of) = bounds(Some(doc! {"_id": {"$in": ids()}}));
        assert_eq!((filter, of), (None, Bounds::Ids(ids())));
        for other in [
            doc! {"_id": {"$in": ids(), "$gt": 0}},
            doc! {"_id": {"$in": ids()}, "x": 1},
            doc! {"_id": 1},
        ] {
            assert_eq!(bounds(Some(other.clone())), (Some(other), Bounds::ALL));
        }
        assert_eq!(bounds(None), (None, Bounds::ALL));
    }
}

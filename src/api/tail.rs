//! `/api/tail`: changes as they come to Kafka, for a person who watches.

mod selection;

use super::problem::Problem;
use super::query::InQuery;
use super::{Context, steering};
use crate::config::{KeyFormat, StreamSpec, covers};
use crate::route::Template;
use crate::sink::follow::{Followed, follow};
use crate::tasks;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{StreamExt, stream};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use selection::Selection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

/// What may wait for a watcher; what comes beyond that is counted and left out.
const ROOM: usize = 256;
/// How many changes are told in a second. Nobody reads faster.
const A_SECOND: u32 = 200;
const SECOND: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The stream, by its name or id; without it the only one.
    stream: Option<String>,
    /// Only those of this collection, or database.collection.
    collection: Option<String>,
    /// Only these: insert, update, replace, delete, read for rows of snapshots, or ddl for those of collections and databases.
    operation: Option<String>,
    /// Only those of the document with this `_id`: its text, or Extended JSON as in the key.
    id: Option<String>,
    /// Only those whose document this filter finds, as a listener's filter, over the values that the topic holds.
    #[param(example = r#"{"status": "received"}"#)]
    r#where: Option<String>,
}

/// A change, as it is in Kafka.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TailedChange)]
pub struct Change {
    stream: Option<String>,
    topic: String,
    partition: i32,
    offset: i64,
    operation: String,
    namespace: String,
    /// Its tw-seq.
    seq: Option<u64>,
    /// When it happened, in ms since the Unix epoch.
    changed_at: Option<i64>,
    /// When it was handed to Kafka's client, in ms since the Unix epoch.
    produced_at: Option<i64>,
    key: Option<String>,
    headers: BTreeMap<String, String>,
    /// With ADMIN_SHOW_DOCUMENTS=true.
    #[schema(value_type = Option<Object>)]
    value: Option<serde_json::Value>,
}

impl Change {
    fn of(
        message: &BorrowedMessage<'_>,
        headers: BTreeMap<String, String>,
        shows_documents: bool,
    ) -> Self {
        let header = |name: &str| headers.get(name).cloned();
        let number = |name: &str| headers.get(name).and_then(|text| text.parse().ok());
        let value = message.payload().filter(|_| shows_documents);
        Self {
            stream: header("tw-stream"),
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            operation: header("tw-op").unwrap_or_default(),
            namespace: header("tw-ns").unwrap_or_default(),
            seq: number("tw-seq").and_then(|seq: i64| u64::try_from(seq).ok()),
            changed_at: number("tw-ts"),
            produced_at: message.timestamp().to_millis(),
            key: message
                .key()
                .map(|key| String::from_utf8_lossy(key).into_owned()),
            value: value.and_then(|value| serde_json::from_slice(value).ok()),
            headers,
        }
    }
}

/// What a watcher is told.
enum Told {
    Change(Box<Change>),
    LeftOut(u64),
    Problem(String),
}

/// Watch changes
///
/// From now on, as server-sent events, read from Kafka: the event `message` has a change, `left-out` how many were not told
/// since the last (`{"count": 7}`), because no more than 200 a second are, and `problem` why it ends.
#[utoipa::path(
    get, path = "/api/tail", tag = "streams", operation_id = "tail",
    params(Asked),
    responses(
        (status = 200, body = Change, content_type = "text/event-stream"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The stream's FORMAT has no headers tw-*, its KEY_FORMAT keys that id cannot be found in, or its envelope other names (ENVELOPE_RENAME) than where looks for"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Too many watch already"),
    ),
)]
pub(super) async fn tail(
    State(context): State<Arc<Context>>,
    InQuery(asked): InQuery<Asked>,
) -> Result<impl IntoResponse, Problem> {
    let all = context.streams.all();
    let handle = match (&asked.stream, all.as_slice()) {
        (Some(name), _) => steering::stream(&context, name)?,
        (None, [only]) => Arc::clone(only),
        (None, _) => {
            return Err(Problem::malformed(
                "there are several streams; say which: stream=<name>",
            ));
        }
    };
    let format = &handle.spec.sink.format;
    if !format.has_own_headers() && handle.spec.source.listeners.is_none() {
        return Err(Problem::conflict(format!(
            "the records of this stream have FORMAT={}, without the headers tw-* that say what they are of",
            format.name()
        )));
    }
    let key = handle.spec.sink.key_format;
    if asked.id.is_some() && key != KeyFormat::Tailwater {
        return Err(Problem::conflict(format!(
            "the keys of this stream's records have KEY_FORMAT={}, and id= reads those of tailwater; leave id= out, or give \
             where=",
            key.name()
        )));
    }
    if asked.r#where.is_some() && handle.spec.sink.is_renamed() {
        return Err(Problem::conflict(
            "this stream writes its envelope by ENVELOPE_RENAME, and where= reads the names that it has by default; leave \
             where= out",
        ));
    }
    let selection = Selection::of(&handle.spec.id, asked)?;
    let Some(turn) = context.reading.tailing() else {
        return Err(Problem::unavailable(
            "too many watch already; close one of the live tails",
        ));
    };
    let topics = topics(&handle.spec);
    let (tell, mut told) = mpsc::channel(ROOM);
    let (kafka, stop) = (Arc::clone(&context.kafka), context.stop.clone());
    let shows_documents = context.shows_documents;
    drop(tasks::spawn(async move {
        let watcher = tell.clone();
        let read = move || {
            let mut pace = Pace::new(tell);
            follow(
                &kafka,
                |topic| topics.iter().any(|pattern| covers(pattern, topic)),
                |followed| {
                    if stop.is_cancelled() || pace.tell.is_closed() {
                        return ControlFlow::Break(());
                    }
                    if let Followed::Record(message) = followed {
                        let headers = headers(message);
                        if selection.wants(&headers, message.key(), message.payload()) {
                            pace.take(|| Change::of(message, headers, shows_documents));
                        }
                    }
                    pace.say_left_out();
                    ControlFlow::Continue(())
                },
            )
        };
        if let Err(error) = tasks::blocking("a live tail", read).await.flatten() {
            let _ = watcher.send(Told::Problem(error.to_string())).await;
        }
        drop(turn);
    }));
    let events = stream::poll_fn(move |context| told.poll_recv(context));
    let events = events.map(|told| Ok::<_, Infallible>(event(told)));
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((
        headers,
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)),
    ))
}

fn event(told: Told) -> Event {
    let json = |event: Event, value: &serde_json::Value| event.data(value.to_string());
    match told {
        Told::Change(change) => json(
            Event::default(),
            &serde_json::to_value(change).unwrap_or_default(),
        ),
        Told::LeftOut(count) => json(
            Event::default().event("left-out"),
            &serde_json::json!({ "count": count }),
        ),
        Told::Problem(detail) => json(
            Event::default().event("problem"),
            &serde_json::json!({ "detail": detail }),
        ),
    }
}

/// Tells changes at a pace that a watcher can follow, and counts the others.
struct Pace {
    tell: mpsc::Sender<Told>,
    left_out: u64,
    since: Instant,
    told: u32,
}

impl Pace {
    fn new(tell: mpsc::Sender<Told>) -> Self {
        Self {
            tell,
            left_out: 0,
            since: Instant::now(),
            told: 0,
        }
    }

    fn take(&mut self, change: impl FnOnce() -> Change) {
        if self.since.elapsed() >= SECOND {
            (self.since, self.told) = (Instant::now(), 0);
        }
        if self.told >= A_SECOND {
            self.left_out += 1;
            return;
        }
        match self.tell.try_send(Told::Change(Box::new(change()))) {
            Ok(()) => self.told += 1,
            Err(_) => self.left_out += 1,
        }
    }

    /// Once a second, where there are any.
    fn say_left_out(&mut self) {
        if self.left_out > 0
            && self.since.elapsed() >= SECOND
            && self.tell.try_send(Told::LeftOut(self.left_out)).is_ok()
        {
            self.left_out = 0;
        }
    }
}

fn headers(message: &BorrowedMessage<'_>) -> BTreeMap<String, String> {
    let all = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter());
    all.map(|header| {
        let value = header
            .value
            .map(|value| String::from_utf8_lossy(value).into_owned());
        (header.key.to_owned(), value.unwrap_or_default())
    })
    .collect()
}

/// The names that the topics of the stream's records may have: others share some of them, which the header tw-stream tells.
fn topics(stream: &StreamSpec) -> Vec<String> {
    let own = stream.sink.topics.of_records();
    let own = own.filter_map(|topic| Template::pattern(topic, None));
    let jobs = stream
        .source
        .listeners
        .iter()
        .flat_map(|listeners| listeners.topics.clone());
    own.chain(jobs).collect()
}

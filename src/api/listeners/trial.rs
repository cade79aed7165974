//! `POST /api/listeners/test`: whether a listener wants events, and if not why.

use super::events;
use super::{Listener, Place};
use crate::api::problem::Problem;
use crate::api::query::hundred;
use crate::api::{Answer, Context, body};
use crate::change::event::Event;
use crate::change::extended_json::Extended;
use crate::listener::entry::{self, Entry};
use crate::listener::trial::{self, Happening, Verdict, judge};
use crate::listener::{Definition, Problem as Wrong};
use axum::body::Bytes;
use axum::extract::State;
use bson::{Bson, Document};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// How many events are tried at most.
const MOST: usize = 1000;

/// A listener, and what it is tried on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ListenerTrial)]
pub struct Trial {
    /// The listener that is tried; or `id`.
    #[schema(value_type = Option<Listener>)]
    listener: Option<Document>,
    /// The id of one in the collection.
    id: Option<String>,
    /// Documents, to which `operation` happens.
    #[schema(value_type = Option<Vec<Object>>)]
    documents: Option<Vec<Document>>,
    /// Change events as the server sends them.
    #[schema(value_type = Option<Vec<Object>>)]
    events: Option<Vec<Document>>,
    /// Without documents and events: how many of the newest records of `topic`, at most 1000.
    #[serde(default = "hundred")]
    #[schema(default = 100, minimum = 1, maximum = 1000)]
    last: usize,
    /// The topic whose records are tried: that of inserts of the listener's collection where it is not named, or the
    /// listener's own where only listeners have topics.
    topic: Option<String>,
    /// What happens to the documents.
    #[serde(default = "insert")]
    #[schema(default = "insert")]
    operation: String,
    /// The database of the documents; that of the listener, or test.
    database: Option<String>,
    /// The collection of the documents; that of the listener.
    collection: Option<String>,
    /// Of deletes: there is a pre-image.
    #[serde(default)]
    pre_image: bool,
}

fn insert() -> String {
    "insert".to_owned()
}

/// What became of the events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrialResult {
    /// The topic that they were read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// How many were tried.
    #[schema(example = 2)]
    tried: usize,
    /// How many the listener wants.
    #[schema(example = 1)]
    matched: usize,
    /// Records that hold no change event in the format of Tailwater, as tombstones.
    #[schema(example = 0)]
    left_out: usize,
    /// In the order that they were given, or the newest first.
    results: Vec<Tried>,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    matches: bool,
    /// The topic that its record would be in.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// Why the listener does not want it: every reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[schema(example = "insert")]
    operation: String,
    #[schema(example = "shop.batches")]
    namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    /// When it happened, as its record says.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// The `_id` of the document: of given ones, and of records with ADMIN_SHOW_DOCUMENTS=true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    id: Option<serde_json::Value>,
    /// The document of a record, with ADMIN_SHOW_DOCUMENTS=true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    document: Option<serde_json::Value>,
}

/// Try a listener
///
/// On given documents or events, or on the newest records of a topic. Nothing is stored.
#[utoipa::path(
    post, path = "/api/listeners/test", tag = "listeners", operation_id = "testListener",
    request_body(content = Trial, example = json!({
        "listener": {"collection": "batches", "jobName": "process", "filter": {"status": "received"}},
        "documents": [{"_id": 1, "status": "received"}, {"_id": 2, "status": "done"}],
    })),
    responses(
        (status = 200, body = TrialResult),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The listener is wrong; everything that is wrong is told"),
    ),
)]
pub(in crate::api) async fn test(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    let asked: Trial = body::read(&sent)?;
    let (document, all) = listener_of(&context, &asked).await?;
    let entry = entry::read(&document).map_err(|problems| Problem::invalid(&problems))?;
    let Entry::Listener(listener) = &entry else {
        return Err(Problem::invalid(&[Wrong {
            field: "kind",
            sentence: "is database, and only listeners are tried".to_owned(),
        }]));
    };
    let read: Vec<_> = all
        .iter()
        .filter_map(|document| Some((document, entry::read(document).ok()?)))
        .collect();
    let settings: Vec<_> = read
        .iter()
        .map(|(document, entry)| (*document, entry))
        .collect();
    let (topic, events, left_out) = events_of(&context, &asked, listener).await?;
    let mut results = Vec::new();
    for event in events {
        results.push(tried(&context, listener, &settings, event)?);
    }
    Ok(body::answer(&TrialResult {
        topic,
        tried: results.len(),
        matched: results.iter().filter(|tried| tried.matches).count(),
        left_out,
        results,
    }))
}

/// The listener, and the settings of databases that hold for it.
async fn listener_of(
    context: &Context,
    asked: &Trial,
) -> Result<(Document, Vec<Document>), Problem> {
    let place = Place::of(context);
    let document = match (&asked.listener, &asked.id) {
        (Some(listener), None) => entry::normal(listener),
        (None, Some(id)) => place.as_ref().map_err(Clone::clone)?.one(id).await?,
        _ => {
            return Err(Problem::malformed(
                "give either a listener, or the id of one in the collection",
            ));
        }
    };
    // Settings are looked up where there are any to look up.
    let settings = match &place {
        Ok(place) => place.all().await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let settings = settings.into_iter().filter(entry::is_of_database).collect();
    Ok((document, settings))
}

/// The events to try; the topic that they are from, and how many of its records hold none.
async fn events_of(
    context: &Context,
    asked: &Trial,
    listener: &Definition,
) -> Result<(Option<String>, Vec<events::Told>, usize), Problem> {
    let count = |given: &Vec<Document>| given.len();
    let given = asked.documents.as_ref().map_or(0, count) + asked.events.as_ref().map_or(0, count);
    if given > MOST || asked.last == 0 || asked.last > MOST {
        return Err(Problem::malformed(format!(
            "between 1 and {MOST} events are tried at once"
        )));
    }
    if asked.documents.is_none() && asked.events.is_none() {
        let topic = match &asked.topic {
            Some(topic) => topic.clone(),
            None => events::topic_of(context, listener)?,
        };
        let (events, left_out) = events::newest(context, &topic, asked.last).await?;
        return Ok((Some(topic), events, left_out));
    }
    let happening = Happening {
        operation: &asked.operation,
        database: asked.database.as_deref(),
        collection: asked.collection.as_deref(),
        has_pre_image: asked.pre_image,
    };
    let documents = asked.documents.iter().flatten();
    let about = documents.map(|document| happening.event(listener, document.clone()));
    let all = about.chain(asked.events.iter().flatten().cloned());
    Ok((None, all.map(events::Told::given).collect(), 0))
}

fn tried(
    context: &Context,
    listener: &Definition,
    settings: &[(&Document, &Entry)],
    told: events::Told,
) -> Result<Tried, Problem> {
    let is_shown = told.is_given() || context.shows_documents;
    let json = |value: &Bson| serde_json::to_value(Extended::relaxed(value)).ok();
    let id = told.event.get_document("documentKey").ok();
    let id = id.and_then(|key| key.get("_id")).and_then(json);
    let document = told.event.get("fullDocument").and_then(json);
    let raw = trial::raw(told.event).map_err(Problem::malformed)?;
    let event = Event::parse(&raw)
        .map_err(|error| Problem::malformed(format!("events: is no change event: {error}")))?;
    let verdict = judge(
        listener,
        trial::settings(settings, event.database).as_ref(),
        &event,
    );
    let (topic, reasons) = match verdict {
        Verdict::Matches { topic } => (Some(topic), Vec::new()),
        Verdict::Not { reasons } => (None, reasons),
    };
    let place = told.place;
    Ok(Tried {
        matches: topic.is_some(),
        topic,
        reasons,
        operation: event.operation_name.to_owned(),
        namespace: format!("{}.{}", event.database, event.collection),
        partition: place.as_ref().map(|place| place.partition),
        offset: place.as_ref().map(|place| place.offset),
        time: told.time,
        id: id.filter(|_| is_shown),
        document: document.filter(|_| place.is_some() && is_shown),
    })
}

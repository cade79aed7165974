//! `/api/streams/{name}/dead-letters`: what is in the dead-letter topic, and producing it again.

pub(super) mod again;

use super::problem::Problem;
use super::query::{InQuery, allow};
use super::{Answer, Context, background, body, steering};
use crate::config::{Kafka, StreamSpec};
use crate::error::{Code, Error};
use crate::sink::dead_letter_reader::{self, Found, StoredDeadLetter, Unreadable};
use crate::sink::dead_letters::{self, Meant, Told};
use crate::sink::replay::Outcome;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

/// How many are on a page, and replayed by one call, at most.
const MOST: usize = 1000;
/// How long one call may read or replay: less than an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only this event, by its tw-seq.
    seq: Option<u64>,
    /// Only this namespace: database.collection.
    #[param(example = "shop.orders")]
    namespace: Option<String>,
    /// The dead-letter topic, where KAFKA_DLQ_TOPIC has placeholders.
    topic: Option<String>,
    /// How many to leave out at the beginning: the `next` of the page before.
    #[param(default = 0)]
    offset: usize,
    /// How many to give: at most 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: usize,
    /// Whether the events are given too, as Extended JSON: with ADMIN_SHOW_DOCUMENTS=true.
    #[param(default = false)]
    documents: bool,
}

impl Default for Which {
    fn default() -> Self {
        Self {
            seq: None,
            namespace: None,
            topic: None,
            offset: 0,
            limit: 100,
            documents: false,
        }
    }
}

/// A page of dead letters, the oldest of each partition first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterPage {
    topic: String,
    dead_letters: Vec<DeadLetter>,
    /// The `offset` of the next page; none where this is the last.
    next: Option<usize>,
}

/// An event that could not become a record.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its tw-seq.
    seq: Option<u64>,
    #[schema(example = "shop.orders")]
    namespace: Option<String>,
    #[schema(example = "insert")]
    operation: Option<String>,
    /// The id of the listener that the record was for; none for the configuration's own topics.
    listener: Option<String>,
    /// A stable name of why it is here; docs/operations.md says what to do about each.
    #[schema(example = "too_large")]
    reason: Option<String>,
    /// When it was written.
    time: Option<String>,
    /// The size of its event.
    bytes: Option<usize>,
    partition: i32,
    offset: i64,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    /// The topic that it was produced to by this call.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed_to: Option<String>,
    /// As the events of its kind today, it makes no record.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    makes_no_record: bool,
    /// Why it still cannot be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// The event, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    event: Option<serde_json::Value>,
}

impl DeadLetter {
    fn of(dead_letter: &StoredDeadLetter) -> Self {
        let told = Told::of(dead_letter);
        Self {
            seq: Some(told.seq),
            namespace: Some(told.namespace),
            operation: Some(told.operation),
            listener: told.listener,
            reason: Some(told.reason),
            time: told.time,
            bytes: Some(told.bytes),
            partition: told.partition,
            offset: told.offset,
            ..Self::default()
        }
    }

    fn unreadable(record: &Unreadable) -> Self {
        Self {
            seq: record.seq.map(|seq| seq.0),
            namespace: record.namespace.clone(),
            partition: record.partition,
            offset: record.offset,
            unreadable: Some(record.why.clone()),
            ..Self::default()
        }
    }

    fn with(mut self, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Replayed { topic } => self.replayed_to = Some(topic),
            Outcome::Nowhere => self.makes_no_record = true,
            Outcome::Refused { why } => self.refused = Some(why),
        }
        self
    }
}

/// What the reading needs, where it may block.
struct Task {
    kafka: Arc<Kafka>,
    stream: StreamSpec,
    topic: String,
    meant: Meant,
    offset: usize,
    limit: usize,
}

impl Task {
    /// Hands those that are meant, from the offset on, to `each`; the offset of the next where there are more.
    fn read(
        &self,
        mut each: impl FnMut(Found) -> Result<(), Error>,
    ) -> Result<Option<usize>, Error> {
        let (mut place, mut next) = (0, None);
        let end = Instant::now() + PATIENCE;
        dead_letter_reader::read(&self.kafka, &self.topic, |found| {
            let is_meant = match &found {
                Found::Whole(dead_letter) => self.meant.has(Some(&self.stream), dead_letter),
                Found::Unreadable(record) => self.meant.has_unreadable(Some(&self.stream), record),
            };
            if place >= self.offset + self.limit || Instant::now() > end {
                next = Some(place);
                return Ok(ControlFlow::Break(()));
            }
            if is_meant {
                if place >= self.offset {
                    each(found)?;
                }
                place += 1;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(next)
    }
}

/// List dead letters
///
/// One page, with the reason of each. With a long topic it takes some seconds.
#[utoipa::path(
    get, path = "/api/streams/{name}/dead-letters", tag = "dead letters", operation_id = "listDeadLetters",
    params(("name" = String, Path, description = "The stream's name, or its id"), Which),
    responses(
        (status = 200, body = DeadLetterPage),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "Documents are not shown: ADMIN_SHOW_DOCUMENTS=false"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "KAFKA_DLQ_TOPIC is not set, or has placeholders and no topic is named"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The topic does not exist, or may not be read"),
    ),
)]
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    InQuery(which): InQuery<Which>,
) -> Answer {
    if which.documents && !context.shows_documents {
        return Err(super::hidden());
    }
    let meant = Meant {
        seqs: which.seq.into_iter().collect(),
        namespace: which.namespace,
        is_shared: context.streams.all().len() > 1,
        ..Meant::default()
    };
    let task = task(
        &context,
        &name,
        which.topic.as_deref(),
        meant,
        which.offset,
        which.limit,
    )?;
    let topic = task.topic.clone();
    let with_documents = which.documents;
    let read = move || {
        let mut all = Vec::new();
        let next = task.read(|found| {
            all.push(match &found {
                Found::Whole(dead_letter) => match dead_letter.event() {
                    Ok(event) => DeadLetter {
                        event: with_documents.then(|| json(&event)).flatten(),
                        ..DeadLetter::of(dead_letter)
                    },
                    Err(unreadable) => DeadLetter::unreadable(&unreadable),
                },
                Found::Unreadable(record) => DeadLetter::unreadable(record),
            });
            Ok(())
        })?;
        Ok::<_, Error>((all, next))
    };
    let (dead_letters, next) = background(&context, "dead letters", read).await??;
    Ok(body::answer(&DeadLetterPage {
        topic,
        dead_letters,
        next,
    }))
}

fn json(event: &bson::RawDocumentBuf) -> Option<serde_json::Value> {
    let event = bson::Document::try_from(event.as_ref()).ok()?;
    Some(bson::Bson::Document(event).into_relaxed_extjson())
}

fn task(
    context: &Context,
    name: &str,
    topic: Option<&str>,
    meant: Meant,
    offset: usize,
    limit: usize,
) -> Result<Task, Problem> {
    allow(limit, MOST)?;
    let handle = steering::stream(context, name)?;
    let topic = dead_letters::topic(&handle.spec, topic, "`topic`");
    let topic = topic.map_err(|error| match error.code {
        Code::Config => Problem::conflict(error.detail),
        _ => error.into(),
    })?;
    Ok(Task {
        kafka: Arc::clone(&context.kafka),
        stream: handle.spec.clone(),
        topic,
        meant,
        offset,
        limit,
    })
}

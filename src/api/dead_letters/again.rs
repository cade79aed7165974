//! `POST /api/streams/{name}/dead-letters/replay`.

use super::{DeadLetter, task};
use crate::api::problem::Problem;
use crate::api::query::hundred;
use crate::api::{Answer, Context, background, body};
use crate::error::Error;
use crate::sink::dead_letter_reader::Found;
use crate::sink::dead_letters::Meant;
use crate::sink::replay::Replay;
use crate::source::listeners::collection;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Which dead letters are produced again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplayRequest)]
pub struct Asked {
    /// These events, by their tw-seq.
    #[serde(default)]
    #[schema(example = json!([1_790_000_000_000_001_u64]))]
    seq: Vec<u64>,
    /// Those of this namespace: database.collection.
    namespace: Option<String>,
    /// All of the topic.
    #[serde(default)]
    all: bool,
    /// The dead-letter topic, where KAFKA_DLQ_TOPIC has placeholders.
    topic: Option<String>,
    /// How many to leave out at the beginning: the `next` of the call before.
    #[serde(default)]
    offset: usize,
    /// How many at most: 100 where that is not said, and 1000 at most.
    #[serde(default = "hundred")]
    #[schema(default = 100, minimum = 1, maximum = 1000)]
    limit: usize,
}

/// What became of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    topic: String,
    /// Produced, and acknowledged.
    replayed: usize,
    /// Those that were left: they cannot be read, or still not be delivered.
    left: usize,
    results: Vec<DeadLetter>,
    /// The `offset` to continue with; none where all were tried.
    next: Option<usize>,
}

/// Replay dead letters
///
/// Produces them to their topics, as the configuration now routes and encodes them, with the header tw-replayed. The dead
/// letters stay: replaying them twice produces them twice, with the same tw-id.
#[utoipa::path(
    post, path = "/api/streams/{name}/dead-letters/replay", tag = "dead letters", operation_id = "replayDeadLetters",
    params(("name" = String, Path, description = "The stream's name, or its id")),
    request_body = Asked,
    responses(
        (status = 200, body = Replayed),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "It is not said which"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "KAFKA_DLQ_TOPIC is not set, or a replay runs"),
    ),
)]
pub(in crate::api) async fn replay(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    sent: Bytes,
) -> Answer {
    let asked: Asked = body::read(&sent)?;
    if asked.seq.is_empty() && asked.namespace.is_none() && !asked.all {
        return Err(Problem::malformed(
            "say which dead letters: seq with a list of numbers, a namespace, or all: true",
        ));
    }
    if context.kafka.dry_run {
        return Err(Problem::conflict("a dry run produces nothing"));
    }
    let Some(only) = context.reading.replaying() else {
        return Err(Problem::conflict(
            "a replay runs already; ask again when it has ended",
        ));
    };
    let meant = Meant {
        seqs: asked.seq,
        namespace: asked.namespace,
        is_shared: context.streams.all().len() > 1,
        ..Meant::default()
    };
    let task = task(
        &context,
        &name,
        asked.topic.as_deref(),
        meant,
        asked.offset,
        asked.limit,
    )?;
    let listeners = match &task.stream.source.listeners {
        Some(listeners) => collection::all(&context.client()?, &listeners.at).await?,
        None => Vec::new(),
    };
    let topic = task.topic.clone();
    let work = move || {
        let _only = only;
        let mut replay = Replay::new(&task.kafka, &task.stream, &task.topic, &listeners)?;
        let mut results = Vec::new();
        let next = task.read(|found| {
            results.push(match &found {
                Found::Whole(dead_letter) => match replay.replay(dead_letter) {
                    Ok(outcome) => DeadLetter::of(dead_letter).with(outcome),
                    Err(unreadable) => DeadLetter::unreadable(&unreadable),
                },
                Found::Unreadable(record) => DeadLetter::unreadable(record),
            });
            Ok(())
        })?;
        Ok::<_, Error>((results, next))
    };
    let (results, next) = background(&context, "dead letters", work).await??;
    let is_left = |one: &&DeadLetter| one.unreadable.is_some() || one.refused.is_some();
    let answer = Replayed {
        topic,
        replayed: results
            .iter()
            .filter(|one| one.replayed_to.is_some())
            .count(),
        left: results.iter().filter(is_left).count(),
        results,
        next,
    };
    tracing::info!(
        stream = name,
        replayed = answer.replayed,
        left = answer.left,
        "dead letters were replayed by a call"
    );
    Ok(body::answer(&answer))
}

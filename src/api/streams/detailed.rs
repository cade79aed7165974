//! All of a stream: what its screen shows.

use super::one::Stream;
use crate::api::Context;
use crate::api::time::of_millis;
use crate::status::waiting::Wait;
use crate::status::{Board, Flag, Note};
use crate::stream::streams::Handle;
use serde::Serialize;
use std::sync::atomic::Ordering;
use utoipa::ToSchema;

/// All of a stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StreamDetails)]
pub struct Detailed {
    #[serde(flatten)]
    stream: Stream,
    /// The time of the last event that was read.
    last_event_at: Option<String>,
    /// MongoDB, Kafka and the checkpoint store.
    connections: Vec<Connection>,
    waiting: Vec<Waiting>,
    /// The last things that went wrong, the newest first.
    faults: Vec<Fault>,
    /// Since the start of the process.
    counts: Vec<Counts>,
    /// What was produced to each topic since the start of the process.
    topics: Vec<OfTopic>,
    /// How each listener does here.
    listener_counts: Vec<OfListener>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// mongodb, kafka or checkpoint.
    #[schema(value_type = String, example = "kafka")]
    to: &'static str,
    well: bool,
    /// Since when it is so.
    since: Option<String>,
}

/// Something that the stream waits for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waiting {
    /// The kind, as in docs/operations.md.
    #[schema(value_type = String, example = "topic")]
    r#for: &'static str,
    what: String,
    since: Option<String>,
    seconds: u64,
    reason: Option<String>,
}

/// Something that went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    /// mongodb, kafka, checkpoint or stream.
    #[schema(value_type = String, example = "kafka")]
    of: &'static str,
    message: String,
    /// The last time.
    at: Option<String>,
    /// The first time, where it came several times in a row.
    first: Option<String>,
    times: u64,
    #[serde(skip)]
    at_millis: i64,
}

/// Counts of one collection and operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    database: String,
    collection: String,
    operation: &'static str,
    events: u64,
    event_bytes: u64,
    record_bytes: u64,
}

/// What was produced to one topic. Beyond 500 topics, the others together as `other`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StreamTopic)]
pub struct OfTopic {
    #[schema(example = "cdc.shop.orders")]
    topic: String,
    records: u64,
    /// Of keys, values and headers, before compression.
    bytes: u64,
    /// When the last record was produced.
    last_at: Option<String>,
}

/// Counts of one listener.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StreamListener)]
pub struct OfListener {
    id: String,
    job: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    matched: u64,
    produced: u64,
    undecided: u64,
    refused: u64,
    last_event_at: Option<String>,
}

impl Detailed {
    pub(super) fn of(context: &Context, handle: &Handle) -> Self {
        let board = &handle.board;
        let seen = board.last_seen_millis.load(Ordering::Relaxed);
        let counted = board.metrics.counted().into_iter();
        Self {
            stream: Stream::of(context, handle),
            last_event_at: Some(seen).filter(|at| *at > 0).and_then(of_millis),
            connections: connections(board),
            waiting: board
                .waiting()
                .into_iter()
                .filter(Wait::is_noticed)
                .map(Waiting::of)
                .collect(),
            faults: faults(board),
            counts: counted
                .map(|(what, [events, event_bytes, record_bytes])| Counts {
                    database: what.database,
                    collection: what.collection,
                    operation: what.operation,
                    events,
                    event_bytes,
                    record_bytes,
                })
                .collect(),
            topics: topics(board),
            listener_counts: listeners(board),
        }
    }
}

impl Waiting {
    fn of(wait: Wait) -> Self {
        Self {
            r#for: wait.what.name(),
            what: wait.what.to_string(),
            since: of_millis(wait.since.millis),
            seconds: wait.lasts().as_secs(),
            reason: wait.why,
        }
    }
}

fn connections(board: &Board) -> Vec<Connection> {
    let of = |to, flag: &Flag, well: bool| Connection {
        to,
        well,
        since: of_millis(flag.since_millis().unwrap_or(board.started_millis())),
    };
    let (mongo, kafka) = (&board.mongo_connected, &board.kafka_connected);
    let failing = board.checkpoint_failing.get();
    let store = match failing {
        true => &board.checkpoint_failing,
        false => &board.checkpoint_loaded,
    };
    vec![
        of("mongodb", mongo, mongo.get()),
        of("kafka", kafka, kafka.get()),
        of(
            "checkpoint",
            store,
            board.checkpoint_loaded.get() && !failing,
        ),
    ]
}

/// Errors of servers hold neither documents nor secrets.
fn faults(board: &Board) -> Vec<Fault> {
    let of = |of, note: &Note| {
        note.recent().into_iter().map(move |noted| Fault {
            of,
            message: noted.text,
            at: of_millis(noted.at_millis),
            first: (noted.times > 1)
                .then(|| of_millis(noted.first_millis))
                .flatten(),
            times: noted.times,
            at_millis: noted.at_millis,
        })
    };
    let mut all: Vec<_> = of("mongodb", &board.source_error)
        .chain(of("kafka", &board.sink_error))
        .chain(of("checkpoint", &board.checkpoint_error))
        .chain(of("stream", &board.failure))
        .collect();
    all.sort_by_key(|fault| std::cmp::Reverse(fault.at_millis));
    all
}

fn topics(board: &Board) -> Vec<OfTopic> {
    let all = board.metrics.produced().into_iter();
    all.map(|one| OfTopic {
        topic: one.topic,
        records: one.records,
        bytes: one.bytes,
        last_at: of_millis(one.last_millis).filter(|_| one.last_millis > 0),
    })
    .collect()
}

fn listeners(board: &Board) -> Vec<OfListener> {
    let all = board.listeners.all().into_iter();
    all.map(|shown| OfListener {
        state: shown.state.name(),
        reason: shown.state.reason().map(str::to_owned),
        id: shown.name,
        job: shown.job,
        matched: shown.matched,
        produced: shown.produced,
        undecided: shown.undecided,
        refused: shown.refused,
        last_event_at: shown.last_event_millis.and_then(of_millis),
    })
    .collect()
}

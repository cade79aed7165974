//! One stream, as it is told.

use super::Owner;
use crate::api::Context;
use crate::api::remedy::{self, Trouble};
use crate::api::time::of_millis;
use crate::status::owner::Ownership;
use crate::status::waiting::Wait;
use crate::status::{Board, Flag, Note};
use crate::stream::streams::Handle;
use serde::Serialize;
use utoipa::ToSchema;

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    #[schema(example = "tailwater:shop")]
    id: String,
    /// Its name in STREAMS, otherwise its id.
    #[schema(example = "shop")]
    name: String,
    /// Whether this instance is configured for it. Of others no more is known than who has them.
    configured: bool,
    /// starting, disabled, standby, unowned, running, recovering, paused, draining, failed or stopped.
    #[schema(value_type = String, example = "running")]
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    /// What is wrong, the worst first.
    troubles: Vec<Trouble>,
    #[serde(flatten)]
    #[schema(inline)]
    here: Option<Here>,
}

/// What this instance knows of a stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Here {
    /// healthy, degraded or unhealthy.
    #[schema(value_type = String, example = "healthy")]
    health: &'static str,
    /// The database that is watched, or `*`.
    #[schema(example = "shop")]
    database: String,
    /// What is watched, in words.
    filter: String,
    dry_run: bool,
    events: u64,
    /// Events a second.
    #[schema(example = 12.5)]
    rate: f64,
    /// How far delivery is behind the changes' own time.
    lag_ms: u64,
    in_flight_records: u64,
    in_flight_bytes: u64,
    /// How long the oplog will hold the checkpoint; none where that is not known.
    oplog_headroom_seconds: Option<u64>,
    checkpoint: Option<At>,
    produced: u64,
    acknowledged: u64,
    dead_lettered: u64,
    skipped: u64,
    /// Times the source was opened again.
    reconnects: u64,
    history_gaps: u64,
    /// How many listeners there are in each state; none without LISTENERS_COLLECTION.
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<ListenerCounts>,
}

/// The last position that was stored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct At {
    /// The time of the position.
    time: Option<String>,
    /// Its tw-seq.
    seq: u64,
    /// How long ago it was stored.
    age_seconds: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ListenerCounts {
    active: u64,
    disabled: u64,
    invalid: u64,
}

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

impl Stream {
    pub(in crate::api) fn of(context: &Context, handle: &Handle) -> Self {
        let board = &handle.board;
        let is_disabled = !context.is_enabled;
        Self {
            id: handle.spec.id.clone(),
            name: handle.spec.name().to_owned(),
            configured: true,
            state: board.state().name(),
            owner: board.ownership().as_ref().map(Owner::of),
            troubles: match is_disabled {
                true => Vec::new(),
                false => remedy::of(board),
            },
            here: Some(Here::of(handle)),
        }
    }

    /// One that only other instances are configured for.
    pub(super) fn of_others(id: &str, ownership: &Ownership) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            configured: false,
            state: ownership.elsewhere().name(),
            owner: Some(Owner::of(ownership)),
            troubles: Vec::new(),
            here: None,
        }
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id
    }
}

impl Here {
    fn of(handle: &Handle) -> Self {
        let board = &handle.board;
        let states = board.listeners.states();
        let count = |name: &str| states.get(name).copied().unwrap_or_default();
        Self {
            health: board.health().name(),
            database: board.namespace.clone(),
            filter: handle.filter.clone(),
            dry_run: board.dry_run.get(),
            events: board.events.get(),
            rate: board.rate(),
            lag_ms: u64::try_from(board.lag().as_millis()).unwrap_or(u64::MAX),
            in_flight_records: board.in_flight(),
            in_flight_bytes: board.in_flight_bytes(),
            oplog_headroom_seconds: board.headroom().map(|headroom| headroom.as_secs()),
            checkpoint: board.committed().map(|committed| At {
                time: committed.position.time_millis.and_then(of_millis),
                seq: committed.position.seq.0,
                age_seconds: committed.at.elapsed().as_secs(),
            }),
            produced: board.produced.get(),
            acknowledged: board.acked.get(),
            dead_lettered: board.dead_lettered.get(),
            skipped: board.skipped.get(),
            reconnects: board.reconnects.get(),
            history_gaps: board.gaps.get(),
            listeners: board.has_listeners.get().then(|| ListenerCounts {
                active: count("active"),
                disabled: count("disabled"),
                invalid: count("invalid"),
            }),
        }
    }
}

impl Detailed {
    pub(super) fn of(context: &Context, handle: &Handle) -> Self {
        let board = &handle.board;
        let seen = board
            .last_seen_millis
            .load(std::sync::atomic::Ordering::Relaxed);
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

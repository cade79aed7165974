//! From a stream spec to an open stream: both ends are looked at side by side, then the checkpoint is
//! claimed and read, then the cursor is opened at it.

use super::ahead;
use super::context::StreamContext;
use super::copying;
use super::listening;
use super::shared::Shared;
use super::waiting::{Wait, both, pause_before_retry, retrying};
use crate::change::extra::Extra;
use crate::change::position::{ClusterTime, Position, ResumeToken, Seq};
use crate::checkpoint::{self, Checkpoint, Connections, Decision, Location, Store, StoreContext};
use crate::config::{StartAt, StreamSpec};
use crate::encode::serialization::registry::Registry;
use crate::error::{Code, Error};
use crate::listener::ListenerRouter;
use crate::log::event_id;
use crate::mongo::errors::SourceFault;
use crate::mongo::identity;
use crate::preflight::Report;
use crate::retry::Retry;
use crate::sink::topics::Topics;
use crate::snapshot::desk::Desk;
use crate::source::batch_size::BatchSize;
use crate::source::cursor::{Cursor, Start};
use crate::source::locate::{Located, locate};
use crate::source::opener::{Ahead, Opener};
use crate::source::{Filter, Watch, preflight, start};
use crate::status::Board;
use crate::status::waiting::Awaited;
use crate::tasks;
use bson::RawDocumentBuf;
use futures_util::FutureExt;
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// What an incarnation begins with.
pub struct Opened {
    /// None where the server does not find the position's token: the reader looks for its time.
    pub cursor: Option<Cursor>,
    pub position: Position,
    /// The event that tells of lost history, to go before all others.
    pub gap: Option<RawDocumentBuf>,
}

/// Waits for the servers and opens everything; none when asked to stop meanwhile.
///
/// # Errors
/// What is permanent, or was not over within `RECONNECT_MAX_RETRIES`.
pub async fn open(
    spec: StreamSpec,
    shared: Shared,
    board: Arc<Board>,
    desk: Arc<Desk>,
    stop: CancellationToken,
) -> Result<Option<(StreamContext, Opened, Store)>, Error> {
    let mut router = listening::router(&spec, Arc::clone(&board.listeners))?;
    let topics = Topics::through(Arc::clone(&shared.cluster), &shared.kafka);
    let retry = shared.mongo.retry;
    // Neither end waits for the other, and the checkpoint's connections wait for none.
    let connecting = tasks::spawn({
        let (kafka, mongo, spec) = (
            Arc::clone(&shared.kafka),
            Arc::clone(&shared.mongo),
            spec.clone(),
        );
        async move { Connections::make(Location::of(&kafka, &mongo, &spec)).await }
    });
    let source = source_ready(&shared, &spec, &board);
    let sink = sink_ready(&topics, &router, retry, &spec, &board);
    let (source, ()) = Box::pin(both(source, sink)).await?;

    // Only now, when nothing is in the way of taking the stream over, is its former instance fenced.
    let claimant = StoreContext::of(
        &spec,
        Filter::of(&spec).identity(),
        shared.instance.clone(),
        source,
        &shared.client,
    );
    let connections = Mutex::new(connecting.await.ok());
    let location = Location::of(&shared.kafka, &shared.mongo, &spec);
    let claiming = async || {
        // They serve one attempt.
        let connections = connections.lock().await.take().unwrap_or_default();
        Store::open_through(connections, location, claimant.clone()).await
    };
    let waiting = [board.waits.begin(Awaited::Checkpoint)];
    let opening = retrying(retry, &waiting, || claiming().boxed());
    // The one is as long on its way as the other, when there is nothing to be made.
    let making = ahead::make(&spec, &shared.client, router.configured(), &topics);
    let (opened, ()) = Box::pin(async { tokio::join!(opening, making) }).await;
    drop(waiting);
    let (mut store, checkpoint) = opened?;

    // What a dry run does not store it remembers over a pause.
    let checkpoint = match board.committed() {
        Some(committed) if shared.kafka.dry_run => Some(store.checkpoint(committed.position)),
        _ => checkpoint,
    };
    let opener = Opener {
        client: shared.client.clone(),
        watch: Watch::of(&spec),
        batch_size: BatchSize::new(shared.memory.reply_bytes(spec.source.batch_bytes)),
        retry,
        board: Arc::clone(&board),
        stop: stop.clone(),
        has_run: Arc::new(AtomicBool::new(false)),
    };
    let mut opened = match checkpoint {
        Some(checkpoint) => {
            router = router.at(&checkpoint.position.extra)?;
            let opener = listening::opener_for(&opener, &router);
            resume(&opener, &claimant, checkpoint).await?
        }
        None => {
            let extra = copying::at_begin(&spec.snapshot);
            let is_dry_run = shared.kafka.dry_run;
            begin(
                &opener,
                &spec.source.start_at,
                extra,
                &mut store,
                is_dry_run,
            )
            .await?
        }
    };
    let mut missing = listening::Missing::default();
    if let Some(opened) = &mut opened {
        let listeners = spec.source.listeners.as_ref();
        let begun = listening::begin(&opener, listeners, &mut opened.position, &mut store).await?;
        if begun.are_read {
            // It was opened for everything.
            opened.cursor = None;
        }
        missing = begun.missing;
        // Read once: the incarnation that begins here finds it so.
        router = router.at(&opened.position.extra)?;
    }
    board.checkpoint_loaded.set(true);
    if let Some(capabilities) = opener.watch.capabilities.describe() {
        tracing::info!("{capabilities}");
    }
    let context = StreamContext {
        spec,
        shared,
        opener,
        router,
        topics,
        desk,
        missing,
    };
    Ok(opened.map(|opened| (context, opened, store)))
}

/// Waits until both ends can carry the stream, and claims nothing: an instance that stands by knows then that it
/// can take it.
///
/// # Errors
/// What is permanent, or was not over within `RECONNECT_MAX_RETRIES`.
pub async fn look(spec: &StreamSpec, shared: &Shared, board: &Board) -> Result<(), Error> {
    let router = listening::router(spec, Arc::clone(&board.listeners))?;
    let topics = Topics::through(Arc::clone(&shared.cluster), &shared.kafka);
    let source = source_ready(shared, spec, board);
    let sink = sink_ready(&topics, &router, shared.mongo.retry, spec, board);
    Box::pin(both(source, sink)).await?;
    Ok(())
}

/// Waits until MongoDB can give the stream; returns its identity.
async fn source_ready(shared: &Shared, spec: &StreamSpec, board: &Board) -> Result<String, Error> {
    let (client, retry) = (&shared.client, shared.mongo.retry);
    let wait = Wait {
        server: "mongodb",
        retry,
        note: &board.source_error,
        waiting: board.waits.begin(Awaited::MongoDb),
    };
    wait.until_passed(
        || preflight::before_opening(client, &shared.mongo, spec).boxed(),
        preflight::silence(&shared.mongo).boxed(),
    )
    .await?;
    board.mongo_connected.set(true);
    let waiting = [board.waits.begin(Awaited::MongoDb)];
    let identity = retrying(retry, &waiting, || identity::identify(client).boxed()).await?;
    Ok(identity.to_string())
}

/// Waits until Kafka can take the records, and the registry their schemas.
async fn sink_ready(
    topics: &Topics,
    router: &ListenerRouter,
    retry: Retry,
    spec: &StreamSpec,
    board: &Board,
) -> Result<(), Error> {
    tokio::try_join!(
        kafka_ready(topics, router, retry, board),
        registry_ready(spec, retry, board),
    )?;
    Ok(())
}

async fn registry_ready(spec: &StreamSpec, retry: Retry, board: &Board) -> Result<(), Error> {
    let Some(settings) = spec.sink.serialization.schemas() else {
        return Ok(());
    };
    let registry = Registry::new(settings)?;
    let wait = Wait {
        server: "schema registry",
        retry,
        note: &board.sink_error,
        waiting: board.waits.begin(Awaited::Registry),
    };
    let check = || {
        let finding = registry.check();
        async {
            Report {
                findings: vec![finding.await],
            }
        }
        .boxed()
    };
    wait.until_passed(check, async { None }.boxed()).await
}

async fn kafka_ready(
    topics: &Topics,
    router: &ListenerRouter,
    retry: Retry,
    board: &Board,
) -> Result<(), Error> {
    let known = router.table().all();
    let wait = Wait {
        server: "kafka",
        retry,
        note: &board.sink_error,
        waiting: board.waits.begin(Awaited::Kafka),
    };
    wait.until_passed(
        || {
            topics
                .ensure(&known)
                .map(|findings| Report { findings })
                .boxed()
        },
        async { topics.silence() }.boxed(),
    )
    .await?;
    board.kafka_connected.set(true);
    Ok(())
}

/// Resumes at a checkpoint.
async fn resume(
    opener: &Opener,
    claimant: &StoreContext,
    checkpoint: Checkpoint,
) -> Result<Option<Opened>, Error> {
    let decision = checkpoint::verify(
        &checkpoint,
        &claimant.source,
        &claimant.namespace,
        &claimant.filter,
    )?;
    let mut position = checkpoint.position;
    if let Decision::FilterChanged { seq, change } = decision {
        match change.adds {
            true => tracing::warn!("{}", change.sentence),
            false => tracing::info!("{}", change.sentence),
        }
        position.seq = seq;
    }
    opener.board.set_committed(position.clone());
    let start = Start::behind(&position);
    let cursor = match opener.open(&start, &mut opener.delays()).await {
        Ok(Some(opened)) => opened.cursor,
        Ok(None) => return Ok(None),
        // The reader meets that again, and what follows is as in a run.
        Err(error) if error.code == Code::HistoryLost => None,
        Err(error) => return Err(error),
    };
    tracing::info!(
        written_by = checkpoint.instance,
        seq = position.seq.0,
        "resuming at the checkpoint"
    );
    Ok(Some(Opened {
        cursor,
        position,
        gap: None,
    }))
}

/// Begins a stream that has no checkpoint, and stores its first position before any event is read.
async fn begin(
    opener: &Opener,
    start_at: &StartAt,
    extra: Extra,
    store: &mut Store,
    is_dry_run: bool,
) -> Result<Option<Opened>, Error> {
    let retry = opener.retry;
    let (mut attempt, mut pauses) = (1, retry.delays());
    let (start, cursor, first, at) = loop {
        let waiting = [opener.board.waits.begin(Awaited::MongoDb)];
        let start = retrying(retry, &waiting, || {
            start::without_checkpoint(&opener.client, start_at, attempt).boxed()
        })
        .await?;
        match first_cursor(opener, start_at, &start).await {
            Ok(Some((cursor, first, at))) => break (start, cursor, first, at),
            Ok(None) => return Ok(None),
            // The oplog is being truncated, and begins later by now.
            Err(error) if error.code == Code::HistoryLost && *start_at == StartAt::Earliest => {
                let pause = pauses.next().ok_or(error)?;
                tracing::warn!(
                    event_id = event_id::OPLOG_TRUNCATED,
                    attempt,
                    "the oplog was truncated past where the stream should begin; trying again further ahead"
                );
                tokio::time::sleep(pause).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    };
    let token = match (first, &start) {
        // Of a server whose post-batch tokens go back.
        (Some(first), Start::After(token)) if first.stream_order(token) == Some(Ordering::Less) => {
            token.clone()
        }
        (Some(token), _) => token,
        (None, Start::After(token)) => token.clone(),
        (None, _) => {
            return Err(Error::new(
                Code::SourceRefused,
                "the server gives neither a post-batch resume token nor an operationTime to begin at",
            ));
        }
    };
    let time_millis = token.cluster_time().or(at).map(|time| time.millis());
    let position = Position {
        cluster_time: match &start {
            Start::At(time) => Some(*time),
            Start::After(_) | Start::Now => at,
        },
        token,
        seq: Seq::renewed(None),
        time_millis,
        extra,
    };
    let mut delays = retry.delays();
    let waiting = [opener.board.waits.begin(Awaited::Checkpoint)];
    while let Err(error) = store.begin(position.clone()).await {
        pause_before_retry(error.into(), &mut delays, &waiting).await?;
    }
    drop(waiting);
    opener.board.set_committed(position.clone());
    match is_dry_run {
        true => tracing::info!(start_at = ?start_at, "no checkpoint: a first start"),
        false => {
            tracing::info!(event_id = event_id::FIRST_START, start_at = ?start_at, "no checkpoint: a first start, its position is stored");
        }
    }
    Ok(Some(Opened {
        cursor,
        position,
        gap: None,
    }))
}

/// A new stream's cursor, the token it begins behind, and for one that is absent the time it begins at.
type First = (Option<Cursor>, Option<ResumeToken>, Option<ClusterTime>);

/// Opens the first cursor of a stream. Whether the oplog holds where it was told to begin is asked before its
/// position is stored: the next start would resume from there, whatever it is told then.
async fn first_cursor(
    opener: &Opener,
    start_at: &StartAt,
    start: &Start,
) -> Result<Option<First>, Error> {
    let Some(opened) = opener.open(start, &mut opener.delays()).await? else {
        return Ok(None);
    };
    let (cursor, first, at) = (opened.cursor, opened.token, opened.at);
    let ahead = match (cursor, start_at) {
        (Some(cursor), StartAt::Earliest | StartAt::Token(_)) => {
            opener.look_ahead(cursor, start).await?
        }
        (Some(cursor), StartAt::Now | StartAt::Time(_)) => Ahead::Ready(cursor),
        (None, _) => Ahead::TokenNotFound,
    };
    let cursor = match ahead {
        Ahead::Ready(cursor) => Some(cursor),
        Ahead::Unknown => None,
        Ahead::TokenNotFound => {
            let time = match start {
                Start::After(token) => token.cluster_time(),
                Start::At(_) | Start::Now => None,
            };
            let lost = match locate(&opener.client, time).await {
                Located::At(_) => return Ok(Some((None, first, at))),
                Located::Lost => SourceFault::HistoryLost,
                Located::Unknown => SourceFault::TokenNotFound,
            };
            let detail = format!("starting at the token of START_AT{}", lost.remedy());
            return Err(Error::new(lost.code(), detail));
        }
    };
    Ok(Some((cursor, first, at)))
}

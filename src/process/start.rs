//! From a configuration to an open stream: both ends are looked at side by side, then the checkpoint is
//! claimed and read, then the cursor is opened at it.

use super::waiting::{Wait, both, heal, healing};
use super::{ahead, store_context, watch};
use crate::change::position::{Position, ResumeToken, Seq};
use crate::checkpoint::{self, Checkpoint, Connections, Decision, Store, StoreContext};
use crate::config::{Config, StartAt};
use crate::error::{Code, Error};
use crate::mongo::errors::{self, SourceFault, Stage};
use crate::mongo::identity;
use crate::preflight::Report;
use crate::retry::Retry;
use crate::route::Router;
use crate::sink::topics::Topics;
use crate::source::batch_size::BatchSize;
use crate::source::cursor::{Cursor, Start};
use crate::source::locate::{Located, locate};
use crate::source::{preflight, start};
use crate::status::Board;
use crate::status::waiting::Awaited;
use crate::stream::incarnation::Rooms;
use crate::stream::opening::{self, Ahead, Opened};
use mongodb::Client;
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Waits for the servers and opens everything; none when asked to stop meanwhile.
pub(super) async fn open(
    config: Config,
    client: Client,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<Option<(Rooms, Opened, Store)>, Error> {
    let mut router = Router::of(&config)?;
    let topics = Topics::new(&config.kafka)?;
    let retry = config.mongo.retry();
    // Neither end waits for the other, and the checkpoint's connections wait for none.
    let connecting = tokio::spawn({
        let config = config.clone();
        async move { Connections::make(&config).await }
    });
    let source = source_ready(&client, &config, retry, &board);
    let sink = sink_ready(&topics, &router, retry, &board);
    let (source, ()) = Box::pin(both(source, sink)).await?;

    // Only now, when nothing is in the way of taking the stream over, is its former instance fenced.
    let context = store_context(&config, &client, source);
    let connections = Mutex::new(connecting.await.ok());
    let waiting = board.waits.begin(Awaited::Checkpoint);
    let opening = healing(retry, waiting, async || {
        // They serve one attempt.
        let connections = connections.lock().await.take().unwrap_or_default();
        Store::open_through(connections, &config, context.clone()).await
    });
    // The one is as long on its way as the other, when there is nothing to be made.
    let making = ahead::make(&config, &client, &mut router, &topics);
    let (opened, ()) = Box::pin(async { tokio::join!(opening, making) }).await;
    let (mut store, checkpoint) = opened?;

    // What a dry run does not store it remembers over a pause.
    let checkpoint = match board.committed() {
        Some(committed) if config.kafka.dry_run => Some(store.checkpoint(committed.position)),
        _ => checkpoint,
    };

    let watch = watch(&config);
    let mut rooms = Rooms {
        batch_size: BatchSize::new(config.mongo.batch_bytes),
        config,
        client,
        watch,
        router,
        topics,
        board,
        stop,
        has_run: AtomicBool::new(false),
    };
    let opened = match checkpoint {
        Some(checkpoint) => go_on(&mut rooms, &context, checkpoint).await?,
        None => Some(begin(&mut rooms, &mut store).await?),
    };
    rooms.board.checkpoint_loaded.set(true);
    Ok(opened.map(|opened| (rooms, opened, store)))
}

/// Waits until MongoDB can give the stream; returns its identity.
async fn source_ready(
    client: &Client,
    config: &Config,
    retry: Retry,
    board: &Board,
) -> Result<String, Error> {
    let wait = Wait {
        server: "mongodb",
        retry,
        note: &board.source_error,
        waiting: board.waits.begin(Awaited::MongoDb),
    };
    wait.until_passed(
        async || preflight::before_opening(client, config).await,
        async || preflight::silence(config).await,
    )
    .await?;
    board.mongo_connected.set(true);
    let waiting = board.waits.begin(Awaited::MongoDb);
    let identity = healing(retry, waiting, async || identity::identify(client).await).await?;
    Ok(identity.to_string())
}

/// Waits until Kafka can take the records.
async fn sink_ready(
    topics: &Topics,
    router: &Router,
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
        async || Report {
            findings: topics.ensure(&known).await,
        },
        async || topics.silence(),
    )
    .await?;
    board.kafka_connected.set(true);
    Ok(())
}

/// Goes on from a checkpoint.
async fn go_on(
    rooms: &mut Rooms,
    context: &StoreContext,
    checkpoint: Checkpoint,
) -> Result<Option<Opened>, Error> {
    let decision = checkpoint::verify(
        &checkpoint,
        &context.source,
        &context.namespace,
        &context.filter,
    )?;
    let mut position = checkpoint.position;
    if let Decision::FilterChanged { seq, change } = decision {
        match change.adds {
            true => tracing::warn!("{}", change.sentence),
            false => tracing::info!("{}", change.sentence),
        }
        position.seq = seq;
    }
    rooms.board.set_committed(position.clone());
    let opened = open_cursor(rooms, &Start::After(position.token.clone())).await;
    let (cursor, _) = match opened {
        Ok(opened) => opened,
        // The reader meets that again, and what follows is as in a run.
        Err(error) if error.code == Code::HistoryLost => (None, None),
        Err(error) => return Err(error),
    };
    tracing::info!(
        written_by = checkpoint.instance,
        seq = position.seq.0,
        "going on from the checkpoint"
    );
    Ok(Some(Opened {
        cursor,
        position,
        gap: None,
    }))
}

/// Begins a stream that has no checkpoint, and stores its first position before any event is read.
async fn begin(rooms: &mut Rooms, store: &mut Store) -> Result<Opened, Error> {
    let retry = rooms.retry();
    let start_at = rooms.config.mongo.start_at.clone();
    let (mut attempt, mut pauses) = (1, retry.delays());
    let (start, cursor, first) = loop {
        let waiting = rooms.board.waits.begin(Awaited::MongoDb);
        let start = healing(retry, waiting, async || {
            start::without_checkpoint(&rooms.client, &start_at, attempt).await
        })
        .await?;
        match first_cursor(rooms, &start_at, &start).await {
            Ok((cursor, first)) => break (start, cursor, first),
            // The oplog is being truncated, and begins later by now.
            Err(error) if error.code == Code::HistoryLost && start_at == StartAt::Earliest => {
                let pause = pauses.next().ok_or(error)?;
                tracing::warn!(
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
                "the server gives no post-batch resume token; MongoDB 4.2 or later is needed",
            ));
        }
    };
    let time_millis = token.cluster_time().map(|time| time.millis());
    let position = Position {
        cluster_time: match &start {
            Start::At(time) => Some(*time),
            Start::After(_) | Start::Now => None,
        },
        token,
        seq: Seq::renewed(None),
        time_millis,
    };
    let mut delays = retry.delays();
    let waiting = rooms.board.waits.begin(Awaited::Checkpoint);
    while let Err(error) = store.commit(&store.checkpoint(position.clone())).await {
        heal(error.into(), &mut delays, &waiting).await?;
    }
    drop(waiting);
    rooms.board.set_committed(position.clone());
    match rooms.config.kafka.dry_run {
        true => tracing::info!(start_at = ?start_at, "no checkpoint: a first start"),
        false => {
            tracing::info!(start_at = ?start_at, "no checkpoint: a first start, its position is stored");
        }
    }
    Ok(Opened {
        cursor,
        position,
        gap: None,
    })
}

/// Opens the first cursor of a stream. Whether the oplog holds where it was told to begin is asked before its
/// position is stored: the next start would go on from there, whatever it is told then.
async fn first_cursor(
    rooms: &mut Rooms,
    start_at: &StartAt,
    start: &Start,
) -> Result<(Option<Cursor>, Option<ResumeToken>), Error> {
    let (cursor, first) = open_cursor(rooms, start).await?;
    let ahead = match (cursor, start_at) {
        (Some(cursor), StartAt::Earliest | StartAt::Token(_)) => {
            opening::look_ahead(rooms, cursor, start).await?
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
            let lost = match locate(&rooms.client, time).await {
                Located::At(_) => return Ok((None, first)),
                Located::Lost => SourceFault::HistoryLost,
                Located::Unknown => SourceFault::TokenNotFound,
            };
            let detail = format!("starting at the token of START_AT{}", lost.remedy());
            return Err(Error::new(lost.code(), detail));
        }
    };
    Ok((cursor, first))
}

/// Opens the cursor, waiting for what heals by itself; goes without splitting where the server does
/// not know it. There is no cursor where it does not find the token to start after: the reader looks for its
/// time.
async fn open_cursor(
    rooms: &mut Rooms,
    start: &Start,
) -> Result<(Option<Cursor>, Option<ResumeToken>), Error> {
    let mut delays = rooms.retry().delays();
    let board = Arc::clone(&rooms.board);
    let waiting = board.waits.begin(Awaited::MongoDb);
    loop {
        let error = match Cursor::open(
            &rooms.client,
            &rooms.watch,
            start,
            rooms.batch_size.events(),
            false,
        )
        .await
        {
            Ok((cursor, first)) => return Ok((Some(cursor), first.post_batch_token())),
            Err(error) => error,
        };
        let moment = opening::moment(start);
        let fault = errors::classify(&error, moment);
        if rooms.watch.give_up_splitting(fault) {
            tracing::info!("this server does not split events over 16 MiB; going on without");
            continue;
        }
        if fault == SourceFault::TokenNotFound {
            return Ok((None, None));
        }
        let attempt = "opening the change stream";
        heal(
            errors::of_fault(attempt, fault, Stage::Starting, &error),
            &mut delays,
            &waiting,
        )
        .await?;
    }
}

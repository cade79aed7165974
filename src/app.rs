//! The composition root: waits for the servers, builds the rooms, starts the tasks.

use crate::admin::{self, Controls};
use crate::commit::Ledger;
use crate::config::{Config, ResumeBackend, Scope};
use crate::error::{Code, Error, Policy};
use crate::pipeline::opening::{self, OPENING_BATCH, Opened};
use crate::pipeline::{self, history, incarnation::Rooms};
use crate::position::{Position, Seq};
use crate::preflight::Report;
use crate::resume::{self, Checkpoint, Decision, Store, StoreContext};
use crate::route::Router;
use crate::sink::topics::{self, Topics};
use crate::source::cursor::{Cursor, Lean, Start, Watch};
use crate::source::errors::{self, SourceFault};
use crate::source::reader::Retry;
use crate::source::{self, Filter, Images, headroom, identity, preflight, start};
use crate::status::{Board, Note, State, line, vigil};
use mongodb::Client;
use mongodb::options::ClientOptions;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the driver looks for a server before it says that there is none.
const SERVER_SELECTION: Duration = Duration::from_secs(5);

/// How often the topics are looked at again.
const TOPIC_REFRESH: Duration = Duration::from_secs(300);

/// Runs until asked to stop.
///
/// # Errors
/// What made it impossible to go on; its code gives the exit code.
pub async fn run(config: Config, controls: Controls) -> Result<(), Error> {
    let board = Arc::new(Board::new(config.mongo.scope.name()));
    let done = CancellationToken::new();
    if config.kafka.dry_run {
        board.dry_run.set(true);
        tracing::warn!(
            "dry run: nothing is produced, no topic created, no checkpoint taken or stored"
        );
    }
    let http = admin::serve(&config, Arc::clone(&board), controls.clone(), done.clone()).await?;
    let status = tokio::spawn(line::run(
        Arc::clone(&board),
        config.status_interval,
        done.clone(),
    ));

    let vigil = tokio::spawn(vigil::run(Arc::clone(&board), done.clone()));
    let upkeep = {
        let (board, done) = (Arc::clone(&board), done.clone());
        tokio::spawn(async move { board.metrics.keep_up(done).await })
    };

    let result = if config.enabled {
        run_unless_paused(config, &board, controls).await
    } else {
        board.enter(State::Disabled);
        tracing::info!("ENABLE_CHANGE_STREAMS=false: nothing is watched");
        controls.stop.cancelled().await;
        Ok(())
    };
    board.enter(State::Stopped);
    done.cancel();
    for task in [Some(status), Some(vigil), Some(upkeep), http]
        .into_iter()
        .flatten()
    {
        // They only look on; a panic in them has been reported by the panic hook.
        let _ = task.await;
    }
    result
}

/// Runs the checks alone, for `tailwater check`.
///
/// # Errors
/// When the MongoDB client cannot be built from its URI.
pub async fn check(config: &Config) -> Result<Report, Error> {
    let client = connect(config).await?;
    let mut report = preflight::run(&client, config).await;
    report.extend(topics::check(config).await);
    Ok(report)
}

/// Looks at the topics alone, for `tailwater topics`.
pub async fn topics(config: &Config) -> Report {
    Report {
        findings: topics::check(config).await,
    }
}

/// Carries changes until asked to stop, standing still whenever and for as long as it should. A pause ends
/// the run as a stop does, so that going on is a start from the checkpoint like every other.
async fn run_unless_paused(
    config: Config,
    board: &Arc<Board>,
    controls: Controls,
) -> Result<(), Error> {
    let mut paused = controls.paused.subscribe();
    // One client for all runs: how long until history is lost is told while the stream stands still, too.
    let client = connect(&config).await?;
    tokio::spawn(headroom::watch(
        client.clone(),
        Arc::clone(board),
        controls.stop.clone(),
    ));
    loop {
        let halt = controls.stop.child_token();
        let mut running = Box::pin(bridge(
            config.clone(),
            client.clone(),
            Arc::clone(board),
            halt.clone(),
        ));
        let ended = tokio::select! {
            ended = &mut running => ended,
            // The sender is in `controls`: this waits for as long as nobody pauses.
            Ok(_) = paused.wait_for(|is_paused| *is_paused) => {
                halt.cancel();
                running.await
            }
        };
        if controls.stop.is_cancelled() || !halt.is_cancelled() {
            return ended;
        }
        match ended {
            Err(error) if error.code != Code::DrainTimedOut => return Err(error),
            // What was not acknowledged in time is read again.
            _ => board.enter(State::Paused),
        }
        tokio::select! {
            () = controls.stop.cancelled() => return Ok(()),
            Ok(_) = paused.wait_for(|is_paused| !is_paused) => board.enter(State::Starting),
        }
    }
}

async fn bridge(
    config: Config,
    client: Client,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (rooms, opened, store) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        opened = open(config, client, board, stop.clone()) => match opened? {
            Some(opened) => opened,
            None => return Ok(()),
        },
    };
    let ledger = Ledger::new(rooms.config.kafka.delivery, store).await?;
    let ledger = tokio::select! {
        ended = Box::pin(pipeline::supervise(&rooms, opened, ledger)) => ended?,
        never = watch_topics(&rooms) => match never {},
    };
    ledger.close().await?;
    match rooms.config.kafka.dry_run {
        true => tracing::info!("stopped; a dry run: nothing was produced and nothing stored"),
        false => tracing::info!("stopped; everything delivered is committed"),
    }
    Ok(())
}

/// Looks again at the topics in use from time to time: limits change, and partitions are added, which
/// moves keys.
async fn watch_topics(rooms: &Rooms) -> Infallible {
    loop {
        tokio::time::sleep(TOPIC_REFRESH).await;
        for notice in rooms.topics.refresh(&rooms.router.table().all()).await {
            tracing::warn!("{notice}");
        }
    }
}

/// Waits for the servers and opens everything; none when asked to stop meanwhile.
async fn open(
    config: Config,
    client: Client,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<Option<(Rooms, Opened, Store)>, Error> {
    let retry = Retry {
        first: config.mongo.reconnect_delay,
        most: config.mongo.reconnect_max_retries,
    };
    until_passed(retry, "mongodb", &board.source_error, async || {
        Ok(preflight::run(&client, &config).await)
    })
    .await?;
    board.mongo_connected.set(true);
    let reserved = match &config.resume.backend {
        ResumeBackend::Kafka { topic } => Some(topic.as_str()),
        ResumeBackend::MongoDb { .. } | ResumeBackend::File { .. } => None,
    };
    let router = Router::new(&config.kafka.topics, reserved.as_slice())?;
    let topics = Topics::new(&config.kafka)?;
    let known = router.table().all();
    until_passed(retry, "kafka", &board.sink_error, async || {
        Ok(Report {
            findings: topics.ensure(&known).await,
        })
    })
    .await?;
    board.kafka_connected.set(true);

    let source = healing(retry, async || identity::identify(&client).await)
        .await?
        .to_string();
    let context = store_context(&config, &client, source);
    let (store, checkpoint) =
        healing(retry, async || Store::open(&config, context.clone()).await).await?;
    // What a dry run does not store it remembers over a pause.
    let checkpoint = match board.committed() {
        Some(committed) if config.kafka.dry_run => Some(store.checkpoint(committed.position)),
        _ => checkpoint,
    };

    let watch = watch(&config);
    let mut rooms = Rooms {
        config,
        client,
        watch,
        router,
        topics,
        board,
        stop,
    };
    let mut store = store;
    let opened = match checkpoint {
        Some(checkpoint) => go_on(&mut rooms, &context, checkpoint).await?,
        None => Some(begin(&mut rooms, &mut store).await?),
    };
    rooms.board.checkpoint_loaded.set(true);
    Ok(opened.map(|opened| (rooms, opened, store)))
}

/// Goes on from a checkpoint.
async fn go_on(
    rooms: &mut Rooms,
    context: &StoreContext,
    checkpoint: Checkpoint,
) -> Result<Option<Opened>, Error> {
    let decision = resume::verify(
        &checkpoint,
        &context.source,
        &context.namespace,
        &context.filter,
    )?;
    let mut position = checkpoint.position;
    if let Decision::FilterChanged { seq, warning } = decision {
        tracing::warn!("{warning}");
        position.seq = seq;
    }
    rooms.board.set_committed(position.clone());
    let opened = open_cursor(rooms, &Start::After(position.token.clone())).await;
    let (cursor, _) = match opened {
        Ok(opened) => opened,
        Err(error) if error.code == Code::HistoryLost => {
            return history::go_on(rooms, &position, error).await;
        }
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
    let start = healing(retry, async || {
        start::without_checkpoint(&rooms.client, &start_at).await
    })
    .await?;
    let (cursor, first) = open_cursor(rooms, &start).await?;
    let token = match (first, &start) {
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
        token,
        seq: Seq::renewed(None),
        time_millis,
    };
    let mut delays = retry.delays();
    while let Err(error) = store.commit(&store.checkpoint(position.clone())).await {
        let error = Error::from(error);
        heal(&error, &mut delays).await.ok_or(error)?;
    }
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

/// Opens the cursor, waiting for what heals by itself; goes without splitting where the server does
/// not know it.
async fn open_cursor(
    rooms: &mut Rooms,
    start: &Start,
) -> Result<(Cursor, Option<crate::position::ResumeToken>), Error> {
    let mut delays = rooms.retry().delays();
    loop {
        let error =
            match Cursor::open(&rooms.client, &rooms.watch, start, OPENING_BATCH, false).await {
                Ok((cursor, first)) => return Ok((cursor, first.post_batch_token())),
                Err(error) => error,
            };
        let moment = opening::moment(start);
        if rooms.watch.split_large && errors::classify(&error, moment) == SourceFault::Refused {
            tracing::info!("this server does not split events over 16 MiB; going on without");
            rooms.watch.split_large = false;
            continue;
        }
        let error = errors::error("opening the change stream", &error, moment);
        heal(&error, &mut delays).await.ok_or(error)?;
    }
}

/// The change stream this configuration asks for.
pub(crate) fn watch(config: &Config) -> Watch {
    Watch {
        database: match &config.mongo.scope {
            Scope::Database(name) => Some(name.clone()),
            Scope::Deployment { .. } => None,
        },
        options: source::change_stream_options(&config.mongo, Images::Configured),
        stages: Filter::of(config).stages(),
        split_large: true,
        lean: Lean {
            options: source::change_stream_options(&config.mongo, Images::Without),
            stages: Filter::of(config).own_stages(),
        },
    }
}

/// Who opens the store of checkpoints, and for what.
pub(crate) fn store_context(config: &Config, client: &Client, source: String) -> StoreContext {
    StoreContext {
        instance: instance(),
        namespace: config.mongo.scope.name().to_owned(),
        source,
        filter: Filter::of(config).identity(),
        mongo: Some(client.clone()),
    }
}

/// Builds the MongoDB client; nothing is sent yet.
///
/// # Errors
/// [`Code::Config`] for a URI that the driver refuses.
pub async fn connect(config: &Config) -> Result<Client, Error> {
    let mut options = ClientOptions::parse(config.mongo.uri.expose())
        .await
        .map_err(|error| {
            Error::new(
                Code::Config,
                format!("MONGODB_URI: {}", errors::describe(&error)),
            )
        })?;
    options
        .app_name
        .get_or_insert_with(|| format!("tailwater {}", config.stream_id));
    options
        .server_selection_timeout
        .get_or_insert(SERVER_SELECTION);
    Client::with_options(options).map_err(|error| {
        Error::new(
            Code::Config,
            format!("MONGODB_URI: {}", errors::describe(&error)),
        )
    })
}

/// Repeats the checks until nothing is left to wait for.
async fn until_passed(
    retry: Retry,
    server: &'static str,
    note: &Note,
    check: impl AsyncFn() -> Result<Report, Error>,
) -> Result<(), Error> {
    let mut delays = retry.delays();
    let mut said = String::new();
    loop {
        let report = check().await?;
        if let Some(error) = report.refusal() {
            return Err(error);
        }
        let Some(waiting) = report.waiting_for() else {
            for finding in &report.findings {
                tracing::info!(check = finding.name, "{}", finding.sentence);
            }
            return Ok(());
        };
        if waiting.detail != said {
            tracing::warn!(server, "not ready yet, waiting: {}", waiting.detail);
            note.set(waiting.detail.as_str());
            said.clone_from(&waiting.detail);
        }
        tokio::time::sleep(delays.next().ok_or(waiting)?).await;
    }
}

/// Repeats what fails with a code that heals by itself.
async fn healing<T>(retry: Retry, attempt: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let mut delays = retry.delays();
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => heal(&error, &mut delays).await.ok_or(error)?,
        }
    }
}

/// Waits before the next attempt; none when there should be no other.
async fn heal(error: &Error, delays: &mut impl Iterator<Item = Duration>) -> Option<()> {
    if error.code.policy() == Policy::Stop {
        return None;
    }
    let delay = delays.next()?;
    tracing::warn!(code = error.code.name(), %error, "trying again");
    tokio::time::sleep(delay).await;
    Some(())
}

/// A name for this process, which the one that takes over its stream is told of.
fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host
        .as_deref()
        .map(str::trim)
        .ok()
        .filter(|host| !host.is_empty());
    format!("{}/{}", host.unwrap_or("localhost"), std::process::id())
}

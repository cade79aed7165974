//! The composition root: waits for the servers, builds the rooms, starts the tasks.

mod ahead;
mod start;
mod waiting;

use crate::admin::{self, Controls, Ended};
use crate::checkpoint::committer::{self, Ledger};
use crate::checkpoint::{self, StoreContext};
use crate::config::{Config, Scope};
use crate::error::{Code, Error};
use crate::mongo::describe::describe;
use crate::mongo::hosts;
use crate::preflight::{Finding, Report};
use crate::sink::topics;
use crate::source::cursor::{Lean, Watch};
use crate::source::{self, Filter, Images, headroom, preflight};
use crate::status::waiting::Awaited;
use crate::status::{Board, State, line, stall};
use crate::stream::{self, incarnation::Rooms};
use mongodb::Client;
use mongodb::error::ErrorKind;
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

    let stall = tokio::spawn(stall::run(Arc::clone(&board), done.clone()));
    let upkeep = {
        let (board, done) = (Arc::clone(&board), done.clone());
        tokio::spawn(async move { board.metrics.keep_up(done).await })
    };

    let result = if config.enabled {
        run_unless_paused(config, &board, controls.clone()).await
    } else {
        board.enter(State::Disabled);
        tracing::info!("ENABLE_CHANGE_STREAMS=false: nothing is watched");
        controls.stop.cancelled().await;
        Ok(())
    };
    board.enter(State::Stopped);
    // Told before the server closes, which answers those who wait for it.
    controls.ended.send_replace(Some(Ended::with(&result)));
    done.cancel();
    for task in [Some(status), Some(stall), Some(upkeep), http]
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
    report.extend(topics_of(config, Some(&client)).await);
    // A server that does not answer has been told of.
    if report.waiting_for().is_none() {
        report.extend(checkpoint::may_store(config, &client).await);
    }
    Ok(report)
}

/// Looks at the topics alone, for `tailwater topics`.
///
/// # Errors
/// When the MongoDB client cannot be built from its URI.
pub async fn topics(config: &Config) -> Result<Report, Error> {
    let client = match ahead::is_wanted(config) {
        true => Some(connect(config).await?),
        false => None,
    };
    let findings = topics_of(config, client.as_ref()).await;
    Ok(Report { findings })
}

async fn topics_of(config: &Config, client: Option<&Client>) -> Vec<Finding> {
    let Some(client) = client.filter(|_| ahead::is_wanted(config)) else {
        return topics::check(config, None).await;
    };
    match ahead::collections(config, client).await {
        Ok(collections) => {
            let operations = Filter::of(config).operations();
            topics::check(config, Some((&collections, &operations))).await
        }
        Err(finding) => {
            let mut findings = topics::check(config, None).await;
            findings.push(finding);
            findings
        }
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
    tracing::info!(
        mongodb = config.mongo.place(),
        kafka = config.kafka.brokers,
        "connecting"
    );
    // One client for all runs: how long until history is lost is told while the stream stands still, too.
    let client = tokio::select! {
        () = controls.stop.cancelled() => return Ok(()),
        // The name server may be away, as other servers may.
        client = waiting::healing(config.mongo.retry(), board.waits.begin(Awaited::MongoDb), async || {
            let client = connect(&config).await;
            if let Err(error) = &client {
                board.source_error.set(error.detail.as_str());
            }
            client
        }) => client?,
    };
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
        match &ended {
            Ok(()) => board.cut_short.set(false),
            // What was not acknowledged in time is read again.
            Err(error) if error.code == Code::DrainTimedOut => {
                tracing::warn!(
                    "paused before kafka acknowledged the last records: they come again"
                );
                board.cut_short.set(true);
            }
            Err(_) => return ended,
        }
        board.enter(State::Paused);
        tokio::select! {
            // A pause that was cut short has left records undelivered: this is that run's end.
            () = controls.stop.cancelled() => return ended,
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
        opened = start::open(config, client, board, stop.clone()) => match opened? {
            Some(opened) => opened,
            None => return Ok(()),
        },
    };
    let ledger = Ledger::new(rooms.config.kafka.delivery, store).await?;
    let ledger = tokio::select! {
        ended = Box::pin(stream::supervise(&rooms, opened, ledger)) => ended?,
        never = watch_topics(&rooms) => match never {},
    };
    let closing = tokio::time::timeout(rooms.config.shutdown_timeout, ledger.close());
    closing
        .await
        .unwrap_or_else(|_elapsed| Err(committer::not_in_time()))?;
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
/// [`Code::Config`] for a URI that the driver refuses, [`Code::SourceUnavailable`] while the hosts behind
/// a `mongodb+srv://` cannot be looked up.
pub async fn connect(config: &Config) -> Result<Client, Error> {
    let failed = |error: mongodb::error::Error| {
        let code = match error.kind.as_ref() {
            ErrorKind::DnsResolve { .. } => Code::SourceUnavailable,
            ErrorKind::Io(error) => Code::of_system(error, Code::SourceUnavailable),
            ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. } => Code::Config,
            _ => Code::Internal,
        };
        Error::new(code, format!("MONGODB_URI: {}", describe(&error)))
    };
    let mut options = ClientOptions::parse(config.mongo.uri.expose())
        .await
        .map_err(failed)?;
    options.sdam_event_handler = Some(hosts::listener());
    options
        .app_name
        .get_or_insert_with(|| format!("tailwater {}", config.stream_id));
    options
        .server_selection_timeout
        .get_or_insert(SERVER_SELECTION);
    Client::with_options(options).map_err(failed)
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

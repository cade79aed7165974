//! The composition root: builds what the streams share, starts the tasks, runs the streams.

mod coordinating;
mod hosting;
mod mongo;

pub use mongo::connect;

use crate::admin::{self, Controls, Ended};
use crate::api;
use crate::checkpoint::{self, Location};
use crate::config::{Config, StreamSpec, Worker};
use crate::coordination;
use crate::encode::serialization::registry;
use crate::error::{Code, Error};
use crate::fields::Fields;
use crate::flow::budget::Memory;
use crate::live;
use crate::log::event_id;
use crate::metrics::Registry;
use crate::preflight::{Finding, Report};
use crate::schedule::{self, Desk, Unit};
use crate::sink::topics::{self, Cluster};
use crate::source::{Filter, preflight};
use crate::status::live::Counts;
use crate::status::samples::Samples;
use crate::status::waiting::Awaited;
use crate::status::worker;
use crate::status::{Board, State, line, stall};
use crate::stream::ahead;
use crate::stream::grace::Grace;
use crate::stream::listening;
use crate::stream::shared::Shared;
use crate::stream::streams::{Manner, Streams};
use crate::stream::waiting::retrying;
use crate::worker::documents::Place;
use crate::worker::journal::Journal;
use futures_util::FutureExt;
use hosting::Hosting;
use mongodb::Client;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Runs until asked to stop.
///
/// # Errors
/// What made it impossible to continue; its code gives the exit code.
pub async fn run(config: Config, controls: Controls) -> Result<(), Error> {
    for spec in &config.streams {
        listening::check_bootstrap(spec)?;
    }
    let schedules = schedules(&config)?;
    let done = CancellationToken::new();
    let is_dry_run = config.kafka.dry_run;
    if is_dry_run {
        tracing::warn!(
            "dry run: nothing is produced, no topic created, no checkpoint taken or stored"
        );
    }
    let registry = Arc::<Registry>::default();
    let streams = Arc::new(Streams::default());
    for spec in &config.streams {
        let board = Board::new(spec.name(), spec.source.scope.name(), &registry);
        board.dry_run.set(is_dry_run);
        board.has_listeners.set(spec.source.listeners.is_some());
        streams.add(spec.clone(), Arc::new(board));
    }
    let mut tasks = Vec::new();
    for board in streams.boards() {
        let span = board.span.clone();
        tasks.push(tokio::spawn(
            stall::run(board, done.clone()).instrument(span),
        ));
    }
    let status = line::run(streams.boards(), config.status_interval, done.clone());
    tasks.push(tokio::spawn(status));
    let upkeep = done.clone();
    tasks.push(tokio::spawn(async move { registry.keep_up(upkeep).await }));
    let live = match &config.live {
        Some(live) => Some(live::serve(&config, live, controls.stop.clone()).await?),
        None => None,
    };
    let samples = Arc::<Samples>::default();
    tasks.push(tokio::spawn(
        Arc::clone(&samples).run(streams.boards(), done.clone()),
    ));
    let admin = admin::Settings {
        http: config.http.clone(),
        token: config.admin_token.clone(),
        is_enabled: config.enabled,
        is_dry_run,
        is_shared: config.coordination.is_shared(),
        live: live.as_ref().map(|live| Arc::clone(&live.counts)),
        schedules: schedules
            .as_ref()
            .map(|schedules| Arc::clone(&schedules.0.unit.board)),
        worker: None,
        api: calls(
            &config,
            &controls,
            &streams,
            samples,
            schedules.as_ref(),
            None,
        ),
    };
    let http = admin::serve(admin, Arc::clone(&streams), controls.clone(), done.clone()).await?;
    tasks.extend(http);

    let mut result = match config.enabled {
        true => run_streams(&config, &streams, &controls, schedules).await,
        false => {
            streams.enter(State::Disabled);
            tracing::info!(
                event_id = event_id::NOTHING_WATCHED,
                "ENABLE_CHANGE_STREAMS=false: nothing is watched"
            );
            controls.stop.cancelled().await;
            Ok(())
        }
    };
    streams.enter(State::Stopped);
    controls.stop.cancel();
    if let Some(live) = live {
        let ended = live.ended().await;
        result = result.and(ended);
    }
    // Told before the server closes, which answers those who wait for it.
    controls.ended.send_replace(Some(Ended::with(&result)));
    done.cancel();
    for task in tasks {
        // They only look on; a panic in them has been reported by the panic hook.
        let _ = task.await;
    }
    result
}

/// Serves live changes alone, until asked to stop.
///
/// # Errors
/// What made it impossible; its code gives the exit code.
pub async fn serve_live(config: Config, controls: Controls) -> Result<(), Error> {
    let Some(live) = &config.live else {
        let detail = "LIVE_ADDR is off, and there is nothing else to serve; give an address such as 127.0.0.1:3002";
        return Err(Error::new(Code::Config, detail));
    };
    let running = live::serve(&config, live, controls.stop.clone()).await?;
    let alone = Alone {
        live: Some(Arc::clone(&running.counts)),
        worker: None,
    };
    alone.run(&config, &controls, running.ended()).await
}

/// Works on jobs alone, until asked to stop.
///
/// # Errors
/// What made it impossible to continue; its code gives the exit code.
pub async fn work(config: Config, controls: Controls) -> Result<(), Error> {
    let mut streams = config.streams.iter();
    let at = streams.find_map(|stream| Some(stream.source.listeners.as_ref()?.at.clone()));
    let has_uri = !config.mongo.uri.expose().is_empty();
    if at.is_some() && !has_uri {
        tracing::info!("MONGODB_URI is not set: the handlers in LISTENERS_COLLECTION are not read");
    }
    let at = at.filter(|_| has_uri);
    let handlers = crate::worker::handlers(&config.worker, at.is_some())?;
    let board = worker::Board::new(&config.worker.group, instance());
    let board = Arc::new(board);
    let alone = Alone {
        live: None,
        worker: Some(Arc::clone(&board)),
    };
    let Worker {
        failed_events,
        status,
        status_kept,
        ..
    } = config.worker.clone();
    let writes = failed_events.is_some() || status.is_some();
    if writes && !has_uri {
        let detail = "MONGODB_URI is not set, or wrong; FAILED_EVENTS_COLLECTION and WORKER_STATUS_COLLECTION need it";
        return Err(Error::new(Code::Config, detail));
    }
    let working = async {
        let client = match at.is_some() || writes {
            true => Some(connect(&config.mongo, client_name(&config), 1).await?),
            false => None,
        };
        let status = status.map(|at| (at, status_kept));
        let journal = client
            .as_ref()
            .and_then(|client| Journal::new(client, failed_events, status, Arc::clone(&board)));
        let listeners = client.zip(at);
        let listeners = listeners.map(|(client, at)| Place { client, at });
        let listeners = (listeners, journal);
        let telling = worker::line::run(Arc::clone(&board), config.status_interval);
        tokio::select! {
            worked = crate::worker::run(&config, handlers, listeners, board, &controls.stop) => worked,
            // It has no end.
            () = telling => Ok(()),
        }
    };
    alone.run(&config, &controls, working).await
}

/// What a process does without any stream, and where it tells of it.
struct Alone {
    live: Option<Arc<Counts>>,
    worker: Option<Arc<worker::Board>>,
}

impl Alone {
    /// Does it, beside the server that tells of it.
    async fn run(
        self,
        config: &Config,
        controls: &Controls,
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let done = CancellationToken::new();
        let streams = Arc::<Streams>::default();
        let admin = admin::Settings {
            http: config.http.clone(),
            token: config.admin_token.clone(),
            is_enabled: true,
            is_dry_run: false,
            is_shared: false,
            live: self.live,
            schedules: None,
            api: calls(
                config,
                controls,
                &streams,
                Arc::default(),
                None,
                self.worker.clone(),
            ),
            worker: self.worker,
        };
        let http = admin::serve(admin, streams, controls.clone(), done.clone()).await?;
        let result = Box::pin(work).await;
        controls.ended.send_replace(Some(Ended::with(&result)));
        done.cancel();
        if let Some(http) = http {
            // It only looks on; a panic in it has been reported by the panic hook.
            let _ = http.await;
        }
        result
    }
}

/// What the documented calls are carried out with.
fn calls(
    config: &Config,
    controls: &Controls,
    streams: &Arc<Streams>,
    samples: Arc<Samples>,
    schedules: Option<&Planned>,
    worker: Option<Arc<worker::Board>>,
) -> Arc<api::Context> {
    Arc::new(api::Context {
        worker,
        samples,
        schedules: schedules.map(|planned| Arc::clone(&planned.0)),
        log: controls.log.clone(),
        streams: Arc::clone(streams),
        kafka: Arc::new(config.kafka.clone()),
        mongo: Arc::new(config.mongo.clone()),
        client: controls.client.subscribe(),
        coordination: controls.coordination.subscribe(),
        stop: controls.stop.clone(),
        is_enabled: config.enabled,
        is_shared: config.coordination.is_shared(),
        shows_documents: config.shows_documents,
        reading: api::Reading::default(),
    })
}

/// Runs the streams until asked to stop, or until none of them can run.
async fn run_streams(
    config: &Config,
    streams: &Arc<Streams>,
    controls: &Controls,
    schedules: Option<Planned>,
) -> Result<(), Error> {
    tracing::info!(
        event_id = event_id::CONNECTING,
        mongodb = config.mongo.redacted_uri(),
        kafka = config.kafka.brokers,
        "connecting"
    );
    let boards = streams.boards();
    let client = tokio::select! {
        () = controls.stop.cancelled() => return Ok(()),
        // The name server may be away, as other servers may.
        client = connect_retrying(config, &boards) => client?,
    };
    controls.client.send_replace(Some(client.clone()));
    let shared = Shared {
        kafka: Arc::new(config.kafka.clone()),
        mongo: Arc::new(config.mongo.clone()),
        client,
        cluster: Arc::new(Cluster::new(&config.kafka)?),
        memory: Arc::new(Memory::new(
            config.max_in_flight_bytes,
            config.streams.len(),
        )),
        grace: Grace::new(config.shutdown_timeout),
        instance: instance(),
    };
    let joined = tokio::select! {
        () = controls.stop.cancelled() => return Ok(()),
        joined = coordinating::join(config, streams, &shared) => joined?,
    };
    let Some(coordination) = joined else {
        return streams.stop_all().await;
    };
    controls
        .coordination
        .send_replace(Some(coordination.clone()));
    let manner = Manner {
        is_alone: config.streams.len() == 1,
        is_shared: config.coordination.is_shared(),
    };
    let schedules = schedules.map(|planned| planned.with(config, &shared));
    let hosting = Hosting::new(streams, &shared, manner, coordination, schedules);
    Box::pin(hosting.run(&controls.stop)).await
}

/// The schedules before there is a client of MongoDB.
struct Planned(Arc<Desk>);

/// What `SCHEDULES_COLLECTION` or `SCHEDULES_FILE` asks for.
fn schedules(config: &Config) -> Result<Option<Planned>, Error> {
    let Some(schedules) = &config.schedules else {
        return Ok(None);
    };
    let documents = schedule::file::documents(schedules)?;
    if config.kafka.dry_run {
        tracing::warn!("dry run: schedules are not run");
        return Ok(None);
    }
    let is_shared = config.coordination.is_shared();
    let unit = Unit::new(schedules.unit.clone(), Arc::default(), is_shared);
    Ok(Some(Planned(Arc::new(Desk {
        unit: Arc::new(unit),
        config: Arc::new(schedules.clone()),
        documents: Arc::new(documents),
    }))))
}

impl Planned {
    fn with(self, config: &Config, shared: &Shared) -> hosting::Schedules {
        let first = config.streams.first();
        let fields = Fields::of(first.and_then(|stream| stream.sink.fields.as_ref()));
        let parts = schedule::Parts {
            config: Arc::clone(&self.0.config),
            kafka: Arc::clone(&shared.kafka),
            client: shared.client.clone(),
            cluster: Arc::clone(&shared.cluster),
            mode: config.json_mode,
            fields: fields.map(Arc::new),
            board: Arc::clone(&self.0.unit.board),
            documents: Arc::clone(&self.0.documents),
            instance: shared.instance.clone(),
        };
        hosting::Schedules {
            unit: Arc::clone(&self.0.unit),
            parts,
        }
    }
}

/// Builds the client, and says on every board why there is none yet.
async fn connect_retrying(config: &Config, boards: &[Arc<Board>]) -> Result<Client, Error> {
    let waits = boards
        .iter()
        .map(|board| board.waits.begin(Awaited::MongoDb));
    let waits: Vec<_> = waits.collect();
    let attempt = async || {
        let client = connect(&config.mongo, client_name(config), config.streams.len()).await;
        if let Err(error) = &client {
            for board in boards {
                board.source_error.set(error.detail.as_str());
            }
        }
        client
    };
    retrying(config.mongo.retry, &waits, || attempt().boxed()).await
}

/// Runs the checks alone, for `tailwater check`: of the stream that is named, or of all.
///
/// # Errors
/// When there is no such stream, or the MongoDB client cannot be built from its URI.
pub async fn check(config: &Config, stream: Option<&str>) -> Result<Report, Error> {
    let streams = config.chosen(stream)?;
    let client = connect(&config.mongo, client_name(config), config.streams.len()).await?;
    let mut all = Report::default();
    for stream in streams {
        let mut report = preflight::run(&client, &config.mongo, stream).await;
        report.extend(topics_of(config, stream, Some(&client)).await);
        report.extend(registry::check(stream.sink.serialization.schemas()).await);
        // A server that does not answer has been told of.
        if report.waiting_for().is_none() {
            let location = Location::of(&config.kafka, &config.mongo, stream);
            report.extend(checkpoint::may_store(location, &client).await);
            report.extend(listening::check(&client, stream).await);
        }
        all.merge(stream.given_name.as_deref(), report);
    }
    if all.waiting_for().is_none() {
        all.extend(coordinating::check(config, &client).await);
        if let Some(schedules) = &config.schedules {
            all.extend(schedule::check(&client, &config.kafka, schedules).await);
        }
        all.extend(live::check(config).await);
    }
    Ok(all)
}

/// Looks at the topics alone, for `tailwater topics`.
///
/// # Errors
/// When there is no such stream, or the MongoDB client cannot be built from its URI.
pub async fn topics(config: &Config, stream: Option<&str>) -> Result<Report, Error> {
    let streams = config.chosen(stream)?;
    let client = match streams.iter().any(|stream| ahead::is_wanted(stream)) {
        true => Some(connect(&config.mongo, client_name(config), config.streams.len()).await?),
        false => None,
    };
    let mut all = Report::default();
    for stream in streams {
        let findings = topics_of(config, stream, client.as_ref()).await;
        all.merge(stream.given_name.as_deref(), Report { findings });
    }
    Ok(all)
}

async fn topics_of(config: &Config, stream: &StreamSpec, client: Option<&Client>) -> Vec<Finding> {
    let Some(client) = client.filter(|_| ahead::is_wanted(stream)) else {
        return topics::check(&config.kafka, stream, None).await;
    };
    match ahead::collections(stream, client).await {
        Ok(collections) => {
            let operations = Filter::of(stream).operations();
            topics::check(&config.kafka, stream, Some((&collections, &operations))).await
        }
        Err(finding) => {
            let mut findings = topics::check(&config.kafka, stream, None).await;
            findings.push(finding);
            findings
        }
    }
}

/// What MongoDB's log calls the process.
fn client_name(config: &Config) -> &str {
    match config.streams.as_slice() {
        [only] => &only.id,
        _ => &config.kafka.client_id,
    }
}

/// A name for this process, which the one that takes over its stream is told of.
pub(crate) fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host
        .as_deref()
        .map(str::trim)
        .ok()
        .filter(|host| !host.is_empty());
    coordination::instance(host.unwrap_or("localhost"))
}

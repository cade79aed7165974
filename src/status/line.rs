//! The status line, logged and at `/status`.

use super::Board;
use super::waiting::Wait;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How things stand, in one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub stream: String,
    pub is_running: bool,
    pub mongo_connected: bool,
    pub kafka_connected: bool,
    /// Records not yet acknowledged.
    pub buffer_size: u64,
    pub database: String,
    pub state: &'static str,
    pub events: u64,
    /// Events a second: over the last `STATUS_INTERVAL_SECONDS` that are over, or since the start.
    pub rate: f64,
    pub lag_ms: u64,
    pub checkpoint_age_seconds: Option<u64>,
    /// Present where nothing is produced and nothing stored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What it has waited for long enough to be told, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_seconds: Option<u64>,
    /// Why it is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Status {
    /// As of now.
    pub fn of(board: &Board) -> Self {
        let state = board.state();
        let committed = board.committed();
        let waiting = board.waiting().into_iter().find(Wait::is_noticed);
        let waiting = waiting.filter(|_| state.is_running());
        Self {
            stream: board.metrics.stream().to_owned(),
            is_running: state.is_running(),
            mongo_connected: board.mongo_connected.get(),
            kafka_connected: board.kafka_connected.get(),
            buffer_size: board.in_flight(),
            database: board.namespace.clone(),
            state: state.name(),
            events: board.events.get(),
            rate: board.rate(),
            lag_ms: board.lag().as_millis() as u64,
            checkpoint_age_seconds: committed.map(|committed| committed.at.elapsed().as_secs()),
            dry_run: board.dry_run.get(),
            waiting_seconds: waiting.as_ref().map(|wait| wait.lasts().as_secs()),
            waiting_for: waiting.map(|wait| wait.what.to_string()),
            reason: board.health().reason().map(str::to_owned),
        }
    }

    fn log(&self) {
        tracing::info!(
            isRunning = self.is_running,
            mongoConnected = self.mongo_connected,
            kafkaConnected = self.kafka_connected,
            bufferSize = self.buffer_size,
            database = self.database,
            state = self.state,
            events = self.events,
            rate = self.rate,
            lagMs = self.lag_ms,
            checkpointAgeSeconds = self.checkpoint_age_seconds,
            dryRun = self.dry_run.then_some(true),
            waitingFor = self.waiting_for,
            waitingSeconds = self.waiting_seconds,
            reason = self.reason,
            "status"
        );
    }
}

/// How the streams of a process stand together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Whether a stream is running.
    pub is_running: bool,
    /// How many streams are in which state.
    pub states: BTreeMap<&'static str, usize>,
    pub buffer_size: u64,
    pub events: u64,
    pub rate: f64,
    /// Of the stream that is furthest behind.
    pub lag_ms: u64,
    pub streams: Vec<Status>,
}

impl Overview {
    /// As of now.
    pub fn of<'a>(boards: impl Iterator<Item = &'a Board>) -> Self {
        let streams: Vec<_> = boards.map(Status::of).collect();
        let mut states = BTreeMap::new();
        for stream in &streams {
            *states.entry(stream.state).or_default() += 1;
        }
        let rate: f64 = streams.iter().map(|stream| stream.rate).sum();
        Self {
            is_running: streams.iter().any(|stream| stream.is_running),
            states,
            buffer_size: streams.iter().map(|stream| stream.buffer_size).sum(),
            events: streams.iter().map(|stream| stream.events).sum(),
            rate: (rate * 10.0).round() / 10.0,
            lag_ms: streams.iter().map(|s| s.lag_ms).max().unwrap_or_default(),
            streams,
        }
    }

    fn log(&self) {
        let states: Vec<_> = self
            .states
            .iter()
            .map(|(s, n)| format!("{n} {s}"))
            .collect();
        tracing::info!(
            streams = self.streams.len(),
            states = states.join(", "),
            bufferSize = self.buffer_size,
            events = self.events,
            rate = self.rate,
            lagMs = self.lag_ms,
            "status"
        );
    }
}

/// Logs one line for each stream every `interval` until the end. Of several streams, those that are idle and
/// well are in the line for all.
pub async fn run(boards: Vec<Arc<Board>>, interval: Duration, done: CancellationToken) {
    let mut before: Vec<_> = boards.iter().map(|board| board.events.get()).collect();
    while done
        .run_until_cancelled(tokio::time::sleep(interval))
        .await
        .is_some()
    {
        for (board, before) in boards.iter().zip(&mut before) {
            let events = board.events.get();
            let new = events - std::mem::replace(before, events);
            board.set_rate(new as f64 / interval.as_secs_f64());
            let status = Status::of(board);
            if boards.len() == 1 || new > 0 || status.reason.is_some() {
                board.span.in_scope(|| status.log());
            }
        }
        if boards.len() > 1 {
            Overview::of(boards.iter().map(|board| &**board)).log();
        }
    }
}

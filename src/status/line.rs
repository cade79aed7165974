//! The status line, logged and at `/status`.

use super::Board;
use super::waiting::Wait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How things stand, in one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub is_running: bool,
    pub mongo_connected: bool,
    pub kafka_connected: bool,
    /// Records not yet acknowledged.
    pub buffer_size: u64,
    pub database: String,
    pub state: String,
    pub events: u64,
    /// Events a second: over the last `STATUS_INTERVAL_SECONDS` that are over, or since the start.
    pub rate: f64,
    pub lag_ms: u64,
    pub checkpoint_age_seconds: Option<u64>,
    /// Present where nothing is produced and nothing stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What it has waited for long enough to be told, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_seconds: Option<u64>,
    /// Why it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
            is_running: state.is_running(),
            mongo_connected: board.mongo_connected.get(),
            kafka_connected: board.kafka_connected.get(),
            buffer_size: board.in_flight(),
            database: board.namespace.clone(),
            state: state.name().to_owned(),
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

/// Logs one line every `interval` until the end.
pub async fn run(board: Arc<Board>, interval: Duration, done: CancellationToken) {
    let mut before = board.events.get();
    while done
        .run_until_cancelled(tokio::time::sleep(interval))
        .await
        .is_some()
    {
        let events = board.events.get();
        board.set_rate((events - before) as f64 / interval.as_secs_f64());
        before = events;
        Status::of(&board).log();
    }
}

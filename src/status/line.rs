//! The status line.

use super::Board;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Logs one line every `interval` until the end.
pub async fn run(board: Arc<Board>, interval: Duration, done: CancellationToken) {
    let mut before = board.events.get();
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let events = board.events.get();
        let rate = (events - before) as f64 / interval.as_secs_f64();
        before = events;
        write(&board, rate);
    }
}

/// `rate` is events a second since the last line.
fn write(board: &Board, rate: f64) {
    let state = board.state();
    let checkpoint_age = board
        .committed()
        .map(|committed| committed.at.elapsed().as_secs());
    tracing::info!(
        isRunning = state.is_running(),
        mongoConnected = board.mongo_connected.get(),
        kafkaConnected = board.kafka_connected.get(),
        bufferSize = board.in_flight(),
        database = board.namespace,
        state = state.name(),
        events = board.events.get(),
        rate = (rate * 10.0).round() / 10.0,
        lagMs = board.lag().as_millis() as u64,
        checkpointAgeSeconds = checkpoint_age,
        "status"
    );
}

//! The status line of a worker.

use super::{Board, Counts};
use std::sync::Arc;
use std::time::Duration;

/// Logs how a worker is every `interval`, without an end.
pub async fn run(board: Arc<Board>, interval: Duration) {
    let mut before = 0;
    loop {
        tokio::time::sleep(interval).await;
        let view = board.view();
        let sum = |of: fn(&Counts) -> u64| view.jobs.values().map(of).sum::<u64>();
        let ended = sum(|counts| counts.completed + counts.failed);
        let new = ended.saturating_sub(std::mem::replace(&mut before, ended));
        let rate = new as f64 / interval.as_secs_f64();
        tracing::info!(
            group = view.group,
            state = board.state(),
            isMember = board.ready.get(),
            partitions = view.partitions,
            lag = view.lag.values().sum::<u64>(),
            active = sum(|counts| counts.active as u64),
            parked = sum(|counts| counts.parked as u64),
            completed = sum(|counts| counts.completed),
            failed = sum(|counts| counts.failed),
            retried = sum(|counts| counts.retried),
            rate = (rate * 10.0).round() / 10.0,
            reason = view.problem(),
            "status"
        );
    }
}

//! What the last minutes were like, for charts: a sample of each stream every few seconds, in bounded memory.

use super::Board;
use super::values::now_millis;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between two samples.
pub const EVERY: Duration = Duration::from_secs(5);
/// How far back they reach: 15 minutes.
pub const KEPT: usize = 180;

/// A stream at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// In ms since the Unix epoch.
    pub at_millis: i64,
    /// Since the sample before.
    pub events_per_second: f64,
    pub lag_millis: u64,
    pub in_flight_records: u64,
    /// Replies that were read ahead, and records that are not acknowledged.
    pub in_flight_bytes: u64,
    /// How long acknowledgements took since the sample before, in ms; none where there were none.
    pub ack_p50_millis: Option<f64>,
    pub ack_p99_millis: Option<f64>,
}

/// The samples of all streams, by their names.
#[derive(Debug, Default)]
pub struct Samples(Mutex<BTreeMap<String, VecDeque<Sample>>>);

impl Samples {
    /// Those of a stream after a time, the oldest first.
    pub fn of(&self, stream: &str, after_millis: i64) -> Vec<Sample> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = all.get(stream).into_iter().flatten();
        samples
            .filter(|sample| sample.at_millis > after_millis)
            .copied()
            .collect()
    }

    /// The last one of a stream.
    pub fn last(&self, stream: &str) -> Option<Sample> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(stream)?.back().copied()
    }

    fn add(&self, stream: &str, sample: Sample) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = all.entry(stream.to_owned()).or_default();
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Takes samples until `done`.
    pub async fn run(self: Arc<Self>, boards: Vec<Arc<Board>>, done: CancellationToken) {
        let mut last: Vec<_> = boards
            .iter()
            .map(|board| (board.events.get(), Instant::now()))
            .collect();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.tick().await;
        while done.run_until_cancelled(ticks.tick()).await.is_some() {
            for (board, (events, at)) in boards.iter().zip(&mut last) {
                let now = (board.events.get(), Instant::now());
                let came = now.0.saturating_sub(*events) as f64;
                let rate = came / now.1.duration_since(*at).as_secs_f64().max(0.001);
                (*events, *at) = now;
                self.add(board.metrics.stream(), of(board, rate));
            }
        }
    }
}

fn of(board: &Board, events_per_second: f64) -> Sample {
    let acks = board.metrics.recent_acknowledgements();
    let millis = |took: Duration| took.as_secs_f64() * 1e3;
    Sample {
        at_millis: now_millis(),
        events_per_second: (events_per_second * 10.0).round() / 10.0,
        lag_millis: u64::try_from(board.lag().as_millis()).unwrap_or(u64::MAX),
        in_flight_records: board.in_flight(),
        in_flight_bytes: board.in_flight_bytes(),
        ack_p50_millis: acks.map(|acks| millis(acks.p50)),
        ack_p99_millis: acks.map(|acks| millis(acks.p99)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_minutes_are_kept() {
        let samples = Samples::default();
        let board = crate::status::board();
        for number in 0..KEPT + 10 {
            let mut sample = of(&board, 1.0);
            sample.at_millis = number as i64;
            samples.add("shop", sample);
        }
        assert_eq!(samples.of("shop", -1).len(), KEPT);
        assert_eq!(samples.of("shop", KEPT as i64 + 7).len(), 2);
        assert_eq!(samples.last("shop").unwrap().at_millis, KEPT as i64 + 9);
        assert!(samples.of("other", 0).is_empty());
    }
}

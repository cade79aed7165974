//! Whether the stream has changes of its own lately, beside which rows stand back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long after a change another one is expected, whose record should not wait behind many rows.
const EXPECTED: Duration = Duration::from_secs(1);

/// When the stream had a change last. The pump takes note of it, and those who read rows ask.
#[derive(Debug, Default)]
pub struct Busy {
    last: Mutex<Option<Instant>>,
}

impl Busy {
    /// The stream has had changes just now.
    pub fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether the stream has had changes lately.
    pub fn is_now(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_busy_for_a_while_after_a_change() {
        let busy = Busy::default();
        assert!(!busy.is_now(), "no change yet");
        busy.note();
        assert!(busy.is_now());
        tokio::time::advance(EXPECTED - Duration::from_millis(1)).await;
        assert!(busy.is_now());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!busy.is_now());
    }
}

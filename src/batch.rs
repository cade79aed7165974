//! When a batch of events closes: at a number of events, of bytes, or some time after its first.

use crate::config::Batching;
use std::time::Instant;

/// Counts the batch that is being filled.
#[derive(Debug)]
pub struct Fill {
    pub events: u32,
    pub records: u64,
    pub bytes: usize,
    opened: Instant,
}

impl Fill {
    /// An empty batch, opened at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            events: 0,
            records: 0,
            bytes: 0,
            opened: now,
        }
    }

    /// Adds a record of `bytes`.
    pub fn record(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }

    /// Whether the batch must be closed before another event.
    pub fn is_full(&self, limits: &Batching, now: Instant) -> bool {
        self.events as usize >= limits.events
            || self.bytes >= limits.bytes
            || now.saturating_duration_since(self.opened) >= limits.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits() -> Batching {
        Batching {
            events: 3,
            bytes: 100,
            timeout: Duration::from_millis(20),
        }
    }

    #[test]
    fn a_batch_closes_at_events_bytes_or_time_whichever_is_first() {
        let start = Instant::now();
        let mut fill = Fill::new(start);
        assert!(!fill.is_full(&limits(), start));
        fill.events = 3;
        assert!(fill.is_full(&limits(), start));

        let mut fill = Fill::new(start);
        fill.record(60);
        assert!(!fill.is_full(&limits(), start));
        fill.record(40);
        assert!(fill.is_full(&limits(), start));

        let fill = Fill::new(start);
        assert!(!fill.is_full(&limits(), start + Duration::from_millis(19)));
        assert!(fill.is_full(&limits(), start + Duration::from_millis(20)));
    }
}

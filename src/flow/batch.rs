//! When a batch of events closes: at a number of events, of bytes, or some time after its first.

use crate::config::Batching;
use crate::metrics::ClosedBy;
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

    /// What closes the batch before another event, if anything does.
    pub fn closed_by(&self, limits: &Batching, now: Instant) -> Option<ClosedBy> {
        if self.events as usize >= limits.events {
            Some(ClosedBy::Events)
        } else if self.bytes >= limits.bytes {
            Some(ClosedBy::Bytes)
        } else if now.saturating_duration_since(self.opened) >= limits.timeout {
            Some(ClosedBy::Timeout)
        } else {
            None
        }
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
        assert_eq!(fill.closed_by(&limits(), start), None);
        fill.events = 3;
        assert_eq!(fill.closed_by(&limits(), start), Some(ClosedBy::Events));

        let mut fill = Fill::new(start);
        fill.record(60);
        assert_eq!(fill.closed_by(&limits(), start), None);
        fill.record(40);
        assert_eq!(fill.closed_by(&limits(), start), Some(ClosedBy::Bytes));

        let fill = Fill::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(fill.closed_by(&limits(), at(19)), None);
        assert_eq!(fill.closed_by(&limits(), at(20)), Some(ClosedBy::Timeout));
    }
}

//! When a batch of events closes: at a number of events, of bytes, or some time after its first.

use std::time::{Duration, Instant};

/// When a batch closes: whichever comes first, or when the source has nothing more ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// `BATCH_SIZE`, events.
    pub events: usize,
    /// `BATCH_BYTES`, bytes of records.
    pub bytes: usize,
    /// `BATCH_TIMEOUT_MS` after the first event.
    pub timeout: Duration,
}

/// What closed a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// `BATCH_SIZE`.
    Events,
    /// `BATCH_BYTES`.
    Bytes,
    /// `BATCH_TIMEOUT_MS`.
    Timeout,
    /// The source had nothing more ready.
    Idle,
    /// The memory budget was used up.
    Budget,
    /// Something had to be waited for: a topic, an acknowledgement, the end.
    Wait,
}

impl ClosedBy {
    pub const ALL: [Self; 6] = [
        Self::Events,
        Self::Bytes,
        Self::Timeout,
        Self::Idle,
        Self::Budget,
        Self::Wait,
    ];

    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Bytes => "bytes",
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::Budget => "budget",
            Self::Wait => "wait",
        }
    }
}

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

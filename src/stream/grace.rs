//! How long a graceful stop may take: of one stream, and of all of them together.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// `SHUTDOWN_TIMEOUT_MS`: for each stream that is stopped, and once for all that are stopped since the process is
/// to end, although some are stopped after others.
#[derive(Debug, Clone)]
pub struct Grace {
    each: Duration,
    end: Arc<OnceLock<Instant>>,
}

impl Grace {
    pub fn new(each: Duration) -> Self {
        Self {
            each,
            end: Arc::default(),
        }
    }

    /// The process is to end: from now on the time runs for all.
    pub fn end_all(&self) {
        self.end.get_or_init(|| Instant::now() + self.each);
    }

    /// How long a stream that is stopped now may take.
    pub fn left(&self) -> Duration {
        self.left_since(Instant::now())
    }

    /// How long a stream may still take that began to stop then.
    pub fn left_since(&self, began: Instant) -> Duration {
        let own = self.each.saturating_sub(began.elapsed());
        let of_all = self
            .end
            .get()
            .map(|end| end.saturating_duration_since(Instant::now()));
        own.min(of_all.unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_process_bounds_all_streams_together() {
        let each = Duration::from_secs(100);
        let grace = Grace::new(each);
        let of_stream = grace.clone();
        assert!(of_stream.left() <= each);
        let before = Instant::now()
            .checked_sub(each * 2)
            .unwrap_or_else(Instant::now);
        assert!(of_stream.left_since(before) < each);
        grace.end_all();
        let first = of_stream.left();
        assert!(first < each, "{first:?}");
        grace.end_all();
        assert!(of_stream.left() <= first);
    }
}

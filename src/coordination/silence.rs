//! How long something has not changed, by the observer's own monotonic clock.
//!
//! No time of another machine is used: what is compared is whether a counter moved between two reads.
//! Time counts only between reads that succeeded. While the database answers nobody (an election, an
//! outage, a cut network), a holder cannot write a heartbeat either, and must not be judged by it.

use std::time::Duration;

/// All times are since an origin of the observer's own choice.
#[derive(Debug, Clone)]
pub struct Silence<V> {
    value: V,
    /// When it was first seen.
    seen: Duration,
    counted: Duration,
    /// Up to when silence is counted; none after a read that failed.
    until: Option<Duration>,
}

impl<V: PartialOrd> Silence<V> {
    pub fn new(value: V, seen: Duration) -> Self {
        Self {
            value,
            seen,
            counted: Duration::ZERO,
            until: Some(seen),
        }
    }

    /// Takes in what a read found. The value is at least as new as the start of the read, and silence
    /// counts up to there; a new value was first seen at the end.
    ///
    /// Between two reads no more than `most` counts: whoever was frozen meanwhile knows nothing of what
    /// the database did.
    pub fn read(&mut self, value: V, started: Duration, ended: Duration, most: Duration) {
        if value < self.value && started < self.seen {
            // The answer was overtaken by a heartbeat that was heard.
            return;
        }
        if value != self.value {
            *self = Self::new(value, ended);
            return;
        }
        if let Some(until) = self.until {
            self.counted += started.saturating_sub(until).min(most);
        }
        self.until = self.until.max(Some(started));
    }

    /// Takes in a value that the server told without being asked. It may be older than what was read.
    pub fn heard(&mut self, value: V, at: Duration) {
        if value > self.value {
            *self = Self::new(value, at);
        }
    }

    /// A read failed: what passes until the next one that succeeds does not count.
    pub fn failed(&mut self) {
        self.until = None;
    }

    pub fn counted(&self) -> Duration {
        self.counted
    }

    /// When a read can find that `limit` is reached; none before the next read has succeeded.
    pub fn reaches(&self, limit: Duration) -> Option<Duration> {
        Some(self.until? + limit.saturating_sub(self.counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_is_counted_from_the_end_of_the_first_read_to_the_start_of_the_last() {
        let mut silence = Silence::new(1, s(2));
        silence.read(1, s(10), s(12), MOST);
        assert_eq!(silence.counted(), s(8));
        silence.read(1, s(15), s(19), MOST);
        assert_eq!(silence.counted(), s(13));
        silence.read(2, s(20), s(21), MOST);
        assert_eq!(silence.counted(), s(0));
        assert_eq!(silence.reaches(s(30)), Some(s(51)));
    }

    #[test]
    fn an_outage_of_the_database_does_not_count() {
        let mut silence = Silence::new(1, s(0));
        silence.read(1, s(10), s(10), MOST);
        silence.failed();
        assert_eq!(silence.reaches(s(30)), None);
        silence.read(1, s(70), s(70), MOST);
        silence.read(1, s(75), s(75), MOST);
        assert_eq!(silence.counted(), s(15));
    }

    #[test]
    fn an_observer_that_was_frozen_counts_little_of_it() {
        let mut silence = Silence::new(1, s(0));
        silence.read(1, s(500), s(500), MOST);
        assert_eq!(silence.counted(), MOST);
    }

    #[test]
    fn what_is_heard_late_is_not_news() {
        let mut silence = Silence::new(5, s(0));
        silence.read(5, s(10), s(10), MOST);
        silence.heard(5, s(12));
        silence.heard(4, s(13));
        assert_eq!(silence.counted(), s(10));
        silence.heard(6, s(14));
        assert_eq!(silence.reaches(s(30)), Some(s(44)));
        // A read that was on its way meanwhile.
        silence.read(5, s(13), s(15), MOST);
        assert_eq!(silence.reaches(s(30)), Some(s(44)));
        // A document that was made anew.
        silence.read(0, s(15), s(16), MOST);
        assert_eq!(silence.reaches(s(30)), Some(s(46)));
    }
}

//! Where the stream is, as those see it who read rows beside it; and the windows in which they read.

use crate::change::position::ClusterTime;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by the pump and the readers of rows.
#[derive(Debug)]
pub struct Marks {
    /// Counts what the stream has touched.
    touches: AtomicU64,
    /// The newest cluster time that the stream has reached: seconds and increment; 0 where none is known.
    time: AtomicU64,
    /// Whether several shards answer: a token of a time does not say then that all of that time has come.
    is_sharded: AtomicBool,
    /// The open windows: by number, since which touch.
    windows: Mutex<BTreeMap<u64, u64>>,
    next: AtomicU64,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            touches: AtomicU64::new(0),
            time: AtomicU64::new(0),
            // Until it is known: what holds there holds elsewhere.
            is_sharded: AtomicBool::new(true),
            windows: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }
}

impl Marks {
    /// The stream has reached a time.
    pub fn reach(&self, time: Option<ClusterTime>) {
        if let Some(time) = time {
            let time = u64::from(time.seconds) << 32 | u64::from(time.increment);
            self.time.fetch_max(time, Ordering::Release);
        }
    }

    /// The stream touches something, at the time that it has [reached](Self::reach) before: the number of that.
    pub fn touch(&self) -> u64 {
        self.touches.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Opens a window, before a query that belongs to it.
    pub fn open(self: &Arc<Self>) -> Window {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let since = self.touches.load(Ordering::Acquire);
        windows.insert(number, since);
        Window {
            marks: Arc::clone(self),
            number,
            since,
        }
    }

    /// No window asks for touches up to this one.
    pub fn floor(&self) -> u64 {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = windows.values().min().copied();
        oldest.unwrap_or_else(|| self.touches.load(Ordering::Acquire))
    }

    pub fn set_sharded(&self, is_sharded: bool) {
        self.is_sharded.store(is_sharded, Ordering::Relaxed);
    }

    pub fn is_sharded(&self) -> bool {
        self.is_sharded.load(Ordering::Relaxed)
    }
}

/// From its opening on, what the stream touches is remembered.
#[derive(Debug)]
pub struct Window {
    marks: Arc<Marks>,
    number: u64,
    /// The last touch before it.
    pub since: u64,
}

impl Window {
    /// The time that a query must not be older than: the stream had reached it.
    pub fn low(&self) -> Option<ClusterTime> {
        let time = self.marks.time.load(Ordering::Acquire);
        (time > 0).then(|| ClusterTime::new((time >> 32) as u32, time as u32))
    }

    /// How much the stream has touched since.
    pub fn touches(&self) -> u64 {
        let now = self.marks.touches.load(Ordering::Acquire);
        now.saturating_sub(self.since)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut windows = self
            .marks
            .windows
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        windows.remove(&self.number);
    }
}

/// Up to which time everything has come.
#[derive(Debug, Default)]
pub struct Passed {
    /// All before it.
    below: Option<ClusterTime>,
    /// All up to and with it.
    through: Option<ClusterTime>,
    /// The server's time at an earlier reply: whoever asks after that and gets nothing has all up to it.
    asked: Option<ClusterTime>,
}

impl Passed {
    /// Whether all changes up to and with this time have come.
    pub fn has(&self, time: ClusterTime) -> bool {
        self.below.is_some_and(|below| time < below)
            || self.through.is_some_and(|through| time <= through)
    }

    /// An event of this time has come; events of one transaction share theirs.
    pub fn event(&mut self, time: Option<ClusterTime>) {
        self.below = self.below.max(time);
    }

    /// A reply was worked off. `token` is the time of its post-batch token, where it tells one, and `now` the
    /// server's at the reply.
    pub fn reply(
        &mut self,
        is_empty: bool,
        is_sharded: bool,
        token: Option<ClusterTime>,
        now: Option<ClusterTime>,
    ) {
        match token {
            Some(time) => {
                self.below = self.below.max(Some(time));
                // Nothing of that time is left: the server has come to the end of its log with it. But of several
                // shards one may still hold back what it has of that time.
                if is_empty && !is_sharded {
                    self.through = self.through.max(Some(time));
                }
            }
            // Without times in tokens: this reply was asked for after the time of the earlier one.
            None if is_empty && !is_sharded => self.through = self.through.max(self.asked),
            None => {}
        }
        self.asked = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u32) -> ClusterTime {
        ClusterTime::new(seconds, 1)
    }

    #[test]
    fn a_window_keeps_what_was_touched_since_it_was_opened() {
        let marks = Arc::new(Marks::default());
        marks.touch();
        marks.reach(Some(at(7)));
        let first = marks.open();
        marks.touch();
        let second = marks.open();
        assert_eq!((first.since, second.since), (1, 2));
        assert_eq!(first.low(), Some(at(7)));
        assert_eq!(marks.floor(), 1);
        drop(first);
        assert_eq!(marks.floor(), 2);
        marks.touch();
        drop(second);
        assert_eq!(marks.floor(), 3);
    }

    #[test]
    fn a_time_has_passed_when_nothing_of_it_can_come_any_more() {
        let mut passed = Passed::default();
        passed.event(Some(at(5)));
        assert!(passed.has(at(4)) && !passed.has(at(5)), "a transaction");
        passed.reply(false, false, Some(at(5)), None);
        assert!(!passed.has(at(5)));
        passed.reply(true, true, Some(at(5)), None);
        assert!(!passed.has(at(5)), "a shard may hold something back");
        passed.reply(true, false, Some(at(5)), None);
        assert!(passed.has(at(5)));
    }

    #[test]
    fn without_times_in_tokens_an_empty_reply_says_what_had_come_when_it_was_asked_for() {
        let mut passed = Passed::default();
        passed.reply(true, false, None, Some(at(5)));
        assert!(!passed.has(at(5)));
        passed.reply(false, false, None, Some(at(6)));
        assert!(!passed.has(at(5)));
        passed.reply(true, false, None, Some(at(7)));
        assert!(passed.has(at(6)) && !passed.has(at(7)));
    }
}

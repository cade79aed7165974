//! What the board is made of: counts, and what is so and since when.

use super::waiting::Since;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that is so or not, and since when.
#[derive(Debug, Default)]
pub struct Flag {
    value: AtomicBool,
    /// Of the last change, ms since the Unix epoch; 0 before the first.
    since: AtomicI64,
}

impl Flag {
    pub fn set(&self, value: bool) {
        // A look before the write: most calls change nothing, and some come often.
        if self.get() != value && self.value.swap(value, Ordering::Relaxed) != value {
            self.since.store(now_millis(), Ordering::Relaxed);
        }
    }

    pub fn get(&self) -> bool {
        self.value.load(Ordering::Relaxed)
    }

    /// When it last changed, in ms since the Unix epoch; none before the first time.
    pub fn since_millis(&self) -> Option<i64> {
        Some(self.since.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }

    /// How long it has been as it is; without end where it never changed.
    pub fn unchanged_for(&self) -> Duration {
        self.since_millis().map_or(Duration::MAX, |since| {
            Duration::from_millis(u64::try_from(now_millis() - since).unwrap_or(0))
        })
    }
}

/// How many of the things that went wrong somewhere are kept.
const KEPT: usize = 20;

/// The last things that went wrong somewhere.
#[derive(Debug, Default)]
pub struct Note(Mutex<VecDeque<Noted>>);

/// What was noted, and when, in ms since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub text: String,
    /// The last time.
    pub at_millis: i64,
    /// The first time, where it came several times in a row.
    pub first_millis: i64,
    /// How often it came in a row.
    pub times: u64,
}

impl Note {
    /// Keeps `text`, which holds neither documents nor secrets.
    pub fn set(&self, text: impl Into<String>) {
        let (text, now) = (text.into(), now_millis());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = all.back_mut().filter(|last| last.text == text) {
            last.at_millis = now;
            last.times += 1;
            return;
        }
        if all.len() == KEPT {
            all.pop_front();
        }
        all.push_back(Noted {
            text,
            at_millis: now,
            first_millis: now,
            times: 1,
        });
    }

    /// The last one.
    pub fn get(&self) -> Option<Noted> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.back().cloned()
    }

    /// Those that are kept, the oldest first.
    pub fn recent(&self) -> Vec<Noted> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }
}

pub(super) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Since when something has been so; none while it is not.
#[derive(Debug, Default)]
pub struct Lasting(Mutex<Option<Since>>);

impl Lasting {
    pub fn set(&self, since: Option<Since>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub fn get(&self) -> Option<Since> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_counted_and_only_the_last_are_kept() {
        let note = Note::default();
        for text in ["a", "b", "b", "b"] {
            note.set(text);
        }
        let all = note.recent();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].text.as_str(), all[1].times), ("b", 3));
        assert_eq!(note.get().as_ref(), all.last());
        for number in 0..2 * KEPT {
            note.set(number.to_string());
        }
        assert_eq!(note.recent().len(), KEPT);
    }
}

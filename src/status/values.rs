//! What the board is made of: counts, and what is so and since when.

use super::waiting::Since;
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

/// The last thing that went wrong somewhere.
#[derive(Debug, Default)]
pub struct Note(Mutex<Option<Noted>>);

/// What was noted, and when, in ms since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub text: String,
    pub at_millis: i64,
}

impl Note {
    /// Keeps `text`, which holds neither documents nor secrets.
    pub fn set(&self, text: impl Into<String>) {
        let noted = Noted {
            text: text.into(),
            at_millis: now_millis(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
    }

    pub fn get(&self) -> Option<Noted> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

//! What the server for live changes does, in numbers.

use super::values::{Counter, Flag};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicUsize);

impl Gauge {
    pub fn set(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts of one server.
#[derive(Debug, Default)]
pub struct Counts {
    pub ready: Flag,
    pub clients: Gauge,
    pub subscriptions: Gauge,
    /// Different questions: subscriptions with one question share its answers.
    pub questions: Gauge,
    pub sent: Counter,
    pub cut: Counter,
    pub resumed: Counter,
    pub caught_up: Counter,
    pub gaps: Counter,
    pub refused: Counter,
    pub queue_bytes: Gauge,
    pub read: Counter,
    /// Records that are not in Tailwater's format.
    pub foreign: Counter,
}

//! `SNAPSHOT_RATE_LIMIT`: what all queries of a snapshot together may read in a second.

use crate::config::SnapshotRate;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Spreads what is read over time: after each page, the next one waits for as long as that much may take.
#[derive(Debug)]
pub(super) struct Pace {
    rate: SnapshotRate,
    free: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(rate: SnapshotRate) -> Self {
        Self {
            rate,
            free: Mutex::new(Instant::now()),
        }
    }

    /// When the next page may be asked for.
    pub(super) fn free(&self) -> Instant {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page was read.
    pub(super) fn read(&self, documents: u64, bytes: u64) {
        let takes =
            |amount: u64, rate: Option<u64>| rate.map_or(0.0, |rate| amount as f64 / rate as f64);
        let seconds = takes(documents, self.rate.documents).max(takes(bytes, self.rate.bytes));
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(Instant::now()) + Duration::from_secs_f64(seconds.min(3600.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_stricter_of_the_two_rates_counts() {
        let pace = Pace::new(SnapshotRate {
            bytes: Some(1000),
            documents: Some(10),
        });
        let began = Instant::now();
        pace.read(20, 500);
        assert_eq!(pace.free() - began, Duration::from_secs(2));
        pace.read(1, 5000);
        assert_eq!(pace.free() - began, Duration::from_secs(7));
        let none = Pace::new(SnapshotRate::default());
        none.read(1_000_000, 1 << 40);
        assert!(none.free() <= Instant::now());
    }
}

//! How long acknowledgements took since it was last asked: a histogram of a fixed size, for charts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Buckets for each doubling: what is told is at most an eighth off.
const FINE: u32 = 8;
/// Up to 2^36 µs, which is 19 hours.
const BUCKETS: usize = 34 * FINE as usize;

/// Counts by how long it took, in buckets that grow with the time.
#[derive(Debug)]
pub struct Latencies(Box<[AtomicU32]>);

/// Percentiles of what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    pub p50: Duration,
    pub p99: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Latencies {
    pub fn add(&self, took: Duration) {
        self.0[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// The percentiles of what was added since the last time; none where nothing was.
    pub fn take(&self) -> Option<Percentiles> {
        let counts = self.0.iter().map(|count| count.swap(0, Ordering::Relaxed));
        let counts: Vec<u64> = counts.map(u64::from).collect();
        let total: u64 = counts.iter().sum();
        let at = |share: u64| {
            // The rank of the percentile, from 1 on.
            let rank = (total * share).div_ceil(100).max(1);
            let mut below = 0;
            let found = counts.iter().position(|count| {
                below += count;
                below >= rank
            });
            Duration::from_micros(found.map_or(0, upper))
        };
        (total > 0).then(|| Percentiles {
            p50: at(50),
            p99: at(99),
        })
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let fine = u64::from(FINE);
    if micros < fine {
        return micros as usize;
    }
    // The first bits behind the highest one pick the bucket.
    let shift = micros.ilog2() - FINE.ilog2();
    let index = u64::from(shift + 1) * fine + (micros >> shift) - fine;
    (index as usize).min(BUCKETS - 1)
}

/// The most microseconds that are in a bucket.
fn upper(index: usize) -> u64 {
    let (index, fine) = (index as u64, u64::from(FINE));
    if index < fine {
        return index;
    }
    let shift = index / fine - 1;
    ((index % fine + fine + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_at_most_an_eighth_off() {
        for micros in (0..200).chain([999, 1000, 12_345, 1_000_000, 59_999_999, 3_600_000_000]) {
            let told = upper(bucket(Duration::from_micros(micros)));
            assert!(
                told >= micros && told - micros <= micros / 8,
                "{micros}: {told}"
            );
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_of_what_came_since_the_last_time() {
        let latencies = Latencies::default();
        assert_eq!(latencies.take(), None);
        for millis in 1..=100 {
            latencies.add(Duration::from_millis(millis));
        }
        let told = latencies.take().unwrap();
        let is_near = |told: Duration, millis: u64| {
            let told = told.as_millis() as u64;
            (millis..=millis + millis / 8).contains(&told)
        };
        assert!(is_near(told.p50, 50) && is_near(told.p99, 99), "{told:?}");
        assert_eq!(latencies.take(), None);
    }
}

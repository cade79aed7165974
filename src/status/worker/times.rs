//! How long jobs took from the change to their end.

use std::time::Duration;

/// Upper bounds, in seconds.
const BOUNDS: [f64; 14] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
];

/// Counts by how long it took.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Times {
    /// Of those within a bound, and not within the one before it.
    within: [u64; BOUNDS.len()],
    pub count: u64,
    /// In seconds.
    pub sum: f64,
}

impl Times {
    pub fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(at) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.within[at] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Each bound, and how many took no longer.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.within.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BOUNDS.into_iter().zip(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_holds_what_took_no_longer() {
        let mut times = Times::default();
        for millis in [1, 10, 11, 400, 5_000_000] {
            times.add(Duration::from_millis(millis));
        }
        let buckets: Vec<_> = times.buckets().collect();
        assert_eq!(buckets[..2], [(0.01, 2), (0.05, 3)]);
        assert_eq!((buckets[4], buckets[13]), ((0.5, 4), (3600.0, 4)));
        assert_eq!((times.count, times.sum), (5, 5000.422));
    }
}

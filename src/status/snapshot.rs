//! What is seen of a stream's snapshot from outside.

use super::values::now_millis;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The newest view of the snapshot that runs, or of the last one that ran.
#[derive(Debug, Default)]
pub struct Snapshots {
    view: Mutex<Option<View>>,
    problem: Mutex<Option<Problem>>,
}

/// Why rows cannot be read now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub text: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: i64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A snapshot as it was last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub id: String,
    /// Why it is taken: `initial`, `requested`, `history_lost`.
    pub reason: &'static str,
    pub state: Stage,
    /// Milliseconds since the Unix epoch.
    pub started: i64,
    pub ended: Option<i64>,
    pub rows: u64,
    /// Of the rows' documents.
    pub bytes: u64,
    /// Documents that were read and left out, because the stream brought them.
    pub left_out: u64,
    /// Collections that are done.
    pub collections: u64,
    /// Those that could not be copied.
    pub skipped: Vec<String>,
    /// Those that are being read.
    pub reading: Vec<Collection>,
    /// Rows a second, over the last seconds.
    pub rate: f64,
}

/// One collection of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    pub namespace: String,
    pub rows: u64,
    pub bytes: u64,
    /// How many documents there were when it began, as the server estimates.
    pub total: Option<u64>,
}

/// How a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Running,
    Paused,
    Finished,
    /// Somebody has stopped it.
    Stopped,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
        }
    }
}

impl View {
    /// How long it will take for the collections that are being read, in seconds, where that can be told.
    pub fn seconds_left(&self) -> Option<u64> {
        let left: Option<u64> = self.reading.iter().map(Collection::left).sum();
        let left = left.filter(|_| self.state == Stage::Running && self.rate > 0.0)?;
        Some((left as f64 / self.rate).ceil() as u64)
    }
}

impl Collection {
    fn left(&self) -> Option<u64> {
        Some(self.total?.saturating_sub(self.rows))
    }
}

impl Snapshots {
    pub fn set(&self, view: Option<View>) {
        *locked(&self.view) = view;
    }

    pub fn view(&self) -> Option<View> {
        locked(&self.view).clone()
    }

    /// Rows cannot be read now, and why; or, with none, they can.
    pub fn set_problem(&self, text: Option<String>) {
        let mut problem = locked(&self.problem);
        *problem = text.map(|text| Problem {
            since: problem
                .as_ref()
                .map_or_else(now_millis, |known| known.since),
            text,
        });
    }

    pub fn problem(&self) -> Option<Problem> {
        locked(&self.problem).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_where_all_that_is_read_has_an_estimate() {
        let collection = |rows, total| Collection {
            namespace: "shop.orders".into(),
            rows,
            bytes: 0,
            total,
        };
        let mut view = View {
            id: "1f".into(),
            reason: "initial",
            state: Stage::Running,
            started: 0,
            ended: None,
            rows: 10,
            bytes: 0,
            left_out: 0,
            collections: 0,
            skipped: Vec::new(),
            reading: vec![collection(10, Some(100)), collection(20, Some(15))],
            rate: 30.0,
        };
        assert_eq!(view.seconds_left(), Some(3));
        view.reading.push(collection(0, None));
        assert_eq!(view.seconds_left(), None);
    }
}

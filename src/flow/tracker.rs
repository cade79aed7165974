//! The watermark as the tasks share it: acknowledgements come in from the producer's thread, the pump
//! adds entries, the committer takes positions.

use super::budget::Budget;
use crate::change::position::{Position, Seq};
use crate::flow::watermark::{Committable, EntryId, Progress, Seal, Unexpected, Watermark};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Where the records of the batches stand.
#[derive(Debug)]
pub struct Tracker {
    watermark: Mutex<Watermark>,
    budget: Arc<Budget>,
    moved: Notify,
    hurried: Notify,
}

impl Tracker {
    /// A tracker that gives the bytes of resolved batches back to `budget`.
    pub fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            watermark: Mutex::new(Watermark::new()),
            budget,
            moved: Notify::new(),
            hurried: Notify::new(),
        })
    }

    /// Opens the next entry in stream order; `first` is the number of its first event.
    pub fn open(&self, first: Seq) -> EntryId {
        self.lock().open(first)
    }

    /// Closes an entry; its bytes must have been taken from the budget.
    pub fn seal(&self, id: EntryId, seal: Seal) {
        let outcome = self.lock().seal(id, seal);
        self.settle(outcome);
    }

    /// Tracks a place in the stream that has no records, such as an idle token.
    pub fn pass(&self, position: Position) {
        let outcome = {
            let mut watermark = self.lock();
            let id = watermark.open(position.seq);
            watermark.seal(
                id,
                Seal {
                    records: 0,
                    bytes: 0,
                    position: Some(position),
                },
            )
        };
        self.settle(outcome);
    }

    /// Takes acknowledgements of `records` records of one entry.
    pub fn acked(&self, id: EntryId, records: u64) {
        let outcome = self.lock().resolve(id, records);
        self.settle(outcome);
    }

    /// Notes when the first change of an entry happened, in ms since the Unix epoch.
    pub fn note_change(&self, id: EntryId, millis: i64) {
        self.lock().note_change(id, millis);
    }

    /// When the oldest change happened that is not resolved.
    pub fn oldest_millis(&self) -> Option<i64> {
        self.lock().oldest_millis()
    }

    /// Number of the entry's first event, while it is unresolved.
    pub fn first_of(&self, id: EntryId) -> Option<Seq> {
        self.lock().first_of(id)
    }

    /// The newest position that may be stored, once.
    pub fn take_committable(&self) -> Option<Committable> {
        self.lock().take_committable()
    }

    /// Has the newest position stored now.
    pub fn hurry(&self) {
        self.hurried.notify_one();
    }

    /// Waits until the position should be stored before it is due.
    pub async fn hurried(&self) {
        self.hurried.notified().await;
    }

    /// Gives back a position that could not be stored.
    pub fn put_back(&self, committable: Committable) {
        self.lock().put_back(committable);
    }

    /// Waits until every entry is resolved.
    pub async fn drained(&self) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.lock().is_drained() {
                return;
            }
            moved.await;
        }
    }

    fn settle(&self, outcome: Result<Progress, Unexpected>) {
        match outcome {
            Ok(progress) => {
                self.budget.release(progress.freed_bytes);
                if progress.advanced {
                    self.moved.notify_waiters();
                }
            }
            // Never seen; the watermark stays where it is, so that nothing is lost by it.
            Err(error) => tracing::error!(%error, "acknowledgements do not match records"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watermark> {
        // The watermark is consistent between calls, so a panic elsewhere does not spoil it.
        self.watermark
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

//! One partition while it is assigned to this worker: what was taken of it, and how far it may be committed.
//!
//! Each assignment has its own: what ends after the partition was given away, and perhaps has come back, changes
//! nothing of the new one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct Assigned {
    /// Another one for each assignment.
    pub id: u64,
    pub topic: String,
    pub partition: i32,
    /// Cancelled when the partition is another's: what still runs of it is repeated there.
    pub lost: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    offsets: Offsets,
    /// Attempts that run now.
    running: usize,
    /// No further attempt begins.
    is_closing: bool,
    /// The topic was deleted and made again: no offset of it means anything.
    is_void: bool,
    /// What the last commit that was asked for says.
    asked: Option<i64>,
    /// Whether no more of it is fetched at present.
    is_paused: bool,
}

impl Assigned {
    pub fn new(topic: &str, partition: i32) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            topic: topic.to_owned(),
            partition,
            lost: CancellationToken::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a record that was read; whether it follows those before. Where it does not, the topic is another
    /// one of the same name.
    pub fn take(&self, offset: i64, bytes: usize) -> bool {
        self.state().offsets.take(offset, bytes)
    }

    /// Nothing is left to do about a record.
    pub fn finish(&self, offset: i64) {
        self.state().offsets.finish(offset);
    }

    /// Begins an attempt, unless the partition is about to be given away.
    pub fn begin(self: &Arc<Self>) -> Option<Attempt> {
        let mut state = self.state();
        if state.is_closing {
            return None;
        }
        state.running += 1;
        Some(Attempt(Arc::clone(self)))
    }

    /// From now on no attempt begins.
    pub fn close(&self) {
        self.state().is_closing = true;
    }

    /// From now on its offsets mean nothing, and no attempt begins.
    pub fn void(&self) {
        let mut state = self.state();
        (state.is_closing, state.is_void) = (true, true);
    }

    pub fn running(&self) -> usize {
        self.state().running
    }

    /// Records and bytes that are held: everything from the first record on that is not done.
    #[cfg(test)]
    fn held(&self) -> (usize, usize) {
        let state = self.state();
        (state.offsets.entries.len(), state.offsets.bytes)
    }

    /// How many records were read and are not done, and the last that was read.
    pub fn not_done(&self) -> (usize, Option<i64>) {
        let state = self.state();
        let entries = state.offsets.entries.iter();
        let count = entries.filter(|entry| !entry.is_done).count();
        (count, state.offsets.last)
    }

    /// Whether fetching it has to pause, or may go on again: only where that changes.
    pub fn turn(&self, most: (usize, usize)) -> Option<bool> {
        let mut state = self.state();
        let (records, bytes) = (state.offsets.entries.len(), state.offsets.bytes);
        let is_full = records >= most.0 || bytes >= most.1;
        let is_low = records <= most.0 / 2 && bytes <= most.1 / 2;
        let is_paused = is_full || (state.is_paused && !is_low);
        let has_changed = is_paused != state.is_paused;
        state.is_paused = is_paused;
        has_changed.then_some(is_paused)
    }

    pub fn is_paused(&self) -> bool {
        self.state().is_paused
    }

    /// The offset to commit, where it has moved since the last time; it counts as asked for from then on.
    pub fn to_commit(&self) -> Option<i64> {
        let mut state = self.state();
        let next = state.offsets.next?;
        if state.asked.is_some_and(|asked| asked >= next) {
            return None;
        }
        state.asked = Some(next);
        Some(next)
    }

    /// The offset that could be committed if these records were done, too; none where not even the first is.
    pub fn next_with(&self, also: &BTreeSet<i64>) -> Option<i64> {
        let state = self.state();
        if state.is_void {
            return None;
        }
        let entries = state.offsets.entries.iter();
        let done = entries.take_while(|entry| entry.is_done || also.contains(&entry.offset));
        let last = done.last().map(|entry| entry.offset + 1);
        last.or(state.offsets.next)
    }

    /// A commit of this offset has come about.
    pub fn committed(&self, next: i64) {
        let mut state = self.state();
        state.asked = Some(state.asked.map_or(next, |asked| asked.max(next)));
    }

    /// The last commit did not come about: it is asked for again.
    pub fn not_committed(&self) {
        self.state().asked = None;
    }
}

/// An attempt that runs, or of which it is not yet said how it ended. Whoever gives the partition away waits for it.
#[derive(Debug)]
pub struct Attempt(Arc<Assigned>);

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running = state.running.saturating_sub(1);
    }
}

/// Which records are done, and up to where all are. Offsets have gaps: where a transaction ended, or compaction was.
#[derive(Debug, Default)]
struct Offsets {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The last that was taken.
    last: Option<i64>,
    /// Behind the last record of those that are done without a gap.
    next: Option<i64>,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    bytes: usize,
    is_done: bool,
}

impl Offsets {
    fn take(&mut self, offset: i64, bytes: usize) -> bool {
        if self.last.is_some_and(|last| last >= offset) {
            return false;
        }
        self.last = Some(offset);
        self.bytes += bytes;
        self.entries.push_back(Entry {
            offset,
            bytes,
            is_done: false,
        });
        true
    }

    fn finish(&mut self, offset: i64) {
        let found = self
            .entries
            .binary_search_by_key(&offset, |entry| entry.offset);
        let Ok(index) = found else {
            return;
        };
        self.entries[index].is_done = true;
        while let Some(first) = self.entries.pop_front_if(|first| first.is_done) {
            self.bytes -= first.bytes;
            self.next = Some(first.offset + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_done_without_a_gap_is_committed_and_each_once() {
        let assigned = Assigned::new("jobs.a", 0);
        for offset in [3, 4, 7, 8] {
            assert!(assigned.take(offset, 10));
        }
        assert!(!assigned.take(8, 10) && !assigned.take(2, 10));
        assigned.finish(7);
        assigned.finish(4);
        assert_eq!(assigned.to_commit(), None);
        assert_eq!(assigned.held(), (4, 40));
        assigned.finish(3);
        assert_eq!(assigned.to_commit(), Some(8));
        assert_eq!(assigned.to_commit(), None);
        assert_eq!(assigned.held(), (1, 10));
        assigned.not_committed();
        assert_eq!(assigned.to_commit(), Some(8));
        // What is done twice, or not known, changes nothing.
        assigned.finish(3);
        assigned.finish(99);
        assert_eq!(assigned.to_commit(), None);
    }

    #[test]
    fn no_attempt_begins_once_a_partition_is_about_to_be_given_away() {
        let assigned = Arc::new(Assigned::new("jobs.a", 0));
        let attempt = assigned.begin();
        assigned.close();
        assert!(assigned.begin().is_none());
        assert_eq!(assigned.running(), 1);
        drop(attempt);
        assert_eq!(assigned.running(), 0);
    }

    proptest! {
        #[test]
        fn what_is_committed_is_the_contiguous_prefix(
            gaps in proptest::collection::vec(1..4_i64, 1..60),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..90),
        ) {
            let offsets: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let assigned = Assigned::new("jobs.a", 0);
            for offset in &offsets {
                assigned.take(*offset, 1);
            }
            let mut done = vec![false; offsets.len()];
            let mut committed = None;
            for index in order {
                let at = index.index(offsets.len());
                done[at] = true;
                assigned.finish(offsets[at]);
                committed = assigned.to_commit().or(committed);
                let prefix = done.iter().take_while(|done| **done).count();
                let expected = prefix.checked_sub(1).map(|last| offsets[last] + 1);
                prop_assert_eq!(committed, expected);
                prop_assert_eq!(assigned.held().0, offsets.len() - prefix);
            }
        }
    }
}

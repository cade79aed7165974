//! One partition while it is assigned to this worker: what was taken of it, and how far it may be committed.
//!
//! Each assignment has its own: what ends after the partition was given away, and perhaps has come back, changes
//! nothing of the new one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// So many gaps are remembered between two reports.
const MOST_GAPS: usize = 1000;

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
    /// Whether any has come about.
    is_committed: bool,
    /// Whether no more of it is fetched at present.
    is_paused: bool,
    log: Log,
}

/// What is known of the partition itself, to tell which records nobody will ever read.
#[derive(Debug, Default)]
struct Log {
    /// Where the client's last report says that it begins and ends.
    bounds: Option<(i64, i64)>,
    /// Everything before this was read; behind the last record may be what ends a transaction.
    read_to: Option<i64>,
    /// Offsets that were passed over since the last report: ends of transactions, or what was deleted.
    gaps: Vec<Gap>,
    /// Whether a record was read at all.
    has_begun: bool,
    /// Where it ended, and how many jobs waited, when it was given away just before it was assigned again.
    former: (i64, u64),
    /// Whether it was said that all of it is lost.
    is_told: bool,
}

#[derive(Debug)]
struct Gap {
    from: i64,
    to: i64,
    is_first: bool,
}

/// Records that were deleted before they were read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// At most: offsets where transactions ended are counted, too.
    pub count: i64,
    /// Otherwise it is one offset behind what was committed, where a transaction may have ended.
    pub is_sure: bool,
}

impl Lost {
    fn add(&mut self, count: i64, is_first: bool) {
        self.count += count;
        self.is_sure |= count > 1 || !is_first;
    }
}

impl State {
    /// Nothing before this offset is to be read any more.
    fn expected(&self) -> Option<i64> {
        let behind_last = self.offsets.last.map(|last| last + 1);
        behind_last.max(self.log.read_to)
    }

    /// How many jobs wait in it, as far as is known: those that were read and are not done, and those not read yet.
    fn waiting(&self) -> u64 {
        let held = self.offsets.entries.iter();
        let held = held.filter(|entry| !entry.is_done).count() as u64;
        let unread = self.log.bounds.map_or(0, |(low, end)| {
            let next = self.expected().map_or(low, |next| next.max(low));
            (end - next).max(0).unsigned_abs()
        });
        held + unread
    }
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
        let mut state = self.state();
        let from = state.expected();
        if !state.offsets.take(offset, bytes) {
            return false;
        }
        let is_first = !std::mem::replace(&mut state.log.has_begun, true);
        if let Some(from) = from.filter(|from| *from < offset)
            && state.log.gaps.len() < MOST_GAPS
        {
            let to = offset;
            state.log.gaps.push(Gap { from, to, is_first });
        }
        true
    }

    /// It is read from here on, because the group has committed that.
    pub fn begin_at(&self, next: i64) {
        self.state().offsets.last.get_or_insert(next - 1);
    }

    /// Takes note of where the partition's log begins and ends, and up to where all that was fetched was read, if so.
    /// What was deleted before it was read.
    pub fn note_log(&self, bounds: (i64, i64), read_to: Option<i64>) -> Lost {
        let mut state = self.state();
        let (low, _) = bounds;
        let mut lost = Lost::default();
        for gap in std::mem::take(&mut state.log.gaps) {
            // The end of a transaction is one offset, and its segment may just have been deleted after it was read.
            if gap.from < low && (low <= gap.to || gap.to - gap.from > 1) {
                lost.add(low.min(gap.to) - gap.from, gap.is_first);
            }
        }
        // Nothing is left to be read before that.
        if let (Some(next), Some(read_to)) = (state.expected(), read_to) {
            if next < low {
                lost.add(low - next, !state.log.has_begun);
            }
            // What was fetched before a pause is fetched again after it.
            let read_to = if state.is_paused {
                next
            } else {
                read_to.max(next)
            };
            state.log.read_to = Some(read_to.max(low));
        }
        state.log.bounds = Some(bounds);
        lost
    }

    /// It was assigned just before, too.
    pub fn comes_after(&self, former: &Self) {
        let known = {
            let state = former.state();
            let end = state.log.bounds.map_or(0, |(_, end)| end);
            (
                end.max(state.log.former.0),
                state.waiting().max(state.log.former.1),
            )
        };
        self.state().log.former = known;
    }

    /// The topic is gone, or another one: how many jobs waited in it, as far as is known. Once.
    pub fn all_lost(&self) -> Option<u64> {
        let mut state = self.state();
        if std::mem::replace(&mut state.log.is_told, true) {
            return None;
        }
        Some(state.waiting().max(state.log.former.1))
    }

    /// Whether the partition ends before where it has ended before, as that of a topic that was deleted and made again
    /// does; then as [`all_lost`](Self::all_lost).
    pub fn made_again(&self, end: i64) -> Option<u64> {
        let is_other = {
            let log = &self.state().log;
            end < log.bounds.map_or(0, |(_, end)| end).max(log.former.0)
        };
        let lost = is_other.then(|| self.all_lost()).flatten();
        if is_other {
            let log = &mut self.state().log;
            *log = Log {
                has_begun: log.has_begun,
                is_told: log.is_told,
                ..Log::default()
            };
        }
        lost
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

    /// Whether any commit has come about.
    pub fn is_committed(&self) -> bool {
        self.state().is_committed
    }

    /// A commit that was asked for has come about.
    pub fn note_committed(&self) {
        self.state().is_committed = true;
    }

    /// A commit of this offset has come about.
    pub fn committed(&self, next: i64) {
        let mut state = self.state();
        state.asked = Some(state.asked.map_or(next, |asked| asked.max(next)));
        state.is_committed = true;
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

    #[test]
    fn what_is_deleted_before_it_is_read_is_lost_and_the_ends_of_transactions_are_not() {
        let lost = |count, is_sure| Lost { count, is_sure };
        let none = Lost::default();
        let assigned = Assigned::new("jobs.a", 0);
        // Nothing is known of what was before.
        assert_eq!(assigned.note_log((5, 9), Some(5)), none);
        for offset in [5, 6, 8, 11] {
            assigned.take(offset, 1);
        }
        // Read, while the log begins where it began: transactions ended at 7, 9 and 10.
        assert_eq!(assigned.note_log((5, 20), None), none);
        assert_eq!(assigned.state().waiting(), 4 + 8);
        // What was read was deleted meanwhile.
        assigned.take(13, 1);
        assert_eq!(assigned.note_log((14, 20), None), none);
        // From 14 on to 29 it was deleted unread.
        assigned.take(30, 1);
        assert_eq!(assigned.note_log((30, 40), None), lost(16, true));
        assert_eq!(assigned.note_log((30, 40), None), none, "told once");
        // All the rest, without a record behind it; what is fetched and not read yet is not lost.
        assert_eq!(assigned.note_log((40, 40), None), none);
        assert_eq!(assigned.note_log((40, 40), Some(40)), lost(9, true));
        assert_eq!(assigned.note_log((40, 40), Some(40)), none, "told once");
        assigned.take(40, 1);
        // A transaction has ended at 41, which is deleted with all the rest.
        assert_eq!(assigned.note_log((40, 42), Some(42)), none);
        assert_eq!(assigned.note_log((42, 42), Some(42)), none);
    }

    #[test]
    fn what_was_deleted_while_no_worker_was_there_is_lost() {
        for (low, count, is_sure) in [(7, 0, false), (8, 1, false), (9, 2, true)] {
            let expected = Lost { count, is_sure };
            let empty = Assigned::new("jobs.a", 0);
            empty.begin_at(7);
            assert_eq!(empty.note_log((low, low), Some(low)), expected, "{low}");
            let full = Assigned::new("jobs.a", 0);
            full.begin_at(7);
            full.take(low, 1);
            assert_eq!(full.note_log((low, low + 1), None), expected, "{low}");
        }
    }

    #[test]
    fn a_partition_that_ends_before_where_it_ended_is_that_of_another_topic_and_told_once() {
        let first = Assigned::new("jobs.a", 0);
        first.take(5, 1);
        first.note_log((5, 9), None);
        assert_eq!(first.made_again(9), None);
        // It was given away, and has come back at once; nothing was read of it yet.
        let second = Assigned::new("jobs.a", 0);
        second.comes_after(&first);
        let third = Assigned::new("jobs.a", 0);
        third.comes_after(&second);
        assert_eq!(third.made_again(9), None);
        third.note_log((5, 9), None);
        assert_eq!(third.made_again(2), Some(4));
        third.note_log((0, 2), None);
        assert_eq!((third.made_again(1), third.all_lost()), (None, None));
        // The first thing that is heard of it is where the other one ends.
        let fourth = Assigned::new("jobs.a", 0);
        fourth.comes_after(&second);
        assert_eq!(fourth.made_again(2), Some(4));
        assert_eq!((first.all_lost(), first.all_lost()), (Some(4), None));
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

//! One partition while it is assigned to this worker: what was taken of it, and how far it may be committed.
//!
//! Each assignment has its own: what ends after the partition was given away, and perhaps has come back, changes
//! nothing of the new one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
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
    /// When its offsets have begun anew, if so.
    began_anew: Option<Instant>,
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

    /// One of a topic that was deleted and made again: it is read from its beginning.
    pub fn anew(topic: &str, partition: i32) -> Self {
        let new = Self::new(topic, partition);
        {
            let mut state = new.state();
            state.began_anew = Some(Instant::now());
            // What was committed of the former one may count for this one, and counts no more.
            state.offsets.next = Some(0);
        }
        new
    }

    /// Whether its offsets have begun anew since then.
    pub fn is_anew_since(&self, since: Instant) -> bool {
        let began = self.state().began_anew;
        began.is_some_and(|began| began >= since)
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
mod tests;

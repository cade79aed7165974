//! What is read last, and who is told of it: the one reader of the topics' ends puts changes in here, clients take them
//! out. The last changes are kept, so that a client that comes back needs no reader of its own.

use super::change::Change;
use super::group::{Group, Member};
use super::index::Index;
use super::pace::Pace;
use super::position::{Place, Position};
use super::selection::{Selection, Shown};
use crate::config::JsonMode;
use crate::status::live::Counts;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many changes a client that comes back takes at a time.
const PORTION: usize = 256;

/// What all clients share.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    pub mode: JsonMode,
    pub counts: Arc<Counts>,
    bounds: Bounds,
}

/// How much is kept, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of what was read last: `LIVE_RECENT_BYTES`.
    pub recent: usize,
    /// For all clients that have not taken it yet: `LIVE_QUEUE_BYTES`.
    pub queue: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Behind what was read last.
    position: Position,
    /// The number of the next change.
    seq: u64,
    /// How often everything was begun anew: places of topics are of one era.
    era: u64,
    recent: VecDeque<(u64, Arc<Change>)>,
    bytes: usize,
    /// Before the first of `recent`: what is behind it is all there.
    oldest: Position,
    index: Index,
    /// When those are told who have something that they were not told of yet.
    pace: Pace,
    /// How much was put into queues since these were looked through.
    queued: usize,
    is_ready: bool,
}

/// What there is for a client that comes back.
#[derive(Debug)]
pub enum Recent {
    /// The topics are taken up anew just now, or its position knows one that is not known here yet.
    Later,
    /// Its position is older than what is kept, or of a time that is not known here.
    Elsewhere,
    /// Some changes; more are there from this number on.
    More(Vec<Arc<Change>>, u64),
    /// The last changes. From here on it is told with the others.
    Joined(Vec<Arc<Change>>, Member, Option<Position>),
}

impl Hub {
    pub fn new(mode: JsonMode, bounds: Bounds, counts: Arc<Counts>) -> Self {
        Self {
            state: Mutex::default(),
            mode,
            counts,
            bounds,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a topic, or more partitions of one; its place. What is new is read from its beginning.
    pub fn grow(&self, topic: &str, partitions: usize) -> usize {
        let mut state = self.state();
        state.oldest.grow(topic, partitions);
        state.position.grow(topic, partitions)
    }

    /// Says that a partition is read from `from` on, and told from `until` on.
    pub fn begin(&self, place: Place, from: i64, until: i64) {
        let mut state = self.state();
        state.oldest.raise(place, from);
        state.position.raise(place, until);
    }

    /// Whether clients can be served.
    pub fn is_ready(&self) -> bool {
        self.state().is_ready
    }

    pub fn set_ready(&self, is_ready: bool) {
        self.state().is_ready = is_ready;
    }

    /// Forgets everything, and tells everybody to come back: the reader has lost its place.
    pub fn reset(&self) {
        let mut state = self.state();
        state.index.all().for_each(|group| group.cut_all());
        *state = State {
            seq: state.seq,
            era: state.era + 1,
            index: std::mem::take(&mut state.index),
            ..State::default()
        };
    }

    /// Takes a change that was made before this server began: only those who come back are told of it.
    pub fn prefill(&self, change: Arc<Change>) {
        self.state().keep(change, self.bounds.recent);
    }

    /// Takes the next change; whoever wants it is told in time by [`flush`](Self::flush).
    pub fn take(&self, change: Arc<Change>) {
        let now = Instant::now();
        let mut state = self.state();
        state.position.raise(change.place, change.offset + 1);
        let seq = state.seq;
        let candidates = state.index.candidates(&change, || change.images(self.mode));
        let mut id = None;
        for group in candidates {
            let narrowed;
            let (is_leave, body) = match group.selection.judge(&change) {
                Shown::Nothing => continue,
                Shown::Whole => (false, change.value.as_ref()),
                Shown::Narrowed(text) => {
                    narrowed = text;
                    (false, narrowed.as_slice())
                }
                Shown::Leave(text) => {
                    narrowed = text;
                    (true, narrowed.as_slice())
                }
            };
            let id = id.get_or_insert_with(|| state.position.encode());
            state.queued += id.len() + body.len();
            if group.add(seq, (change.place, change.offset), id, is_leave, body) {
                state.pace.touch(group, now);
            }
        }
        state.keep(change, self.bounds.recent);
    }

    /// Takes note of a record that nobody is told of.
    pub fn pass(&self, place: Place, offset: i64) {
        self.state().position.raise(place, offset + 1);
    }

    /// Tells those whose time has come; when there is more to be told.
    pub fn flush(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        while state.pace.tell(now) {}
        let next = state.pace.next();
        let queued = state.queued;
        drop(state);
        if self.counts.queue_bytes.get() + queued > self.bounds.queue {
            self.sweep();
        }
        next
    }

    /// Behind what was read last, and before what is kept; and in which era that is so.
    pub fn positions(&self) -> (Position, Position, u64) {
        let state = self.state();
        (state.position.clone(), state.oldest.clone(), state.era)
    }

    /// As [`positions`](Self::positions); none while the topics are taken up anew.
    pub fn settled_positions(&self) -> Option<(Position, Position, u64)> {
        let state = self.state();
        let now = (state.position.clone(), state.oldest.clone(), state.era);
        state.is_ready.then_some(now)
    }

    /// A client without a position: it is told from now on. With the position that this is.
    pub fn join(&self, selection: &Arc<Selection>, cut: CancellationToken) -> (Member, Position) {
        let mut state = self.state();
        let member = state.enter(selection, cut);
        (member, state.position.clone())
    }

    /// What comes behind `position`, from the change of the number `from` on. A position that was found to be right is
    /// `known`: it may be ahead of what was read here. One who is patient waits for a topic that is not known here yet.
    pub fn recent(
        &self,
        selection: &Arc<Selection>,
        position: &mut Position,
        from: u64,
        (known, is_patient): (bool, bool),
        cut: &CancellationToken,
    ) -> Recent {
        let mut state = self.state();
        if !state.is_ready || (is_patient && position.is_beyond(&state.position)) {
            return Recent::Later;
        }
        *position = position.aligned(&state.position);
        let is_ahead = !state.position.covers(position);
        if !position.covers(&state.oldest) || (is_ahead && !known) {
            return Recent::Elsewhere;
        }
        let begin = state.recent.partition_point(|(seq, _)| *seq < from);
        let mut changes = Vec::new();
        for (seq, change) in state.recent.range(begin..) {
            if change.offset < position.next(change.place) {
                continue;
            }
            if changes.len() == PORTION {
                return Recent::More(changes, *seq);
            }
            changes.push(Arc::clone(change));
        }
        let member = state.enter(selection, cut.clone());
        Recent::Joined(changes, member, is_ahead.then(|| position.clone()))
    }

    /// The position now, where everything for this member has been taken.
    pub fn position_of(&self, member: &mut Member) -> Option<String> {
        let state = self.state();
        member.is_current().then(|| state.position.encode())
    }

    /// Takes a client out.
    pub fn leave(&self, member: &Member) {
        let mut state = self.state();
        if member.leave() {
            state.index.remove(&member.group.selection);
        }
    }

    /// Looks after all groups: what was taken is forgotten, who is slow is cut. Where more is left than may be, so are
    /// those for whom most is kept.
    pub fn sweep(&self) {
        let mut state = self.state();
        state.queued = 0;
        let groups: Vec<_> = state.index.all().map(Arc::clone).collect();
        drop(state);
        let mut left: Vec<_> = groups
            .iter()
            .map(|group| (self.look_after(group), group))
            .collect();
        let mut bytes: usize = left.iter().map(|(bytes, _)| bytes).sum();
        if bytes > self.bounds.queue {
            left.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
            for (kept, group) in left {
                // Not every time anew.
                if bytes <= self.bounds.queue / 2 {
                    break;
                }
                group.shed();
                bytes = bytes - kept + self.look_after(group);
            }
        }
        self.counts.queue_bytes.set(bytes);
        self.counts.questions.set(groups.len());
    }

    /// How many bytes of a group are left.
    fn look_after(&self, group: &Group) -> usize {
        let (left, slow) = group.sweep();
        self.counts.cut.add(slow);
        left
    }
}

impl State {
    fn enter(&mut self, selection: &Arc<Selection>, cut: CancellationToken) -> Member {
        self.index.group(selection).enter(self.seq, cut)
    }

    fn keep(&mut self, change: Arc<Change>, most: usize) {
        self.bytes += change.bytes();
        self.recent.push_back((self.seq, change));
        self.seq += 1;
        while self.bytes > most
            && let Some((_, first)) = self.recent.pop_front()
        {
            self.bytes -= first.bytes();
            self.oldest.raise(first.place, first.offset + 1);
        }
    }
}

#[cfg(test)]
mod tests;

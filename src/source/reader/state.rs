//! Where a cursor stands, reply by reply.

use super::Left;
use super::closed::TOO_MANY;
use crate::change::event::{Event, NoEvent, Operation};
use crate::change::position::{ClusterTime, Position, ResumeToken};
use crate::mongo::errors::{Phase, SourceFault};
use crate::source::cursor::Start;
use crate::source::reply::Reply;
use crate::source::split::{Sequence, SplitError};
use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// How often it is said that post-batch tokens go back.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

/// Where the cursor stands.
pub(super) struct CursorState {
    pub(super) last: ResumeToken,
    /// Cluster time of the last event, where known.
    time: Option<ClusterTime>,
    /// Where the stream is opened while the server does not find `last`. What comes then may begin before
    /// it.
    pub(super) opened_at: Option<ClusterTime>,
    /// How often in a row the server has closed a cursor that brought nothing.
    pub(super) closures: u32,
    /// When it was last said that a post-batch token went back.
    told_back: Option<Instant>,
    /// The fragments of an event with more to come. The token of one is of use to this process only.
    sequence: Sequence,
    /// The position before that event.
    before_split: Option<ResumeToken>,
    /// Whether fragments that were sent on come again from the first.
    pub(super) splits_anew: bool,
    pub(super) invalidated: bool,
    /// The token a cursor was opened with is looked for at its first `getMore`.
    pub(super) phase: Phase,
    /// Whether the next cursor is asked for events with its first reply. One that is asked for none may
    /// be closed with an empty reply when an `invalidate` is ahead, and would never get there.
    pub(super) eager: bool,
    /// Events still to be read one at a time, after one among them could not be sent.
    pub(super) one_by_one: u32,
    /// Since when the stream is interrupted, and why at last; none once it has replied again.
    pub(super) interrupted: Option<(Instant, SourceFault)>,
}

impl CursorState {
    pub(super) fn at(position: &Position) -> Self {
        Self {
            last: position.token.clone(),
            time: position.cluster_time,
            opened_at: match Start::behind(position) {
                Start::At(time) => Some(time),
                Start::After(_) | Start::Now => None,
            },
            closures: 0,
            told_back: None,
            sequence: Sequence::default(),
            before_split: None,
            splits_anew: false,
            invalidated: false,
            phase: Phase::Resuming,
            eager: false,
            one_by_one: 0,
            interrupted: None,
        }
    }

    /// From where the next cursor reads.
    pub(super) fn start(&self) -> Start {
        match self.opened_at {
            Some(time) => Start::At(time),
            None => Start::After(self.last.clone()),
        }
    }

    /// From which cluster time on the oplog holds what follows, where known.
    pub(super) fn begins_at(&self) -> Option<ClusterTime> {
        self.last.cluster_time().or(self.time)
    }

    /// Lets the next cursor be opened at `time`, for a token that the server does not find.
    pub(super) fn open_at(&mut self, time: ClusterTime) {
        self.opened_at = Some(time);
        // A token inside a split event is of no use, and its fragments come again from the first.
        self.leave_split();
    }

    /// Opens the next cursor behind an `invalidate` by its time, for a server that cannot start after one.
    pub(super) fn pass_invalidate(&mut self) {
        if let Some(time) = self.time.filter(|_| self.invalidated) {
            self.open_at(time.next());
        }
    }

    /// Whether the last event was a fragment with more to come.
    pub(super) fn in_split(&self) -> bool {
        self.sequence.is_open()
    }

    /// Forgets the fragments that have come of an event that is passed over.
    pub(super) fn give_up_split(&mut self) {
        self.sequence = Sequence::default();
        self.before_split = None;
    }

    /// Goes back to before the event whose fragments have come so far, if any.
    pub(super) fn leave_split(&mut self) {
        self.sequence = Sequence::default();
        if let Some(before) = self.before_split.take() {
            self.last = before;
            self.splits_anew = true;
        }
    }

    /// What an error means before a new cursor has replied.
    pub(super) fn opening_phase(&self) -> Phase {
        match self.opened_at {
            Some(_) => Phase::Other,
            None => Phase::Resuming,
        }
    }

    pub(super) fn move_to(&mut self, token: ResumeToken) {
        if token != self.last {
            self.opened_at = None;
            self.last = token;
        }
    }

    /// The server has closed the cursor; `is_new` where it had not replied since it was opened.
    pub(super) fn closed(&mut self, is_new: bool) -> Left {
        self.closures = self.closures.saturating_add(1);
        if is_new && !self.eager {
            self.eager = true;
            return Left::Reopen { pause: false };
        }
        self.eager = false;
        if !self.invalidated && self.closures >= TOO_MANY {
            return Left::ClosedAgain;
        }
        tracing::info!(
            invalidated = self.invalidated,
            "the server closed the change stream, reopening it"
        );
        Left::Reopen {
            pause: !self.invalidated,
        }
    }

    /// Whether it is time to say again that post-batch tokens go back.
    pub(super) fn tells_back(&mut self) -> bool {
        let tells = self
            .told_back
            .is_none_or(|told| told.elapsed() >= TOLD_AGAIN);
        if tells {
            self.told_back = Some(Instant::now());
        }
        tells
    }

    /// Moves over a reply.
    ///
    /// A post-batch token that sorts before what was read is withheld: to resume from there would repeat
    /// it, and such a position is never stored. Servers of one release line send some.
    ///
    /// # Errors
    /// [`SplitError`] when the reply is not what a change stream sends: none of it counts, and the position is
    /// before the event that it was in the middle of.
    pub(super) fn advance(&mut self, reply: &mut Reply) -> Result<Advanced, SplitError> {
        let count = match self.over_events(reply) {
            Ok(count) => count,
            Err(error) => {
                self.leave_split();
                return Err(error);
            }
        };
        let mut went_back = false;
        // The post-batch token lies behind the last event, but not inside a split one, and behind an
        // `invalidate` there is nothing.
        if !self.in_split()
            && !self.invalidated
            && let Some(token) = reply.post_batch_token()
        {
            if token.stream_order(&self.last) == Some(Ordering::Less) {
                reply.withhold_post_batch_token();
                // Opened at a time, a stream begins before the position.
                went_back = self.opened_at.is_none();
            } else {
                self.move_to(token);
            }
        }
        Ok(Advanced {
            events: count,
            went_back,
        })
    }

    fn over_events(&mut self, reply: &Reply) -> Result<usize, SplitError> {
        reply.check_post_batch_token()?;
        let mut count = 0;
        let mut last: Option<Event<'_>> = None;
        let mut before_split = None;
        for raw in reply.events()? {
            let event = Event::parse(raw?)?;
            let was_open = self.sequence.is_open();
            self.sequence.take(&event)?;
            match (was_open, self.sequence.is_open()) {
                (false, true) => {
                    let before = last.and_then(|event| event.resume_token());
                    before_split = Some(before.unwrap_or_else(|| self.last.clone()));
                }
                (true, false) => before_split = None,
                _ => {}
            }
            count += 1;
            last = Some(event);
        }
        let Some(event) = last else {
            return Ok(0);
        };
        let token = event.resume_token().ok_or(NoEvent::Without("_id"))?;
        match self.sequence.is_open() {
            true => self.before_split = before_split.or(self.before_split.take()),
            false => self.before_split = None,
        }
        self.invalidated = event.operation == Operation::Invalidate;
        self.time = event.cluster_time.or(self.time);
        self.move_to(token);
        Ok(count)
    }
}

/// What a reply held.
pub(super) struct Advanced {
    pub(super) events: usize,
    /// Whether its post-batch token was before what had been read.
    pub(super) went_back: bool,
}

//! Where a stream stands, reply by reply.

use crate::event::{Event, Operation};
use crate::position::ResumeToken;
use crate::source::errors::Moment;
use crate::source::reply::Reply;
use std::time::Instant;

/// Where the cursor stands.
pub(super) struct Place {
    pub(super) last: ResumeToken,
    /// Whether the last event was a fragment with more to come: a token that only this process
    /// can go on from.
    pub(super) in_split: bool,
    pub(super) invalidated: bool,
    /// The token a cursor was opened with is looked for at its first `getMore`.
    pub(super) moment: Moment,
    /// Whether the next cursor is asked for events with its first reply. One that is asked for none may
    /// be closed with an empty reply when an `invalidate` is ahead, and would never get there.
    pub(super) eager: bool,
    /// Events still to be read one at a time, after one among them could not be sent.
    pub(super) one_by_one: u32,
    /// Since when the stream is interrupted; none once it has replied again.
    pub(super) interrupted: Option<Instant>,
}

impl Place {
    pub(super) fn at(last: ResumeToken) -> Self {
        Self {
            last,
            in_split: false,
            invalidated: false,
            moment: Moment::Resuming,
            eager: false,
            one_by_one: 0,
            interrupted: None,
        }
    }

    /// Moves over a reply; returns how many events it held.
    pub(super) fn advance(&mut self, reply: &Reply) -> usize {
        let mut count = 0;
        let mut last_event: Option<&[u8]> = None;
        if let Ok(events) = reply.events() {
            for event in events.map_while(Result::ok) {
                count += 1;
                last_event = Some(event);
            }
        }
        if let Some(event) = last_event.and_then(|raw| Event::parse(raw).ok()) {
            self.in_split = event.split.is_some_and(|(fragment, of)| fragment < of);
            self.invalidated = event.operation == Operation::Invalidate;
            if let Some(token) = event.resume_token() {
                self.last = token;
            }
        }
        // The post-batch token lies behind the last event, but not inside a split one, and behind an
        // `invalidate` there is nothing.
        if !self.in_split
            && !self.invalidated
            && let Some(token) = reply.post_batch_token()
        {
            self.last = token;
        }
        count
    }
}

//! Getting past the end of a stream that does not show.
//!
//! A dropped database ends its stream with an `invalidate`, after which the server closes the cursor. Where
//! that event is hidden, by whatever it may be, every cursor opened at the same position is closed again, and
//! nothing ever arrives. All that comes before the drop has been read then, so the stream continues right
//! behind it.

use super::state::CursorState;
use super::{Asked, OPENING_PATIENCE, READ_PATIENCE, Reader, timed_out};
use crate::change::event::{Event, Operation};
use crate::change::position::ClusterTime;
use crate::log::event_id;
use crate::source::cursor::{Cursor, Start};
use crate::source::reply::Reply;
use tokio_util::sync::CancellationToken;

/// Cursors that are closed without an event before something is thought to be hidden: the first may have
/// been asked for none.
pub(super) const TOO_MANY: u32 = 2;

/// How many replies the search for the drop may take, most of them a second.
const SEARCH_REPLIES: usize = 60;

/// How many where tokens do not tell how far the server has looked.
const BLIND_REPLIES: usize = 3;

impl Reader {
    /// Lets the next cursor be opened behind the drop that ends this stream; false where none is found.
    pub(super) async fn pass_hidden_end(
        &self,
        state: &mut CursorState,
        stop: &CancellationToken,
    ) -> bool {
        self.opener.board.closed_again.set(true);
        let found = self.find_drop(state, stop).await;
        match found {
            Some(time) => {
                tracing::warn!(
                    event_id = event_id::DROP_PASSED,
                    seconds = time.seconds,
                    "the server closes the change stream without an invalidate event, as the database was \
                     dropped; the stream continues behind the drop"
                );
                state.open_at(ClusterTime::new(
                    time.seconds,
                    time.increment.saturating_add(1),
                ));
                state.closures = 0;
            }
            None if state.closures == TOO_MANY => {
                let text = "the server closes the change stream again and again without an event, and no drop \
                            of the database is found that would end it";
                tracing::warn!("{text}");
                self.opener.board.source_error.set(text);
            }
            None => {}
        }
        found.is_some()
    }

    /// When the database was dropped next, by a stream of nothing else.
    async fn find_drop(
        &self,
        state: &CursorState,
        stop: &CancellationToken,
    ) -> Option<ClusterTime> {
        if let Ok(Some(time)) = self.search(state.start(), stop).await {
            return Some(time);
        }
        // The last event read may be the drop itself, or the stage that looks for drops hides it.
        let from = state.begins_at().filter(|_| state.opened_at.is_none())?;
        self.search(Start::At(from), stop).await.unwrap_or_default()
    }

    async fn search(
        &self,
        start: Start,
        stop: &CancellationToken,
    ) -> Result<Option<ClusterTime>, mongodb::error::Error> {
        // Asked for events with its first reply: see [`CursorState::eager`].
        let watch = self.opener.watch.drops();
        let opening = Cursor::open(&self.opener.client, &watch, &start, 1, true);
        let (mut cursor, mut reply) = match self.ask(stop, OPENING_PATIENCE, opening).await {
            Asked::Answered(opened) => opened?,
            Asked::TimedOut => return Err(timed_out()),
            Asked::Stopped => return Ok(None),
        };
        for count in 1..=SEARCH_REPLIES {
            if let Some(time) = time_of_end(&reply) {
                return Ok(Some(time));
            }
            let next = match self.ask(stop, READ_PATIENCE, cursor.next()).await {
                Asked::Answered(next) => next?,
                Asked::TimedOut => return Err(timed_out()),
                Asked::Stopped => return Ok(None),
            };
            match next {
                Some(batch) => reply = Reply::new(batch, None),
                None => return Ok(None),
            }
            if is_at_the_end(&reply).unwrap_or(count >= BLIND_REPLIES) {
                return Ok(time_of_end(&reply));
            }
        }
        Ok(None)
    }
}

/// Whether the server has looked at all there is; not known for tokens that tell no time.
fn is_at_the_end(reply: &Reply) -> Option<bool> {
    let token = reply.post_batch_token()?.cluster_time()?;
    Some(token.seconds.saturating_add(1) >= reply.operation_time()?)
}

fn time_of_end(reply: &Reply) -> Option<ClusterTime> {
    let mut events = reply.events().ok()?.map_while(Result::ok);
    events.find_map(|raw| {
        let event = Event::parse(raw).ok()?;
        let ends = matches!(
            event.operation,
            Operation::DropDatabase | Operation::Invalidate
        );
        ends.then_some(event.cluster_time)?
    })
}

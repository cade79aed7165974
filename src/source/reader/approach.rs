//! Getting past an event that the server cannot send.

use super::state::CursorState;
use super::{Asked, Fetched, OPENING_PATIENCE, READ_PATIENCE, Reader, timed_out};
use crate::mongo::errors::SourceFault;
use crate::source::cursor::Cursor;
use crate::source::reply::Reply;
use mongodb::error::Error;
use tokio_util::sync::CancellationToken;

/// How many replies a cursor without images may take to come to an event that is known to be there.
const LEAN_REPLIES: usize = 30;

impl Reader {
    /// The batch that the event was in is lost with it, so its neighbours are read one at a time until it
    /// is the next one; then it is read without what makes it too large. False when nobody wants more.
    ///
    /// # Errors
    /// What keeps the event from being read even so; none when it does not show.
    pub(super) async fn approach(
        &mut self,
        kind: SourceFault,
        state: &mut CursorState,
        stop: &CancellationToken,
    ) -> Result<bool, Option<Error>> {
        if state.one_by_one == 0 {
            tracing::warn!(
                fault = ?kind,
                "the server cannot send an event; its neighbours are read one at a time"
            );
            state.one_by_one = self.opener.batch_size.events().max(1);
            return Ok(true);
        }
        let (without_images, start) = (self.opener.watch.without_images(), state.start());
        let opening = Cursor::open(&self.opener.client, &without_images, &start, 1, false);
        let (mut cursor, _) = match self.ask(stop, OPENING_PATIENCE, opening).await {
            Asked::Answered(opened) => opened?,
            Asked::TimedOut => return Err(Some(timed_out())),
            Asked::Stopped => return Ok(false),
        };
        for _ in 0..LEAN_REPLIES {
            let batch = match self.ask(stop, READ_PATIENCE, cursor.next()).await {
                Asked::Answered(batch) => batch?.ok_or(None)?,
                Asked::TimedOut => return Err(Some(timed_out())),
                Asked::Stopped => return Ok(false),
            };
            let mut reply = Reply::new(batch, None);
            if let Some(time) = state.opened_at {
                reply.leave_out_through(&state.last, time);
            }
            let Some(token) = reply.first_event_token() else {
                continue;
            };
            state.move_to(token);
            state.give_up_split();
            state.one_by_one = 0;
            let sent = self.replies.send(Fetched::Refused(reply, kind)).await;
            return Ok(sent.is_ok());
        }
        Err(None)
    }
}

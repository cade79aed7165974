//! Where the stream continues, and what was read before: each event comes once, whatever the server sends again.

use super::state::CursorState;
use super::{Asked, OPENING_PATIENCE, Reader};
use crate::log::event_id;
use crate::mongo::errors::SourceFault;
use crate::source::locate::{Located, locate};
use crate::source::reply::Reply;
use crate::source::split::SplitError;
use tokio_util::sync::CancellationToken;

impl Reader {
    /// Lets the stream resume from the cluster time of a token that the server does not find.
    ///
    /// # Errors
    /// What it amounts to when that cannot be; none when asked to stop.
    pub(super) async fn find(
        &self,
        state: &mut CursorState,
        stop: &CancellationToken,
    ) -> Result<(), Option<SourceFault>> {
        let locating = async { Ok(locate(&self.opener.client, state.begins_at()).await) };
        let located = match self.ask(stop, OPENING_PATIENCE, locating).await {
            Asked::Answered(located) => located.unwrap_or(Located::Unknown),
            // The connection is dead: another one will tell.
            Asked::TimedOut => return Err(Some(SourceFault::Resumable)),
            Asked::Stopped => return Err(None),
        };
        match located {
            Located::At(time) => {
                tracing::warn!(
                    event_id = event_id::TOKEN_NOT_FOUND,
                    seconds = time.seconds,
                    "the stages in force hide the event that the resume token names, or the server does not \
                     find it; the stream is opened at its cluster time, and what was read before is left out"
                );
                state.open_at(time);
                Ok(())
            }
            Located::Lost => Err(Some(SourceFault::HistoryLost)),
            Located::Unknown => Err(Some(SourceFault::TokenNotFound)),
        }
    }

    /// The first reply of a cursor may begin before the position it was opened at.
    pub(super) fn leave_out_repeated(&self, reply: &mut Reply, state: &CursorState) {
        if let Some(time) = state.opened_at {
            reply.leave_out_through(&state.last, time);
            return;
        }
        let repeated = reply.leave_out_until(&state.last);
        if repeated > 0 {
            self.opener.board.went_back.add(repeated as u64);
            tracing::warn!(
                events = repeated,
                "the change stream went back after it was opened again; what was read before is left out"
            );
        }
    }

    /// Moves over a reply; returns how many events it held.
    ///
    /// # Errors
    /// [`SplitError`] when it is not what a change stream sends.
    pub(super) fn advance(
        &self,
        state: &mut CursorState,
        reply: &mut Reply,
    ) -> Result<usize, SplitError> {
        let advanced = state.advance(reply)?;
        if advanced.went_back {
            self.opener.board.went_back.add(1);
            if state.tells_back() {
                tracing::warn!(
                    event_id = event_id::TOKEN_WENT_BACK,
                    times = self.opener.board.went_back.get(),
                    "the server sent a post-batch resume token that is before what was read; it is left out"
                );
            }
        }
        Ok(advanced.events)
    }
}

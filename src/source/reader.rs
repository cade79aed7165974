//! Reads the change stream ahead of the pump, reopens it when it breaks, and bounds what it holds.

mod approach;
mod closed;
mod order;
mod request;
mod state;

use super::capabilities::{self, Capability, Learned};
use super::cursor::{Cursor, READ_PATIENCE};
use super::opener::Opener;
use super::reply::Reply;
use super::split::SplitError;
use crate::change::event::NoEvent;
use crate::change::position::Position;
use crate::error::Error;
use crate::flow::budget::{Budget, Reservation};
use crate::log::event_id;
use crate::mongo::describe::{custom, describe};
use crate::mongo::errors::{self, Phase, SourceFault, Stage};
use crate::retry::GivenUp;
use crate::status::waiting::Awaited;
use mongodb::error::ErrorKind;
pub use request::Request;
use state::CursorState;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// What goes down the channel, in stream order.
pub enum Fetched {
    Reply(Reply),
    /// One event without what made it impossible to send: for the record-error policy.
    Refused(Reply, SourceFault),
    /// Fragments that were sent without the rest of their event come again, from the first.
    SplitAnew,
    /// What follows was asked for by the request of this number: nothing of before comes any more.
    Reopened(u64),
    /// The stream cannot continue; everything before this was sent.
    Failed(Fault),
}

/// Why the stream cannot continue.
#[derive(Debug)]
pub struct Fault {
    pub kind: SourceFault,
    pub error: mongodb::error::Error,
    /// Why it is not tried again.
    pub given_up: GivenUp,
}

/// One reply waits in the channel while another is on the wire.
pub const READ_AHEAD: usize = 1;

/// How long opening a cursor may take, before the connection is given up.
const OPENING_PATIENCE: Duration = Duration::from_secs(30);

/// A cursor that has replied so often is no longer one that is closed at once.
const SETTLED: u32 = 30;

/// Reads one stream until it is told to stop or cannot continue.
pub struct Reader {
    /// How its cursors are opened, and the first one was.
    pub opener: Opener,
    pub budget: Arc<Budget>,
    pub replies: mpsc::Sender<Fetched>,
    /// What is to be read from now on, where that changes while the stream runs.
    pub requests: watch::Receiver<Option<Request>>,
}

/// Why a cursor was left.
enum Left {
    /// The server closed it (after an `invalidate`, or without), or another batch size serves better.
    Reopen {
        pause: bool,
    },
    /// The server closes one cursor after the other, and none brings anything.
    ClosedAgain,
    Failed(mongodb::error::Error),
    /// Another position and other stages are asked for.
    Requested,
    /// A reply is not what a change stream sends.
    NotUnderstood(SplitError),
    /// Nobody wants more.
    Stopped,
}

impl Reader {
    /// Reads from an open cursor on, which was opened at `position`; without one it opens its own.
    pub async fn run(
        mut self,
        mut cursor: Option<Cursor>,
        position: Position,
        stop: CancellationToken,
    ) {
        let mut state = CursorState::at(&position);
        let mut delays = self.opener.delays();
        let mut requests = self.requests.clone();
        loop {
            if let Some(request) = request::newest(&mut requests) {
                cursor = None;
                state = CursorState::at(&request.position);
                self.opener.watch.ask(&request.interest);
                self.opener.watch.patience = request.patience;
                let reopened = Fetched::Reopened(request.number);
                if self.replies.send(reopened).await.is_err() {
                    return;
                }
            }
            let left = match cursor.take() {
                Some(cursor) => {
                    let before = state.last.clone();
                    let left = self.read(cursor, &mut state, &stop, &mut requests).await;
                    if state.last != before {
                        delays = self.opener.delays();
                    }
                    left
                }
                None => match self.reopen(&mut state, &stop).await {
                    Ok(Some(opened)) => {
                        cursor = Some(opened);
                        continue;
                    }
                    Ok(None) => Left::Stopped,
                    Err(left) => left,
                },
            };
            let is_failure = matches!(left, Left::Failed(_) | Left::NotUnderstood(_));
            let (kind, error) = match left {
                Left::Stopped => return,
                Left::Requested => continue,
                Left::Reopen { pause: false } => continue,
                Left::Reopen { pause: true } => closed_again(),
                Left::ClosedAgain => match self.pass_hidden_end(&mut state, &stop).await {
                    true => continue,
                    false => closed_again(),
                },
                Left::NotUnderstood(why) => {
                    // Without the user's stages nobody but the server takes a field away.
                    let is_removed = matches!(why, SplitError::NoEvent(NoEvent::Without(_)))
                        && self.opener.watch.has_user_stages();
                    let kind = match is_removed {
                        true => SourceFault::FieldsRemoved,
                        false => SourceFault::Malformed,
                    };
                    (kind, custom(&why.to_string()))
                }
                Left::Failed(error) => {
                    self.opener.board.mongo_connected.set(false);
                    let kind = errors::classify(&error, state.phase);
                    let (kind, error) = if kind.is_of_one_event() {
                        match self.approach(kind, &mut state, &stop).await {
                            Ok(true) => continue,
                            Ok(false) => return,
                            Err(None) => (kind, error),
                            Err(Some(error)) => {
                                let phase = state.opening_phase();
                                (errors::classify(&error, phase), error)
                            }
                        }
                    } else {
                        (kind, error)
                    };
                    let kind = match kind {
                        SourceFault::TokenNotFound => match self.find(&mut state, &stop).await {
                            Ok(()) => continue,
                            Err(Some(kind)) => kind,
                            Err(None) => return,
                        },
                        kind => kind,
                    };
                    // As a reply that is longer than the driver takes, from a server with no limit of its
                    // own: no outage, and nothing to wait for.
                    if matches!(error.kind.as_ref(), ErrorKind::InvalidResponse { .. })
                        && self.opener.batch_size.halve()
                    {
                        let events = self.opener.batch_size.events();
                        tracing::debug!(
                            events,
                            error = describe(&error),
                            "reopening with a smaller batch size"
                        );
                        continue;
                    }
                    (kind, error)
                }
            };
            match delays.after(kind.policy(Stage::Running, &error)) {
                Ok(delay) => {
                    if is_failure {
                        self.interrupted(kind, &error, &mut state);
                    }
                    let pause = tokio::time::sleep(delay);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.opener.board.waits.on(Awaited::MongoDb, pause) => {}
                    }
                }
                Err(given_up) => {
                    let fault = Fault {
                        kind,
                        error,
                        given_up,
                    };
                    // Nobody there to hear it means that the pump has ended before.
                    let _ = self.replies.send(Fetched::Failed(fault)).await;
                    return;
                }
            }
        }
    }

    /// Says so once for each interruption and kind of fault, however many attempts it takes to end it.
    fn interrupted(
        &self,
        kind: SourceFault,
        error: &mongodb::error::Error,
        state: &mut CursorState,
    ) {
        let said = format!("{}{}", describe(error), kind.remedy());
        self.opener.board.source_error.set(said.as_str());
        self.opener.board.mongo_refuses.set(kind.is_of_the_user());
        if state.interrupted.is_none() {
            self.opener.board.reconnects.add(1);
        }
        let since = state
            .interrupted
            .map_or_else(Instant::now, |(since, _)| since);
        let before = state.interrupted.replace((since, kind));
        if before.is_some_and(|(_, before)| before == kind) {
            tracing::debug!(error = said, "the change stream cannot be opened again yet");
            return;
        }
        let what = match kind {
            SourceFault::Overloaded => "mongodb is overloaded, asking again after a longer pause",
            SourceFault::Credentials | SourceFault::Unauthorized => {
                "mongodb refuses the change stream now, waiting for that to change"
            }
            SourceFault::Unknown => {
                "change stream interrupted with a code that is not known here, trying again for a while"
            }
            _ => "change stream interrupted, reconnecting",
        };
        tracing::warn!(
            event_id = event_id::SOURCE_INTERRUPTED,
            error = said,
            "{what}"
        );
    }

    /// Reads replies until the cursor ends.
    async fn read(
        &mut self,
        mut cursor: Cursor,
        state: &mut CursorState,
        stop: &CancellationToken,
        requests: &mut watch::Receiver<Option<Request>>,
    ) -> Left {
        let mut expected = 0;
        let mut is_new = true;
        let (mut replied, opened) = (0, state.last.clone());
        loop {
            // Before the reply is asked for: it is in memory as soon as it comes.
            let reservation = tokio::select! {
                () = stop.cancelled() => return Left::Stopped,
                () = request::made(requests) => return Left::Requested,
                taken = Reservation::take(&self.budget, expected) => taken,
            };
            let asked = Instant::now();
            let answer = tokio::select! {
                () = request::made(requests) => return Left::Requested,
                answer = self.ask(stop, READ_PATIENCE, cursor.next()) => answer,
            };
            let batch = match answer {
                Asked::Answered(Ok(Some(batch))) => batch,
                Asked::Answered(Ok(None)) => return state.closed(is_new),
                Asked::Answered(Err(error)) => return Left::Failed(error),
                Asked::TimedOut => {
                    self.opener.batch_size.halve();
                    return Left::Failed(timed_out());
                }
                Asked::Stopped => return Left::Stopped,
            };
            self.opener.board.mongo_connected.set(true);
            state.phase = Phase::Other;
            let mut reply = Reply::new(batch, Some(reservation));
            if is_new || state.opened_at.is_some() {
                self.leave_out_repeated(&mut reply, state);
            }
            let splits_anew = std::mem::take(&mut state.splits_anew);
            let events = match self.advance(state, &mut reply) {
                Ok(events) => events,
                Err(why) => {
                    state.splits_anew |= splits_anew;
                    return Left::NotUnderstood(why);
                }
            };
            self.opener.board.mongo_refuses.set(false);
            if let Some((since, _)) = state.interrupted.take() {
                let seconds = since.elapsed().as_secs();
                tracing::info!(
                    event_id = event_id::SOURCE_RESUMED,
                    after_seconds = seconds,
                    "the change stream continues"
                );
            }
            is_new = false;
            expected = reply.len();
            if events > 0 {
                self.opener.board.metrics.replied(asked.elapsed());
            }
            replied += 1;
            // Also a cursor that is about to be closed may reply once, with another token.
            if events > 0 || (replied > 1 && state.last != opened) || replied >= SETTLED {
                state.closures = 0;
                self.opener.board.closed_again.set(false);
            }
            let resize = if state.one_by_one > 0 {
                state.one_by_one = state.one_by_one.saturating_sub(events as u32);
                state.one_by_one == 0 && !state.in_split()
            } else {
                self.opener.batch_size.observe(events, reply.len()) && !state.in_split()
            };
            self.opener.board.replies.add(1);
            if splits_anew && self.replies.send(Fetched::SplitAnew).await.is_err() {
                return Left::Stopped;
            }
            if self.replies.send(Fetched::Reply(reply)).await.is_err() {
                return Left::Stopped;
            }
            if resize {
                tracing::debug!(
                    events = self.opener.batch_size.events(),
                    "reopening with another batch size"
                );
                return Left::Reopen { pause: false };
            }
        }
    }

    /// [Asks](ask) under the name of what is waited for.
    async fn ask<T>(
        &self,
        stop: &CancellationToken,
        patience: Duration,
        question: impl Future<Output = Result<T, mongodb::error::Error>>,
    ) -> Asked<T> {
        let asking = ask(stop, patience, question);
        self.opener.board.waits.on(Awaited::MongoDb, asking).await
    }

    async fn reopen(
        &mut self,
        state: &mut CursorState,
        stop: &CancellationToken,
    ) -> Result<Option<Cursor>, Left> {
        if self.opener.watch.capabilities.lacks(Capability::StartAfter) {
            state.pass_invalidate();
        }
        state.phase = state.opening_phase();
        let start = state.start();
        let opening = Cursor::open(
            &self.opener.client,
            &self.opener.watch,
            &start,
            if state.one_by_one > 0 {
                1
            } else {
                self.opener.batch_size.events()
            },
            state.eager,
        );
        let (cursor, first) = match self.ask(stop, OPENING_PATIENCE, opening).await {
            Asked::Answered(Ok(opened)) => opened,
            Asked::Answered(Err(error)) => {
                let learning =
                    capabilities::learn(&self.opener.client, &self.opener.watch, &start, &error);
                return Err(match learning.await {
                    Learned::Otherwise => Left::Reopen { pause: false },
                    Learned::Nothing | Learned::Missing(_) => Left::Failed(error),
                });
            }
            Asked::TimedOut => return Err(Left::Failed(timed_out())),
            Asked::Stopped => return Ok(None),
        };
        self.opener.board.mongo_connected.set(true);
        state.invalidated = false;
        if !state.eager {
            // The position is where it was: an empty first reply says nothing about what is behind it.
            return Ok(Some(cursor));
        }
        let mut first = first;
        self.leave_out_repeated(&mut first, state);
        let splits_anew = std::mem::take(&mut state.splits_anew);
        let advanced = self.advance(state, &mut first);
        if let Err(why) = advanced {
            state.splits_anew |= splits_anew;
            return Err(Left::NotUnderstood(why));
        }
        self.opener.board.replies.add(1);
        if splits_anew && self.replies.send(Fetched::SplitAnew).await.is_err() {
            return Ok(None);
        }
        match self.replies.send(Fetched::Reply(first)).await {
            Ok(()) => Ok(Some(cursor)),
            Err(_) => Ok(None),
        }
    }
}

/// What it is when cursor after cursor is closed, and nothing is known to end the stream.
fn closed_again() -> (SourceFault, mongodb::error::Error) {
    let text = "the server closes the change stream again and again";
    (SourceFault::Resumable, custom(text))
}

/// How a question to the server ended.
enum Asked<T> {
    Answered(Result<T, mongodb::error::Error>),
    TimedOut,
    /// Told to stop meanwhile.
    Stopped,
}

/// Waits for the server, but not for ever: a connection may be dead without anybody knowing.
async fn ask<T>(
    stop: &CancellationToken,
    patience: Duration,
    question: impl Future<Output = Result<T, mongodb::error::Error>>,
) -> Asked<T> {
    tokio::select! {
        () = stop.cancelled() => Asked::Stopped,
        answer = tokio::time::timeout(patience, question) => match answer {
            Ok(answer) => Asked::Answered(answer),
            Err(_elapsed) => Asked::TimedOut,
        },
    }
}

fn timed_out() -> mongodb::error::Error {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let attempt = "reading the change stream";
        let error = errors::of_fault(attempt, fault.kind, Stage::Running, &fault.error);
        fault.given_up.error(error)
    }
}

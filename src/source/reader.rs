//! Reads the change stream ahead of the pump, reopens it when it breaks, and bounds what it holds.

use super::batch_size::BatchSize;
use super::cursor::{Cursor, MAX_AWAIT, Start, Watch};
use super::errors::{self, Moment, SourceFault};
use super::reply::Reply;
use crate::error::Error;
use crate::event::{Event, Operation};
use crate::pipeline::budget::{Budget, Reservation};
use crate::position::ResumeToken;
use crate::status::Board;
use backon::{BackoffBuilder, ExponentialBuilder};
use mongodb::Client;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What goes down the channel, in stream order.
pub enum Fetched {
    Reply(Reply),
    /// One event without what made it impossible to send: for the record-error policy.
    Refused(Reply, SourceFault),
    /// The stream cannot go on; everything before this was sent.
    Failed(Fault),
}

/// Why the stream cannot go on.
#[derive(Debug)]
pub struct Fault {
    pub kind: SourceFault,
    pub error: mongodb::error::Error,
}

/// One reply waits in the channel while another is on the wire.
pub const READ_AHEAD: usize = 1;

/// A read may take this long beyond the server's own wait, before the connection is given up.
const READ_GRACE: Duration = Duration::from_secs(30);

/// How many replies a lean cursor may take to come to an event that is known to be there.
const LEAN_REPLIES: usize = 30;

/// Longest pause between attempts to reconnect.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// When to try again after a failure.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// `RECONNECT_DELAY_MS`, the first pause.
    pub first: Duration,
    /// `RECONNECT_MAX_RETRIES`; 0 retries for ever.
    pub most: usize,
}

impl Retry {
    /// The pauses: doubling, with jitter, up to 30 s.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let builder = ExponentialBuilder::default()
            .with_min_delay(self.first)
            .with_max_delay(LONGEST_DELAY)
            .with_factor(2.0)
            .with_jitter();
        let builder = if self.most == 0 {
            builder.without_max_times()
        } else {
            builder.with_max_times(self.most)
        };
        builder.build()
    }
}

/// Reads one stream until it is told to stop or cannot go on.
pub struct Reader {
    pub client: Client,
    pub watch: Watch,
    pub retry: Retry,
    pub batch_size: BatchSize,
    pub budget: Arc<Budget>,
    pub board: Arc<Board>,
    pub replies: mpsc::Sender<Fetched>,
}

/// Why a cursor was left.
enum Left {
    /// The server closed it (after an `invalidate`, or without), or another batch size serves better.
    Reopen {
        pause: bool,
    },
    Failed(mongodb::error::Error),
    /// Nobody wants more.
    Stopped,
}

/// Where the cursor stands.
struct Place {
    last: ResumeToken,
    /// Whether the last event was a fragment with more to come: a token that only this process
    /// can go on from.
    in_split: bool,
    invalidated: bool,
    /// The token a cursor was opened with is looked for at its first `getMore`.
    moment: Moment,
    /// Whether the next cursor is asked for events with its first reply. One that is asked for none may
    /// be closed with an empty reply when an `invalidate` is ahead, and would never get there.
    eager: bool,
    /// Events still to be read one at a time, after one among them could not be sent.
    one_by_one: u32,
}

impl Reader {
    /// Reads from an open cursor on; `last` is the position it was opened at.
    pub async fn run(mut self, cursor: Cursor, last: ResumeToken, stop: CancellationToken) {
        let mut cursor = Some(cursor);
        let mut place = Place {
            last,
            in_split: false,
            invalidated: false,
            moment: Moment::Resuming,
            eager: false,
            one_by_one: 0,
        };
        let mut delays = self.retry.delays();
        loop {
            let left = match cursor.take() {
                Some(cursor) => {
                    let before = place.last.clone();
                    let left = self.read(cursor, &mut place, &stop).await;
                    if place.last != before {
                        delays = self.retry.delays();
                    }
                    left
                }
                None => match self.reopen(&mut place, &stop).await {
                    Ok(Some(opened)) => {
                        cursor = Some(opened);
                        continue;
                    }
                    Ok(None) => Left::Stopped,
                    Err(error) => Left::Failed(error),
                },
            };
            let mut last_error = None;
            let pause = match left {
                Left::Stopped => return,
                Left::Reopen { pause } => pause,
                Left::Failed(error) => {
                    self.board.mongo_connected.set(false);
                    let kind = errors::classify(&error, place.moment);
                    if kind.is_of_one_event() {
                        match self.approach(kind, &mut place, &stop).await {
                            Ok(true) => continue,
                            Ok(false) => return,
                            Err(None) => return self.fail(kind, error).await,
                            Err(Some(error)) => {
                                let kind = errors::classify(&error, Moment::Resuming);
                                return self.fail(kind, error).await;
                            }
                        }
                    }
                    if kind != SourceFault::Resumable {
                        return self.fail(kind, error).await;
                    }
                    self.board.reconnects.add(1);
                    self.board.source_error.set(errors::describe(&error));
                    tracing::warn!(
                        error = %errors::describe(&error),
                        "change stream interrupted, reconnecting"
                    );
                    last_error = Some(error);
                    true
                }
            };
            if pause {
                let Some(delay) = delays.next() else {
                    let error = last_error.unwrap_or_else(|| {
                        std::io::Error::other("the server closes the change stream again and again")
                            .into()
                    });
                    return self.fail(SourceFault::Resumable, error).await;
                };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
    }

    /// Reads replies until the cursor ends.
    async fn read(
        &mut self,
        mut cursor: Cursor,
        place: &mut Place,
        stop: &CancellationToken,
    ) -> Left {
        let mut expected = 0;
        let mut is_new = true;
        loop {
            // Before the reply is asked for: it is in memory as soon as it comes.
            let reservation = tokio::select! {
                () = stop.cancelled() => return Left::Stopped,
                taken = Reservation::take(&self.budget, expected) => taken,
            };
            let asked = Instant::now();
            let next = tokio::select! {
                () = stop.cancelled() => return Left::Stopped,
                next = tokio::time::timeout(MAX_AWAIT + READ_GRACE, cursor.next()) => next,
            };
            let batch = match next {
                Ok(Ok(Some(batch))) => batch,
                Ok(Ok(None)) if is_new && !place.eager => {
                    place.eager = true;
                    return Left::Reopen { pause: false };
                }
                Ok(Ok(None)) => {
                    place.eager = false;
                    tracing::info!(
                        invalidated = place.invalidated,
                        "the server closed the change stream, reopening it"
                    );
                    return Left::Reopen {
                        pause: !place.invalidated,
                    };
                }
                Ok(Err(error)) => return Left::Failed(error),
                Err(_elapsed) => {
                    self.batch_size.halve();
                    return Left::Failed(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
                }
            };
            self.board.mongo_connected.set(true);
            place.moment = Moment::Other;
            let mut reply = Reply::new(batch, Some(reservation));
            if is_new {
                self.leave_out_repeated(&mut reply, place);
            }
            is_new = false;
            expected = reply.len();
            let events = place.advance(&reply);
            if events > 0 {
                self.board.metrics.replied(asked.elapsed());
            }
            let resize = if place.one_by_one > 0 {
                place.one_by_one = place.one_by_one.saturating_sub(events as u32);
                place.one_by_one == 0 && !place.in_split
            } else {
                self.batch_size.observe(events, reply.len()) && !place.in_split
            };
            self.board.replies.add(1);
            if self.replies.send(Fetched::Reply(reply)).await.is_err() {
                return Left::Stopped;
            }
            if resize {
                tracing::debug!(
                    events = self.batch_size.events(),
                    "reopening with another batch size"
                );
                return Left::Reopen { pause: false };
            }
        }
    }

    /// Gets past an event that the server cannot send. The batch it was in is lost with it, so its
    /// neighbours are read one at a time until it is the next one; then it is read without what makes it
    /// too large. False when nobody wants more.
    async fn approach(
        &mut self,
        kind: SourceFault,
        place: &mut Place,
        stop: &CancellationToken,
    ) -> Result<bool, Option<mongodb::error::Error>> {
        if place.one_by_one == 0 {
            tracing::warn!(
                fault = ?kind,
                "the server cannot send an event; its neighbours are read one at a time"
            );
            place.one_by_one = self.batch_size.events().max(1);
            return Ok(true);
        }
        let start = Start::After(place.last.clone());
        let (mut cursor, _) =
            Cursor::open(&self.client, &self.watch.lean(), &start, 1, false).await?;
        for _ in 0..LEAN_REPLIES {
            let next = tokio::select! {
                () = stop.cancelled() => return Ok(false),
                next = tokio::time::timeout(MAX_AWAIT + READ_GRACE, cursor.next()) => next,
            };
            let Ok(Some(batch)) = next.map_err(|_elapsed| None)? else {
                return Err(None);
            };
            let reply = Reply::new(batch, None);
            let Some(token) = reply.first_event_token() else {
                continue;
            };
            place.last = token;
            place.one_by_one = 0;
            let sent = self.replies.send(Fetched::Refused(reply, kind)).await;
            return Ok(sent.is_ok());
        }
        Err(None)
    }

    async fn reopen(
        &mut self,
        place: &mut Place,
        stop: &CancellationToken,
    ) -> Result<Option<Cursor>, mongodb::error::Error> {
        place.moment = Moment::Resuming;
        let start = Start::After(place.last.clone());
        let opening = Cursor::open(
            &self.client,
            &self.watch,
            &start,
            if place.one_by_one > 0 {
                1
            } else {
                self.batch_size.events()
            },
            place.eager,
        );
        let (cursor, first) = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            opened = tokio::time::timeout(READ_GRACE, opening) => match opened {
                Ok(opened) => opened?,
                Err(_elapsed) => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            },
        };
        self.board.mongo_connected.set(true);
        place.invalidated = false;
        if !place.eager {
            // The position is where it was: an empty first reply says nothing about what is behind it.
            return Ok(Some(cursor));
        }
        let mut first = first;
        self.leave_out_repeated(&mut first, place);
        place.advance(&first);
        self.board.replies.add(1);
        match self.replies.send(Fetched::Reply(first)).await {
            Ok(()) => Ok(Some(cursor)),
            Err(_) => Ok(None),
        }
    }

    /// The first reply of a cursor may begin before the place it was opened at.
    fn leave_out_repeated(&self, reply: &mut Reply, place: &Place) {
        let repeated = reply.leave_out_until(&place.last);
        if repeated > 0 {
            self.board.went_back.add(repeated as u64);
            tracing::warn!(
                events = repeated,
                "the change stream went back after it was opened again; what was read before is left out"
            );
        }
    }

    async fn fail(self, kind: SourceFault, error: mongodb::error::Error) {
        let fault = Fault { kind, error };
        // Nobody there to hear it means that the pump has ended before.
        let _ = self.replies.send(Fetched::Failed(fault)).await;
    }
}

impl Place {
    /// Moves over a reply; returns how many events it held.
    fn advance(&mut self, reply: &Reply) -> usize {
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

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        if fault.kind == SourceFault::Resumable {
            let last = errors::describe(&fault.error);
            let detail = format!("RECONNECT_MAX_RETRIES is used up; the last: {last}");
            return Error::new(fault.kind.code(), detail);
        }
        errors::of_fault("reading the change stream", fault.kind, &fault.error)
    }
}

//! Reads the change stream ahead of the pump, reopens it when it breaks, and bounds what it holds.

mod approach;
mod closed;
mod order;
mod place;

use super::batch_size::BatchSize;
use super::cursor::{Cursor, MAX_AWAIT, Watch};
use super::errors::{self, Moment, SourceFault};
use super::reply::Reply;
use crate::config::Mongo;
use crate::error::Error;
use crate::pipeline::budget::{Budget, Reservation};
use crate::position::Position;
use crate::status::Board;
use crate::status::waiting::Awaited;
use backon::{BackoffBuilder, ExponentialBuilder};
use mongodb::Client;
use mongodb::error::ErrorKind;
use place::Place;
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

/// How long opening a cursor may take, before the connection is given up.
const OPENING_PATIENCE: Duration = Duration::from_secs(30);

/// A read may take this long: the server's own wait for an event is part of it.
pub const READ_PATIENCE: Duration = MAX_AWAIT.saturating_add(Duration::from_secs(30));

/// Longest pause between attempts to reconnect.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// A cursor that has replied so often is no longer one that is closed at once.
const SETTLED: u32 = 30;

/// When to try again after a failure.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// `RECONNECT_DELAY_MS`, the first pause.
    pub first: Duration,
    /// `RECONNECT_MAX_RETRIES`; 0 retries for ever.
    pub most: usize,
}

impl Retry {
    /// As configured.
    pub fn of(mongo: &Mongo) -> Self {
        Self {
            first: mongo.reconnect_delay,
            most: mongo.reconnect_max_retries,
        }
    }

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
    /// The server closes one cursor after the other, and none brings anything.
    ClosedAgain,
    Failed(mongodb::error::Error),
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
        let mut place = Place::at(&position);
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
                Left::ClosedAgain => !self.pass_hidden_end(&mut place, &stop).await,
                Left::Failed(error) => {
                    self.board.mongo_connected.set(false);
                    let kind = errors::classify(&error, place.moment);
                    let (kind, error) = if kind.is_of_one_event() {
                        match self.approach(kind, &mut place, &stop).await {
                            Ok(true) => continue,
                            Ok(false) => return,
                            Err(None) => (kind, error),
                            Err(Some(error)) => {
                                let moment = place.opening_moment();
                                (errors::classify(&error, moment), error)
                            }
                        }
                    } else {
                        (kind, error)
                    };
                    let kind = match kind {
                        SourceFault::TokenNotFound => match self.find(&mut place, &stop).await {
                            Ok(()) => continue,
                            Err(Some(kind)) => kind,
                            Err(None) => return,
                        },
                        kind => kind,
                    };
                    if kind != SourceFault::Resumable {
                        return self.fail(kind, error).await;
                    }
                    // As a reply that is longer than the driver takes, from a server with no limit of its
                    // own: no outage, and nothing to wait for.
                    if matches!(error.kind.as_ref(), ErrorKind::InvalidResponse { .. })
                        && self.batch_size.halve()
                    {
                        let events = self.batch_size.events();
                        tracing::debug!(events, %error, "reopening with a smaller batch size");
                        continue;
                    }
                    self.interrupted(&error, &mut place);
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
                let pause = tokio::time::sleep(delay);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.board.waits.on(Awaited::MongoDb, pause) => {}
                }
            }
        }
    }

    /// Says so once for each interruption, however many attempts it takes to end it.
    fn interrupted(&self, error: &mongodb::error::Error, place: &mut Place) {
        let error = errors::describe(error);
        self.board.source_error.set(error.as_str());
        if place.interrupted.is_some() {
            tracing::debug!(%error, "the change stream cannot be opened again yet");
            return;
        }
        place.interrupted = Some(Instant::now());
        self.board.reconnects.add(1);
        tracing::warn!(%error, "change stream interrupted, reconnecting");
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
        let (mut replied, opened) = (0, place.last.clone());
        loop {
            // Before the reply is asked for: it is in memory as soon as it comes.
            let reservation = tokio::select! {
                () = stop.cancelled() => return Left::Stopped,
                taken = Reservation::take(&self.budget, expected) => taken,
            };
            let asked = Instant::now();
            let batch = match self.ask(stop, READ_PATIENCE, cursor.next()).await {
                Asked::Answered(Ok(Some(batch))) => batch,
                Asked::Answered(Ok(None)) => return place.closed(is_new),
                Asked::Answered(Err(error)) => return Left::Failed(error),
                Asked::TimedOut => {
                    self.batch_size.halve();
                    return Left::Failed(timed_out());
                }
                Asked::Stopped => return Left::Stopped,
            };
            self.board.mongo_connected.set(true);
            place.moment = Moment::Other;
            if let Some(since) = place.interrupted.take() {
                let seconds = since.elapsed().as_secs();
                tracing::info!(after_seconds = seconds, "the change stream goes on");
            }
            let mut reply = Reply::new(batch, Some(reservation));
            if is_new || place.opened_at.is_some() {
                self.leave_out_repeated(&mut reply, place);
            }
            is_new = false;
            expected = reply.len();
            let events = self.advance(place, &mut reply);
            if events > 0 {
                self.board.metrics.replied(asked.elapsed());
            }
            replied += 1;
            // Also a cursor that is about to be closed may reply once, with another token.
            if events > 0 || (replied > 1 && place.last != opened) || replied >= SETTLED {
                place.closures = 0;
                self.board.closed_again.set(false);
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

    /// [Asks](ask) under the name of what is waited for.
    async fn ask<T>(
        &self,
        stop: &CancellationToken,
        patience: Duration,
        question: impl Future<Output = Result<T, mongodb::error::Error>>,
    ) -> Asked<T> {
        let asking = ask(stop, patience, question);
        self.board.waits.on(Awaited::MongoDb, asking).await
    }

    async fn reopen(
        &mut self,
        place: &mut Place,
        stop: &CancellationToken,
    ) -> Result<Option<Cursor>, mongodb::error::Error> {
        place.moment = place.opening_moment();
        let start = place.start();
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
        let (cursor, first) = match self.ask(stop, OPENING_PATIENCE, opening).await {
            Asked::Answered(opened) => opened?,
            Asked::TimedOut => return Err(timed_out()),
            Asked::Stopped => return Ok(None),
        };
        self.board.mongo_connected.set(true);
        place.invalidated = false;
        if !place.eager {
            // The position is where it was: an empty first reply says nothing about what is behind it.
            return Ok(Some(cursor));
        }
        let mut first = first;
        self.leave_out_repeated(&mut first, place);
        self.advance(place, &mut first);
        self.board.replies.add(1);
        match self.replies.send(Fetched::Reply(first)).await {
            Ok(()) => Ok(Some(cursor)),
            Err(_) => Ok(None),
        }
    }

    async fn fail(self, kind: SourceFault, error: mongodb::error::Error) {
        let fault = Fault { kind, error };
        // Nobody there to hear it means that the pump has ended before.
        let _ = self.replies.send(Fetched::Failed(fault)).await;
    }
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
        if fault.kind == SourceFault::Resumable {
            let last = errors::describe(&fault.error);
            let detail = format!("RECONNECT_MAX_RETRIES is used up; the last: {last}");
            return Error::new(fault.kind.code(), detail);
        }
        errors::of_fault("reading the change stream", fault.kind, &fault.error)
    }
}

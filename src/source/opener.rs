//! Opens the change stream's cursor: at a start, for an incarnation, behind a gap. The one loop that tries
//! that again.

use super::batch_size::BatchSize;
use super::capabilities::{self, Learned};
use super::cursor::{Cursor, READ_PATIENCE, Start};
use super::watch::Watch;
use crate::change::position::{ClusterTime, ResumeToken};
use crate::error::{Code, Error};
use crate::mongo::errors::{self, SourceFault, Stage};
use crate::retry::{Delays, Retry};
use crate::status::Board;
use crate::status::waiting::Awaited;
use mongodb::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// How one stream's cursors are opened.
#[derive(Clone)]
pub struct Opener {
    pub client: Client,
    pub watch: Watch,
    pub batch_size: BatchSize,
    pub retry: Retry,
    pub board: Arc<Board>,
    pub stop: CancellationToken,
    /// Whether the stream was open: what is refused from then on may be given back.
    pub has_run: Arc<AtomicBool>,
}

/// A cursor, and the position that it starts from where the server says so.
pub struct Opened {
    /// None where the server does not find the token to start after: the reader looks for its time.
    pub cursor: Option<Cursor>,
    pub token: Option<ResumeToken>,
    /// Where it is opened, for a token that is absent.
    pub at: Option<ClusterTime>,
}

/// What the first reply of a cursor says of the position it was opened at.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Ahead {
    /// It is there.
    Ready(Cursor),
    /// Its token is not found.
    TokenNotFound,
    /// Something else came between, which the reader will see to with a cursor of its own.
    Unknown,
}

impl Opener {
    /// How far the stream has come.
    pub fn stage(&self) -> Stage {
        match self.has_run.load(Ordering::Relaxed) {
            true => Stage::Running,
            false => Stage::Starting,
        }
    }

    /// The pauses between attempts in a row.
    pub fn delays(&self) -> Delays {
        self.retry.delays()
    }

    /// Opens a cursor, without what the server lacks; none when asked to stop.
    ///
    /// Where the server gives no post-batch tokens, a new stream begins at a time, which is known before an
    /// event is read just as well.
    ///
    /// # Errors
    /// What is permanent, or was not over within `delays`.
    pub async fn open(&self, start: &Start, delays: &mut Delays) -> Result<Option<Opened>, Error> {
        // Health tells why meanwhile.
        let waiting = self.board.waits.begin(Awaited::MongoDb);
        let mut start = start.clone();
        loop {
            let events = self.batch_size.events();
            let opening = Cursor::open(&self.client, &self.watch, &start, events, false);
            let opened = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                opened = self.board.waits.on(Awaited::MongoDb, opening) => opened,
            };
            let error = match opened {
                Ok((cursor, first)) => {
                    self.board.mongo_refuses.set(false);
                    let token = first.post_batch_token();
                    let (token, at) = match (token, &start, first.operation_cluster_time()) {
                        (None, Start::Now, Some(now)) => {
                            start = Start::At(now.next());
                            continue;
                        }
                        (None, Start::At(time), _) => (Some(ResumeToken::absent()), Some(*time)),
                        (token, _, _) => (token, None),
                    };
                    return Ok(Some(Opened {
                        cursor: Some(cursor),
                        token,
                        at,
                    }));
                }
                Err(error) => error,
            };
            let fault = errors::classify(&error, start.phase());
            match capabilities::learn(&self.client, &self.watch, &start, &error).await {
                Learned::Nothing => {}
                Learned::Otherwise => continue,
                Learned::Missing(why) => return Err(Error::new(Code::SourceRefused, why)),
            }
            if fault == SourceFault::TokenNotFound {
                return Ok(Some(Opened {
                    cursor: None,
                    token: None,
                    at: None,
                }));
            }
            self.board.mongo_refuses.set(fault.is_of_the_user());
            let attempt = "opening the change stream";
            let refusal = errors::of_fault(attempt, fault, self.stage(), &error);
            self.board.mongo_connected.set(false);
            waiting.because(refusal.to_string());
            if !self.pause(refusal, delays).await? {
                return Ok(None);
            }
        }
    }

    /// Asks a cursor that was opened at `start` for its first reply, and keeps it there: a server looks only
    /// then whether it still holds the position.
    ///
    /// # Errors
    /// [`Code::HistoryLost`](crate::error::Code::HistoryLost) and
    /// [`Code::TokenInvalid`](crate::error::Code::TokenInvalid) where it cannot.
    pub async fn look_ahead(&self, mut cursor: Cursor, start: &Start) -> Result<Ahead, Error> {
        let looking = tokio::time::timeout(READ_PATIENCE, cursor.look_ahead());
        let looked = tokio::select! {
            () = self.stop.cancelled() => return Ok(Ahead::Ready(cursor)),
            looked = self.board.waits.on(Awaited::MongoDb, looking) => looked,
        };
        match looked {
            Ok(Ok(())) => Ok(Ahead::Ready(cursor)),
            Ok(Err(error)) => match errors::classify(&error, start.phase()) {
                SourceFault::TokenNotFound => Ok(Ahead::TokenNotFound),
                fault @ (SourceFault::HistoryLost | SourceFault::TokenInvalid) => {
                    let attempt = "reading the change stream";
                    Err(errors::of_fault(attempt, fault, self.stage(), &error))
                }
                _ => Ok(Ahead::Unknown),
            },
            Err(_elapsed) => Ok(Ahead::Unknown),
        }
    }

    /// Waits before the next attempt; false when asked to stop meanwhile.
    ///
    /// # Errors
    /// The error itself, when there should be no other attempt.
    pub async fn pause(&self, refusal: Error, delays: &mut Delays) -> Result<bool, Error> {
        let delay = delays.after_error(&refusal)?;
        self.board.source_error.set(refusal.detail.as_str());
        tracing::warn!(code = refusal.code.name(), error = %refusal, "trying again");
        let pause = tokio::time::sleep(delay);
        Ok(tokio::select! {
            () = self.stop.cancelled() => false,
            () = self.board.waits.on(Awaited::MongoDb, pause) => true,
        })
    }
}

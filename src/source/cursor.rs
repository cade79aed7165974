//! Opens the change stream's cursor.

use super::capabilities;
use super::reply::Reply;
use super::watch::Watch;
use crate::change::position::{ClusterTime, Position, ResumeToken};
use crate::mongo::errors::Phase;
use bson::RawDocumentBuf;
use futures_util::StreamExt;
use mongodb::Client;
use mongodb::error::Error;
use mongodb::options::{CursorType, ReadPreference, RunCursorCommandOptions, SelectionCriteria};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use std::time::Duration;

/// How long the server waits for an event before it answers with an idle token. An event is answered at once: this is
/// only how often a stream at rest asks, which is most of what it costs, and how old its idle token may be.
pub const MAX_AWAIT: Duration = Duration::from_secs(3);

/// A read may take this long: the server's own wait for an event is part of it.
pub const READ_PATIENCE: Duration = MAX_AWAIT.saturating_add(Duration::from_secs(30));

/// From where a cursor reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// After this token; also after an `invalidate`, which `resumeAfter` would refuse.
    After(ResumeToken),
    /// From this time of the oplog on.
    At(ClusterTime),
    /// From now on. Only for a stream without a checkpoint.
    Now,
}

impl Start {
    /// Behind a position; one without a token tells the time from which to read.
    pub fn behind(position: &Position) -> Self {
        match position.cluster_time {
            Some(time) if position.token.is_absent() => Self::At(time),
            _ => Self::After(position.token.clone()),
        }
    }

    /// What an error means for a stream that is being opened here.
    pub fn phase(&self) -> Phase {
        match self {
            Self::After(_) => Phase::Resuming,
            Self::At(_) | Self::Now => Phase::Other,
        }
    }
}

/// An open cursor.
pub struct Cursor {
    inner: RawBatchCursor,
    /// A reply that was asked for already.
    ahead: Option<RawBatch>,
}

impl Cursor {
    /// Opens the cursor and returns it with the first reply: empty, with the position it starts from as
    /// its post-batch token, unless `eager`.
    ///
    /// # Errors
    /// The driver's error; `errors::classify` says what it means.
    pub async fn open(
        client: &Client,
        watch: &Watch,
        start: &Start,
        batch_events: u32,
        eager: bool,
    ) -> Result<(Self, Reply), Error> {
        let first_batch = if eager { batch_events } else { 0 };
        let command = RawDocumentBuf::try_from(&watch.command(start, first_batch))?;
        let mut options = RunCursorCommandOptions::default();
        options.cursor_type = Some(CursorType::TailableAwait);
        options.batch_size = Some(batch_events);
        options.max_time = Some(watch.patience);
        options.selection_criteria = Some(selection(client));
        let mut inner = client
            .database(watch.command_database())
            .run_raw_cursor_command(command)
            .with_options(options)
            .batch()
            .await?;
        let first = self::first(&mut inner).await?;
        let cursor = Self { inner, ahead: None };
        let first = Reply::new(first, None);
        capabilities::opened(watch, start, &first);
        Ok((cursor, first))
    }

    /// Waits for the next reply; none when the server has closed the cursor.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn next(&mut self) -> Result<Option<RawBatch>, Error> {
        match self.ahead.take() {
            Some(reply) => Ok(Some(reply)),
            None => self.inner.next().await.transpose(),
        }
    }

    /// Waits for the next reply and keeps it for [`next`](Self::next): a server looks only then whether it
    /// holds the place that the cursor was opened at.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn look_ahead(&mut self) -> Result<(), Error> {
        if self.ahead.is_none() {
            self.ahead = self.inner.next().await.transpose()?;
        }
        Ok(())
    }
}

/// Which member a command of our own is for: the driver takes no read preference of the URI for it by itself.
pub(crate) fn selection(client: &Client) -> SelectionCriteria {
    let primary = || SelectionCriteria::ReadPreference(ReadPreference::Primary);
    client.selection_criteria().cloned().unwrap_or_else(primary)
}

/// The first reply of a cursor.
///
/// # Errors
/// The driver's error.
pub(crate) async fn first(cursor: &mut RawBatchCursor) -> Result<RawBatch, Error> {
    let first = cursor.next().await.transpose()?;
    first.ok_or_else(|| {
        Error::from(std::io::Error::other(
            "the server closed the cursor before its first reply",
        ))
    })
}

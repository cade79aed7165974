//! Opens the change stream's cursor.

use super::reply::Reply;
use crate::change::position::{ClusterTime, ResumeToken};
use crate::mongo::errors::SourceFault;
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::StreamExt;
use mongodb::Client;
use mongodb::error::Error;
use mongodb::options::{CursorType, RunCursorCommandOptions, SelectionCriteria};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use std::time::Duration;

/// How long the server waits for an event before it answers with an idle token.
pub const MAX_AWAIT: Duration = Duration::from_secs(1);

/// From where a cursor reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// After this token; also after an `invalidate`, which `resumeAfter` would refuse.
    After(ResumeToken),
    /// From this moment of the oplog on.
    At(ClusterTime),
    /// From now on. Only for a stream without a checkpoint.
    Now,
}

/// What to watch, already put into the server's words.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The database; none watches the deployment.
    pub database: Option<String>,
    /// Options of the `$changeStream` stage, without the start.
    pub options: Document,
    /// The stages behind it: our filter, then the user's.
    pub stages: Vec<Document>,
    /// Whether the server splits events over 16 MiB (`$changeStreamSplitLargeEvent`, 6.0.9+).
    pub split_large: bool,
    /// The same events with little more than token and key, to get past one that cannot be sent whole.
    pub lean: Lean,
}

/// A stream without images and update descriptions, and without the user's stages: one that matches on
/// the document would hide the very event that is looked for.
#[derive(Debug, Clone, Default)]
pub struct Lean {
    /// Options of the `$changeStream` stage, without images.
    pub options: Document,
    /// Our own filter alone.
    pub stages: Vec<Document>,
}

impl Watch {
    /// Gives up splitting large events after a refusal, which may be that of a server that does not know the
    /// stage. False where there is nothing to give up, or the fault is another.
    pub fn give_up_splitting(&mut self, fault: SourceFault) -> bool {
        let is_refusal = matches!(fault, SourceFault::Refused | SourceFault::Unknown);
        let gives_up = self.split_large && is_refusal;
        self.split_large &= !gives_up;
        gives_up
    }

    /// Whether stages of the user's follow our own.
    pub fn has_user_stages(&self) -> bool {
        self.stages.len() > self.lean.stages.len()
    }

    /// The aggregate command that opens a cursor; with a first batch of 0 events the position it starts
    /// from is known before any event is read.
    pub fn command(&self, start: &Start, first_batch: u32) -> Document {
        let mut change_stream = self.options.clone();
        match start {
            Start::After(token) => {
                let token = Document::try_from(token.as_raw()).unwrap_or_default();
                change_stream.insert("startAfter", token);
            }
            Start::At(time) => {
                let time = bson::Timestamp {
                    time: time.seconds,
                    increment: time.increment,
                };
                change_stream.insert("startAtOperationTime", time);
            }
            Start::Now => {}
        }
        let mut pipeline = vec![Bson::from(doc! { "$changeStream": change_stream })];
        pipeline.extend(self.stages.iter().cloned().map(Bson::from));
        if self.split_large {
            pipeline.push(Bson::from(doc! { "$changeStreamSplitLargeEvent": {} }));
        }
        doc! {
            "aggregate": 1,
            "pipeline": pipeline,
            "cursor": { "batchSize": first_batch },
            // What was not replicated to a majority may be rolled back: never an event.
            "readConcern": { "level": "majority" },
        }
    }

    /// What to watch to learn an event's token and key alone.
    pub fn lean(&self) -> Self {
        let mut stages = self.lean.stages.clone();
        stages.push(doc! { "$unset": "updateDescription" });
        Self {
            database: self.database.clone(),
            options: self.lean.options.clone(),
            stages,
            split_large: false,
            lean: self.lean.clone(),
        }
    }

    /// What to watch to learn when the database was dropped: whatever hides that or the `invalidate` that
    /// follows, its time tells where the stream goes on.
    pub fn drops(&self) -> Self {
        let dropped = ["dropDatabase", "invalidate"];
        Self {
            stages: vec![doc! { "$match": { "operationType": { "$in": dropped.to_vec() } } }],
            ..self.lean()
        }
    }

    /// The database the command is sent to.
    pub fn command_database(&self) -> &str {
        self.database.as_deref().unwrap_or("admin")
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
        options.max_time = Some(MAX_AWAIT);
        // A command of our own takes no read preference from the URI by itself.
        options.selection_criteria = client.selection_criteria().cloned().or_else(primary);
        let mut inner = client
            .database(watch.command_database())
            .run_raw_cursor_command(command)
            .with_options(options)
            .batch()
            .await?;
        let first = inner.next().await.transpose()?;
        let first = first.ok_or_else(|| {
            Error::from(std::io::Error::other(
                "the server closed the cursor before its first reply",
            ))
        })?;
        let cursor = Self { inner, ahead: None };
        Ok((cursor, Reply::new(first, None)))
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

fn primary() -> Option<SelectionCriteria> {
    Some(SelectionCriteria::ReadPreference(
        mongodb::options::ReadPreference::Primary,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_always_starts_after_and_never_resumes_after() {
        let watch = Watch {
            database: Some("d".into()),
            options: doc! { "fullDocument": "updateLookup" },
            stages: vec![doc! { "$match": {} }],
            split_large: true,
            lean: Lean::default(),
        };
        let command = watch.command(&Start::After(ResumeToken::from_data("82")), 0);
        let pipeline = command.get_array("pipeline").unwrap();
        let first = pipeline[0]
            .as_document()
            .unwrap()
            .get_document("$changeStream")
            .unwrap();
        assert_eq!(
            first.get_document("startAfter").unwrap(),
            &doc! { "_data": "82" }
        );
        assert!(!first.contains_key("resumeAfter"));
        let last = pipeline.last().unwrap().as_document().unwrap();
        assert!(last.contains_key("$changeStreamSplitLargeEvent"));
    }
}

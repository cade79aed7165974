//! The queries that read a range, each in a window.

use super::marks::Window;
use super::plan::Of;
use super::reading::Reader;
use crate::change::position::ClusterTime;
use crate::mongo::describe::describe;
use crate::mongo::errors::{self, Phase, SourceFault};
use crate::source::cursor;
use bson::{Document, RawDocumentBuf, doc};
use futures_util::StreamExt;
use mongodb::options::{ReadPreference, RunCursorCommandOptions, SelectionCriteria};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a reply may take to a query that is not filtered.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to one that is: it may look at a whole collection for its first row.
const FILTER_PATIENCE: Duration = Duration::from_secs(1800);

/// What a query is to read.
pub(super) struct Asked {
    pub(super) condition: Document,
    /// Whether nothing of the range lies behind what the condition matches.
    pub(super) is_of_all: bool,
    /// How many documents a reply holds at most.
    pub(super) limit: u64,
}

/// A query that runs. Its window was opened before it, and stays open for all of its replies: a server may read all of
/// them at the beginning.
pub(super) struct Query {
    cursor: RawBatchCursor,
    pub(super) window: Arc<Window>,
    pub(super) asked: Asked,
}

impl Reader {
    /// Asks until there is a first reply: in a window of its own each time.
    ///
    /// # Errors
    /// Why there will be none.
    pub(super) async fn begin(&self, of: &Of, asked: Asked) -> Result<(Query, RawBatch), String> {
        let mut delays = self.source.retry.delays();
        loop {
            let window = self.marks.open();
            let time = window
                .low()
                .filter(|_| self.takes_time.load(Ordering::Relaxed));
            let command = self.command(of, &asked, time);
            let error = match within(patience(of), self.ask(of, command, asked.limit)).await {
                Ok((cursor, batch)) => {
                    self.source.board.snapshots.set_problem(None);
                    let window = Arc::new(window);
                    let query = Query {
                        cursor,
                        window,
                        asked,
                    };
                    return Ok((query, batch));
                }
                Err(error) => error,
            };
            drop(window);
            let attempt = format!("reading {}", of.at);
            let fault = errors::classify(&error, Phase::Other);
            let is_refused = matches!(fault, SourceFault::Refused | SourceFault::Unknown);
            if is_refused && time.is_some() && self.is_on_primary() {
                // Some servers do not know it; on a primary nothing is older.
                self.takes_time.store(false, Ordering::Relaxed);
                continue;
            }
            if fault == SourceFault::Refused {
                return Err(errors::error(&attempt, &error, Phase::Other).detail);
            }
            self.pause(&attempt, &error, &mut delays).await;
        }
    }

    /// The next reply of a query; none where the query has failed: whether the next one is answered decides what is
    /// said of it.
    pub(super) async fn more(&self, of: &Of, mut query: Query) -> Option<(Query, RawBatch)> {
        let more = async {
            let next = query.cursor.next().await;
            let ended = || std::io::Error::other("the server closed the cursor before its end");
            next.unwrap_or_else(|| Err(ended().into()))
        };
        match within(patience(of), more).await {
            Ok(batch) => Some((query, batch)),
            Err(error) => {
                let error = describe(&error);
                tracing::debug!(error, collection = %of.at, "a query of the snapshot ended early");
                None
            }
        }
    }

    fn is_on_primary(&self) -> bool {
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        self.source.selection == primary
    }

    fn command(&self, of: &Of, asked: &Asked, time: Option<ClusterTime>) -> Document {
        let mut concern = doc! {"level": "majority"};
        if let Some(time) = time {
            let time = bson::Timestamp::from(time);
            concern.insert("afterClusterTime", time);
        }
        let condition = &asked.condition;
        let filter = match &of.filter {
            None => condition.clone(),
            Some(filter) if condition.is_empty() => filter.clone(),
            Some(filter) => doc! {"$and": [condition.clone(), filter.clone()]},
        };
        let mut command = doc! {
            "find": &of.at.collection,
            "filter": filter,
            "sort": {"_id": 1},
            "batchSize": i64::try_from(asked.limit).unwrap_or(i64::MAX),
            "readConcern": concern,
        };
        if of.filter.is_some() {
            // Another index would have everything sorted first.
            command.insert("hint", doc! {"_id": 1});
        }
        command
    }

    async fn ask(
        &self,
        of: &Of,
        command: Document,
        limit: u64,
    ) -> mongodb::error::Result<(RawBatchCursor, RawBatch)> {
        let command = RawDocumentBuf::try_from(&command)?;
        let mut options = RunCursorCommandOptions::default();
        options.selection_criteria = Some(self.source.selection.clone());
        options.batch_size = u32::try_from(limit).ok();
        let mut cursor = self
            .source
            .client
            .database(&of.at.database)
            .run_raw_cursor_command(command)
            .with_options(options)
            .batch()
            .await?;
        let first = cursor::first(&mut cursor).await?;
        Ok((cursor, first))
    }
}

fn patience(of: &Of) -> Duration {
    match of.filter {
        Some(_) => FILTER_PATIENCE,
        None => PATIENCE,
    }
}

async fn within<T>(
    patience: Duration,
    asked: impl Future<Output = mongodb::error::Result<T>>,
) -> mongodb::error::Result<T> {
    let answer = tokio::time::timeout(patience, asked).await;
    answer.unwrap_or_else(|_elapsed| {
        let seconds = patience.as_secs();
        Err(std::io::Error::other(format!("no answer within {seconds} s")).into())
    })
}

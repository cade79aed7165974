//! The plain change stream of a database, as a reply after the other.

use crate::error::Fallible;
use bson::{Bson, RawDocumentBuf, doc};
use futures_util::StreamExt;
use mongodb::Client;
use mongodb::options::{CursorType, RunCursorCommandOptions};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use std::time::Duration;

/// Opens the change stream of a database: after a token, or from now.
///
/// # Errors
/// The server's.
pub async fn open(
    client: &Client,
    database: &str,
    after: Option<&str>,
    batch: u32,
    stages: &str,
) -> Fallible<RawBatchCursor> {
    let mut stage = doc! { "fullDocument": "updateLookup" };
    if let Some(token) = after {
        stage.insert("startAfter", doc! { "_data": token });
    }
    let mut pipeline = vec![Bson::from(doc! { "$changeStream": stage })];
    if let Bson::Array(stages) = Bson::try_from(serde_json::from_str::<serde_json::Value>(stages)?)?
    {
        pipeline.extend(stages);
    }
    let command = doc! {
        "aggregate": 1,
        "pipeline": pipeline,
        "cursor": { "batchSize": 0 },
    };
    let mut options = RunCursorCommandOptions::default();
    options.cursor_type = Some(CursorType::TailableAwait);
    options.batch_size = Some(batch);
    options.max_time = Some(Duration::from_secs(1));
    let cursor = client
        .database(database)
        .run_raw_cursor_command(RawDocumentBuf::try_from(&command)?)
        .with_options(options)
        .batch()
        .await?;
    Ok(cursor)
}

/// The token of this moment: where a stream of what comes next begins.
///
/// # Errors
/// The server's.
pub async fn token(client: &Client, database: &str) -> Fallible<String> {
    let mut cursor = open(client, database, None, 1, "[]").await?;
    let reply = cursor.next().await.ok_or("the stream ended")??;
    let cursor = reply.as_raw_document().get_document("cursor")?;
    let token = cursor.get_document("postBatchResumeToken")?;
    Ok(token.get_str("_data")?.to_owned())
}

/// The events of a reply, each one whole BSON document.
///
/// # Errors
/// When the reply is not of a cursor's shape.
pub fn events(reply: &RawBatch) -> Fallible<impl Iterator<Item = Fallible<&[u8]>>> {
    let events = reply.doc_slices()?.into_iter();
    Ok(events.map(|event| {
        let event = event?.as_document().ok_or("an event is no document")?;
        Ok(event.as_bytes())
    }))
}

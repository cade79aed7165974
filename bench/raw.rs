//! The limit: the same stream read to its end, and nothing done with it.
//!
//! The plain `$changeStream` without Tailwater's filter, with its batch size and its read-ahead.

use crate::process::usage;
use crate::{Fallible, load};
use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};
use futures_util::StreamExt;
use mongodb::Client;
use mongodb::options::{CursorType, RunCursorCommandOptions};
use mongodb::raw_batch_cursor::RawBatchCursor;
use std::time::{Duration, Instant};
use tailwater::source::reply::Reply;

#[derive(clap::Args)]
pub struct Settings {
    #[arg(long)]
    mongodb_uri: String,
    #[arg(long)]
    events: u64,
    #[arg(long, default_value_t = 1_000)]
    batch: u32,
    /// Replies that may wait while another is on the wire.
    #[arg(long, default_value_t = 1)]
    read_ahead: usize,
    /// Stages behind `$changeStream`, as a JSON array: what they cost the server.
    #[arg(long, default_value = "[]")]
    stages: String,
}

/// Opens the change stream of the benchmark's database: from the oldest entry of the oplog, or from now.
///
/// # Errors
/// The server's.
pub async fn open(
    client: &Client,
    from_oldest: bool,
    batch: u32,
    stages: &str,
) -> Fallible<RawBatchCursor> {
    let mut stage = doc! { "fullDocument": "updateLookup" };
    if from_oldest {
        let oplog = client.database("local").collection::<Document>("oplog.rs");
        let first = oplog.find_one(doc! {}).sort(doc! { "$natural": 1 }).await?;
        let first: Timestamp = first.ok_or("the oplog is empty")?.get_timestamp("ts")?;
        stage.insert("startAtOperationTime", first);
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
        .database(load::DATABASE)
        .run_raw_cursor_command(RawDocumentBuf::try_from(&command)?)
        .with_options(options)
        .batch()
        .await?;
    Ok(cursor)
}

/// Reads until `events` came, and prints the events a second from the start on, the same from the first
/// reply with events on, the CPU time in µs and the peak memory in bytes.
///
/// # Errors
/// The server's.
pub async fn run(settings: &Settings) -> Fallible {
    let began = Instant::now();
    let client = Client::with_uri_str(&settings.mongodb_uri).await?;
    let mut cursor = open(&client, true, settings.batch, &settings.stages).await?;
    let (sender, mut replies) = tokio::sync::mpsc::channel(settings.read_ahead);
    tokio::spawn(async move {
        while let Some(reply) = cursor.next().await {
            if sender.send(reply).await.is_err() {
                return;
            }
        }
    });
    let mut seen = 0;
    let mut first = None;
    while seen < settings.events {
        let reply = Reply::new(replies.recv().await.ok_or("the stream ended")??, None);
        seen += reply.events()?.map_while(Result::ok).count() as u64;
        if seen > 0 {
            first.get_or_insert_with(|| {
                eprintln!("first events after {} ms", began.elapsed().as_millis());
                (Instant::now(), seen)
            });
        }
    }
    let (first, before) = first.ok_or("no events")?;
    let usage = usage("self")?;
    println!(
        "{} {} {} {}",
        seen as f64 / began.elapsed().as_secs_f64(),
        (seen - before) as f64 / first.elapsed().as_secs_f64(),
        usage.cpu.as_micros(),
        usage.peak_rss
    );
    Ok(())
}

//! The limit: the same stream read to its end, and nothing done with it; or, as `produce` has it, each
//! event handed on untouched.
//!
//! The plain `$changeStream` without Tailwater's filter, with its batch size and its read-ahead.

use crate::error::Fallible;
use crate::process::usage;
use crate::produce::Producer;
use crate::record::{RAW, Run, value};
use crate::servers::Servers;
use crate::stream;
use futures_util::StreamExt;
use mongodb::Client;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Settings {
    #[arg(long)]
    mongodb_uri: String,
    #[arg(long)]
    database: String,
    /// The token after which to begin, as Tailwater's `START_AT=token:` takes it.
    #[arg(long)]
    after: String,
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
    /// Where to produce each event's BSON.
    #[arg(long, requires = "topic")]
    kafka_brokers: Option<String>,
    #[arg(long)]
    topic: Option<String>,
    /// More properties of the producer, as name=value.
    #[arg(long = "property")]
    properties: Vec<String>,
}

/// Reads until `events` came. Without a topic it prints what it measured; with one it stays until it is
/// ended, since its caller watches the topic as it does for every subject.
///
/// # Errors
/// The server's or the broker's.
pub async fn run(settings: &Settings) -> Fallible {
    let began = Instant::now();
    let servers = Servers::of_environment();
    let producer = match (&settings.kafka_brokers, &settings.topic) {
        (Some(brokers), Some(topic)) => Some(Producer::new(brokers, topic, &settings.properties)?),
        _ => None,
    };
    let client = Client::with_uri_str(&settings.mongodb_uri).await?;
    let after = Some(settings.after.as_str());
    let stages = &settings.stages;
    let mut cursor =
        stream::open(&client, &settings.database, after, settings.batch, stages).await?;
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
        let reply = replies.recv().await.ok_or("the stream ended")??;
        for event in stream::events(&reply)? {
            let event = event?;
            if let Some(producer) = &producer {
                producer.send(event, usize::try_from(seen)?).await?;
            }
            seen += 1;
        }
        if seen > 0 && first.is_none() {
            first = Some((servers.now()?, seen, usage("self")?.cpu));
        }
    }
    if let Some(producer) = producer {
        producer.finish(seen)?;
        return std::future::pending().await;
    }
    let (first, before, cpu_before) = first.ok_or("no events")?;
    let (end, usage) = (servers.now()?, usage("self")?);
    let mut run = Run::new("", "", RAW, 0);
    let (all, later) = (seen as f64, (seen - before) as f64);
    let cpu = usage.cpu - cpu_before;
    // Where all came in one reply, there was no flow to be measured.
    if seen > before {
        run.set(value::RATE, later / (end.at() - first.at()).as_secs_f64())
            .set(value::CPU_US, cpu.as_secs_f64() * 1e6 / later);
        end.note_since(&first, cpu, &mut run);
    }
    let first_ms = (first.at() - began).as_secs_f64() * 1e3;
    let from_start = all / (end.at() - began).as_secs_f64();
    run.set(value::FIRST_MS, first_ms)
        .set(value::RATE_FROM_START, from_start)
        .set(
            value::CPU_US_WITH_START,
            usage.cpu.as_secs_f64() * 1e6 / all,
        )
        .set(value::RSS_MB, usage.peak_rss as f64 / 1e6);
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

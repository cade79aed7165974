//! A snapshot of what is there: documents a second, beside queries that only read the same collections, and beside the
//! connectors' own.

use crate::connector::{Begin, Connector};
use crate::error::Fallible;
use crate::kafka::Broker;
use crate::load::{self, Waiting};
use crate::process::Measured;
use crate::produce::Producer;
use crate::record::{Results, Run, value};
use crate::settings::Settings;
use crate::subject::{self, Subject, Variant};
use bson::{RawDocumentBuf, doc};
use futures_util::StreamExt;
use mongodb::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MODE: &str = "snapshot";
const COLLECTIONS: u64 = 10;
/// As many queries at a time as Tailwater runs by default.
const QUERIES: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(900);
/// How long no row may come.
const STALLED: Duration = Duration::from_secs(90);
/// The subjects beside Tailwater.
const FIND: &str = "plain find";
const FIND_AND_PRODUCE: &str = "plain find, produced";

/// # Errors
/// What went wrong with a server or the subject.
pub async fn run(settings: &Settings) -> Fallible {
    let client = Client::with_uri_str(&settings.mongodb_uri).await?;
    let broker = Broker::new(&settings.kafka_brokers)?;
    let mut results = Results::open(&settings.folder)?;
    let variant = Variant::with("Tailwater", &[("SNAPSHOT", "initial")]);
    let subject = Subject::Tailwater(variant.clone());
    results.setting(&subject.name(), subject.settings(settings))?;
    results.setting(
        FIND,
        format!("{QUERIES} collections at a time, each by one query with the server's own batches; nothing is produced"),
    )?;
    results.setting(
        FIND_AND_PRODUCE,
        "the same, and each document's BSON is produced untouched, without key or headers, by the measuring process".to_owned(),
    )?;
    let documents = settings.events(1_000_000, 20_000);
    let waiting = Waiting {
        collections: COLLECTIONS,
        ..Waiting::inserts(load::DATABASE, documents)
    };
    load::fill(&client, &waiting).await?;
    let case = format!("{documents} documents in {COLLECTIONS} collections");
    for turn in 0..settings.turns(1) {
        let seconds = find(&client, documents, None).await?;
        let mut run = Run::new(MODE, &case, FIND, turn);
        run.set(value::RATE, documents as f64 / seconds);
        results.run(run)?;

        let topic = format!("found.{}", subject::unique());
        broker.create(&topic).await?;
        let producer = Producer::new(&settings.kafka_brokers, &topic, &[])?;
        let seconds = find(&client, documents, Some(Arc::new(producer))).await?;
        let mut run = Run::new(MODE, &case, FIND_AND_PRODUCE, turn);
        run.set(value::RATE, documents as f64 / seconds);
        results.run(run)?;

        let topic = format!("snapshot.{}", subject::unique());
        broker.create(&topic).await?;
        let running = subject::tailwater(settings, load::DATABASE, &topic, "now", &variant)?;
        let run = Run::new(MODE, &case, &subject.name(), turn);
        let count = || broker.end(&topic);
        results.run(copied(running, count, documents, run).await?)?;

        for peer in Connector::ALL {
            if settings.peers.is_none() || turn >= settings.peer_turns {
                continue;
            }
            results.setting(peer.name(), peer.settings(settings, Begin::Snapshot))?;
            let topics = (0..COLLECTIONS).map(|number| load::name(number, COLLECTIONS));
            let topics: Vec<_> = topics.map(|name| peer.topic_of(&name)).collect();
            for topic in &topics {
                broker.create(topic).await?;
            }
            let ends = || {
                let ends = topics.iter().map(|topic| broker.end(topic));
                ends.sum::<Fallible<u64>>()
            };
            let before = ends()?;
            let _ = std::fs::remove_file(peer.offsets(settings));
            let running = peer.start(settings, Begin::Snapshot)?;
            let run = Run::new(MODE, &case, peer.name(), turn);
            let count = || Ok(ends()? - before);
            results.run(copied(running, count, documents, run).await?)?;
        }
    }
    crate::latency::beside_snapshot(settings, documents, &mut results).await
}

/// Waits until all documents are records, and takes note of what that took.
async fn copied(
    mut running: Measured,
    count: impl Fn() -> Fallible<u64>,
    documents: u64,
    mut run: Run,
) -> Fallible<Run> {
    let mut first = None;
    let mut moved = (0, Instant::now());
    loop {
        let usage = running.usage()?;
        let end = count()?;
        if end > moved.0 {
            moved = (end, Instant::now());
        }
        if end > 0 && first.is_none() {
            first = Some((Instant::now(), usage, end));
        }
        if end >= documents {
            break;
        }
        if running.began.elapsed() > PATIENCE || moved.1.elapsed() > STALLED {
            return Err(format!("{end} of {documents} rows came: see the log").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (since, before, had) = first.ok_or("no row came")?;
    let counted = documents as f64 - had as f64;
    let (all, usage) = (running.began.elapsed(), running.usage()?);
    let cpu = (usage.cpu - before.cpu).as_secs_f64() * 1e6 / counted;
    run.set(value::RATE, counted / since.elapsed().as_secs_f64())
        .set(value::RATE_FROM_START, documents as f64 / all.as_secs_f64())
        .set(value::CPU_US, cpu)
        .set(value::RSS_MB, usage.peak_rss as f64 / 1e6);
    running.stop().await?;
    Ok(run)
}

/// Reads all collections with plain queries, and hands the documents on; how many seconds that takes until all is
/// acknowledged.
async fn find(client: &Client, documents: u64, producer: Option<Arc<Producer>>) -> Fallible<f64> {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let queries = (0..QUERIES).map(|_| {
        let (client, next, producer) = (client.clone(), Arc::clone(&next), producer.clone());
        tokio::spawn(async move {
            let mut read = 0_u64;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= COLLECTIONS {
                    return Fallible::Ok(read);
                }
                let find = RawDocumentBuf::try_from(&doc! {
                    "find": load::name(number, COLLECTIONS), "readConcern": {"level": "majority"},
                })?;
                let database = client.database(load::DATABASE);
                let mut cursor = database.run_raw_cursor_command(find).batch().await?;
                while let Some(batch) = cursor.next().await {
                    for document in crate::stream::events(&batch?)? {
                        if let Some(producer) = &producer {
                            producer.send(document?, 0).await?;
                        }
                        read += 1;
                    }
                }
            }
        })
    });
    let mut read = 0;
    for query in queries.collect::<Vec<_>>() {
        read += query.await??;
    }
    if let Some(producer) = producer {
        producer.finish(documents)?;
    }
    match read == documents {
        true => Ok(began.elapsed().as_secs_f64()),
        false => Err(format!("{read} of {documents} documents were read").into()),
    }
}

//! A steady rate of inserts: how long is each document on its way to a consumer?
//!
//! From just before the insert is sent to its arrival at a consumer in this process.

use crate::kafka::{self, Broker};
use crate::process::Measured;
use crate::report::{self, Latency};
use crate::subject::{self, Connector};
use crate::{Fallible, Settings, load, raw};
use bson::doc;
use futures_util::StreamExt;
use mongodb::Client;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tailwater::source::reply::Reply;

/// Inserts that run side by side; at 1,000/s two would do.
const SENDERS: u64 = 8;
/// Seconds of the same load before anything is counted.
const WARM_UP: u64 = 5;

/// # Errors
/// What went wrong with a server or a subject.
pub async fn run(settings: &Settings) -> Fallible {
    let settings = Settings {
        folder: subject::folder(&settings.folder)?,
        ..settings.clone()
    };
    let client = Client::with_uri_str(&settings.mongodb_uri).await?;
    let broker = Broker::new(&settings.kafka_brokers)?;
    let mut results = Vec::new();
    for turn in 0..settings.turns {
        results.push(stream_alone(&settings, &client).await?);
        let topic = format!("latency.{}.{turn}", std::process::id());
        broker.create(&topic).await?;
        let running = subject::tailwater(&settings, &topic, "now")?;
        results.push(measure("Tailwater", running, &topic, &settings, &client, &broker).await?);
        if turn >= settings.peer_turns || settings.peers.is_none() {
            continue;
        }
        for peer in Connector::ALL {
            let _ = std::fs::remove_file(peer.offsets(&settings));
            broker.create(&peer.topic()).await?;
            let running = peer.start(&settings)?;
            let topic = peer.topic();
            results.push(measure(peer.name(), running, &topic, &settings, &client, &broker).await?);
        }
    }
    report::latencies(&results);
    Ok(())
}

/// Waits until the subject carries records, then sends and listens.
async fn measure(
    subject: &'static str,
    mut running: Measured,
    topic: &str,
    settings: &Settings,
    client: &Client,
    broker: &Broker,
) -> Fallible<Latency> {
    let before = broker.end(topic)?;
    let end = Instant::now() + Duration::from_secs(90);
    while broker.end(topic)? == before {
        if Instant::now() > end {
            return Err(format!("{subject} carries nothing: see its log").into());
        }
        running.usage()?;
        load::collection(client)
            .insert_one(doc! { "marker": true })
            .await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let from = broker.end(topic)?;
    let count = settings.events + WARM_UP * u64::from(settings.rate);
    let listening = {
        let (address, topic) = (broker.address.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || kafka::arrivals(&address, &topic, from, count))
    };
    let used = running.usage()?.cpu;
    let began = Instant::now();
    let sent = send(client, count, settings.rate).await?;
    let elapsed = began.elapsed();
    let used = running.usage()?.cpu - used;
    let arrived = listening.await??;
    running.stop().await?;
    let latency = summary(subject, settings, &sent, &arrived);
    Ok(Latency {
        cpu_percent: 100.0 * used.as_secs_f64() / elapsed.as_secs_f64(),
        ..latency
    })
}

/// The change stream by itself, read in this process.
async fn stream_alone(settings: &Settings, client: &Client) -> Fallible<Latency> {
    let count = settings.events + WARM_UP * u64::from(settings.rate);
    let mut cursor = raw::open(client, false, 1_000, "[]").await?;
    let reading = tokio::spawn(async move {
        let mut arrived = vec![None; usize::try_from(count)?];
        let mut missing = count;
        while missing > 0 {
            let reply = cursor.next().await.ok_or("the stream ended")??;
            let now = Instant::now();
            let reply = Reply::new(reply, None);
            for event in reply.events()?.map_while(Result::ok) {
                let number = kafka::probe(event);
                if let Some(slot) = number.and_then(|n| arrived.get_mut(n)) {
                    *slot = Some(now);
                    missing -= 1;
                }
            }
        }
        Fallible::Ok(arrived)
    });
    let sent = send(client, count, settings.rate).await?;
    Ok(summary(
        "the stream alone",
        settings,
        &sent,
        &reading.await??,
    ))
}

/// Inserts `count` documents at `rate` a second; gives the moments just before each was sent.
async fn send(client: &Client, count: u64, rate: u32) -> Fallible<Vec<Option<Instant>>> {
    let sent = Arc::new(Mutex::new(vec![None; usize::try_from(count)?]));
    let began = Instant::now();
    let senders = (0..SENDERS).map(|sender| {
        let (collection, sent) = (load::collection(client), Arc::clone(&sent));
        tokio::spawn(async move {
            for n in (sender..count).step_by(SENDERS as usize) {
                let due = began + Duration::from_secs_f64(n as f64 / f64::from(rate));
                tokio::time::sleep_until(due.into()).await;
                let document = load::document(n);
                let now = Instant::now();
                sent.lock().unwrap_or_else(PoisonError::into_inner)[n as usize] = Some(now);
                collection.insert_one(document).await?;
            }
            Fallible::Ok(())
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await??;
    }
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(sent)
}

fn summary(
    subject: &'static str,
    settings: &Settings,
    sent: &[Option<Instant>],
    arrived: &[Option<Instant>],
) -> Latency {
    let warm_up = WARM_UP as usize * settings.rate as usize;
    let pairs = sent.iter().zip(arrived).skip(warm_up);
    let mut sorted: Vec<f64> = pairs
        .clone()
        .filter_map(|(sent, arrived)| Some((*arrived)?.saturating_duration_since((*sent)?)))
        .map(|latency| latency.as_secs_f64() * 1e3)
        .collect();
    sorted.sort_by(f64::total_cmp);
    Latency {
        subject,
        lost: pairs.len() - sorted.len(),
        sorted,
        cpu_percent: f64::NAN,
    }
}

//! Documents wait in the oplog; each subject in turn brings them to Kafka.

use crate::kafka::Broker;
use crate::process::{Measured, Usage};
use crate::report::{self, Drain};
use crate::subject::{self, Connector};
use crate::{Fallible, Settings, load};
use bson::doc;
use mongodb::Client;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a subject may go without a record before it is given up.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the end of the topic is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// # Errors
/// What went wrong with a server or a subject.
pub async fn run(settings: &Settings) -> Fallible {
    let settings = Settings {
        folder: subject::folder(&settings.folder)?,
        ..settings.clone()
    };
    let client = Client::with_uri_str(&settings.mongodb_uri).await?;
    let broker = Broker::new(&settings.kafka_brokers)?;
    let peers: &[Connector] = if settings.peers.is_some() {
        &Connector::ALL
    } else {
        &[]
    };
    for peer in peers {
        eprintln!(
            "{}: leaving an offset before the first document",
            peer.name()
        );
        prime(*peer, &settings, &client, &broker).await?;
    }
    eprintln!("filling the oplog with {} events", settings.events);
    load::fill(&client, settings.events, settings.updates).await?;

    let mut results: Vec<Drain> = Vec::new();
    for turn in 0..settings.turns {
        results.push(raw(&settings).await?);
        report::progress(results.last());
        let topic = format!("tailwater.{}.{turn}", std::process::id());
        broker.create(&topic).await?;
        let running = subject::tailwater(&settings, &topic, "earliest")?;
        results.push(watch("Tailwater", running, &topic, 0, &settings, &broker).await?);
        broker.delete(&topic).await?;
        report::progress(results.last());
        if turn >= settings.peer_turns {
            continue;
        }
        for peer in peers {
            let saved = saved(*peer, &settings);
            std::fs::copy(saved, peer.offsets(&settings))?;
            let before = broker.end(&peer.topic())?;
            let running = peer.start(&settings)?;
            let topic = peer.topic();
            results.push(watch(peer.name(), running, &topic, before, &settings, &broker).await?);
            report::progress(results.last());
        }
    }
    report::drains(&results);
    Ok(())
}

fn saved(peer: Connector, settings: &Settings) -> std::path::PathBuf {
    peer.offsets(settings).with_extension("offsets-before")
}

/// Runs a connector until a marker has passed through it, and keeps its offsets.
async fn prime(peer: Connector, settings: &Settings, client: &Client, broker: &Broker) -> Fallible {
    let topic = peer.topic();
    broker.create(&topic).await?;
    let _ = std::fs::remove_file(peer.offsets(settings));
    let mut running = peer.start(settings)?;
    let markers = load::collection(client);
    let end = Instant::now() + PATIENCE;
    while broker.end(&topic)? == 0 {
        if Instant::now() > end {
            return Err(format!("{} carries nothing: see its log", peer.name()).into());
        }
        running.usage()?;
        markers.insert_one(doc! { "marker": true }).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What came while it was on its way, and one flush of its offsets.
    tokio::time::sleep(Duration::from_secs(7)).await;
    running.stop().await?;
    std::fs::copy(peer.offsets(settings), saved(peer, settings))?;
    Ok(())
}

async fn raw(settings: &Settings) -> Fallible<Drain> {
    let child = Command::new(std::env::current_exe()?)
        .args(["raw", "--mongodb-uri", &settings.mongodb_uri])
        .args(["--events", &settings.events.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    let text = String::from_utf8(output.stdout)?;
    let values: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [from_start, from_first, cpu, rss] = values[..] else {
        return Err("the raw drain failed".into());
    };
    Ok(Drain {
        subject: "raw drain",
        from_start,
        from_first,
        first_record: Duration::ZERO,
        cpu_micros: cpu / settings.events as f64,
        cpu_micros_from_first: cpu / settings.events as f64,
        peak_rss: rss as u64,
    })
}

/// Waits until the topic has all records, and takes the process's figures at that moment.
async fn watch(
    subject: &'static str,
    mut running: Measured,
    topic: &str,
    before: u64,
    settings: &Settings,
    broker: &Broker,
) -> Fallible<Drain> {
    let mut first: Option<(Instant, u64, Usage)> = None;
    let mut last = (Instant::now(), 0);
    let (end, usage) = loop {
        let done = broker.end(topic)?.saturating_sub(before);
        let now = Instant::now();
        if done >= settings.events {
            break (now, running.usage()?);
        }
        if done > 0 && first.is_none() {
            first = Some((now, done, running.usage()?));
        }
        if done > last.1 {
            last = (now, done);
        }
        if now - last.0 > PATIENCE {
            return Err(format!("{subject} stopped at {done} records: see its log").into());
        }
        tokio::time::sleep(LOOK).await;
    };
    let (first, before, usage_before) = first.unwrap_or((running.began, 0, Usage::default()));
    let began = running.began;
    running.stop().await?;
    let events = settings.events as f64;
    let later = events - before as f64;
    Ok(Drain {
        subject,
        from_start: events / (end - began).as_secs_f64(),
        from_first: later / (end - first).as_secs_f64(),
        first_record: first - began,
        cpu_micros: usage.cpu.as_secs_f64() * 1e6 / events,
        cpu_micros_from_first: (usage.cpu - usage_before.cpu).as_secs_f64() * 1e6 / later,
        peak_rss: usage.peak_rss,
    })
}

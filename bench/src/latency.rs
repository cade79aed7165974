//! A steady rate of inserts: how long is each document on its way to a consumer?
//!
//! From just before the insert is sent to its arrival at a consumer in this process.

use crate::connector::{Begin, Connector};
use crate::error::Fallible;
use crate::kafka::{self, Broker};
use crate::process::Measured;
use crate::record::{Results, Run, value};
use crate::servers::Servers;
use crate::settings::Settings;
use crate::subject::{self, Subject, Variant};
use crate::{load, stream};
use futures_util::StreamExt;
use mongodb::Client;
use std::time::Instant;

const MODE: &str = "latency";
/// The change stream by itself, read in this process: what any subject has to wait for.
const STREAM_ALONE: &str = "the stream alone";
/// Seconds of the same load before anything is counted.
const WARM_UP: u64 = 5;

/// What every turn needs.
struct Bench<'a> {
    settings: &'a Settings,
    client: Client,
    broker: Broker,
    servers: Servers,
    /// Probes, the warm-up's included.
    count: u64,
}

/// # Errors
/// What went wrong with a server or a subject.
pub async fn run(settings: &Settings) -> Fallible {
    let bench = Bench {
        settings,
        client: Client::with_uri_str(&settings.mongodb_uri).await?,
        broker: Broker::new(&settings.kafka_brokers)?,
        servers: Servers::of_environment(),
        count: settings.events(10_000, 4_000) + WARM_UP * u64::from(settings.rate),
    };
    let mut results = Results::open(&settings.folder)?;
    let mut subjects = vec![Subject::RawProduce, Subject::Tailwater(Variant::default())];
    subjects.extend(Variant::beside(settings));
    if settings.peers.is_some() {
        subjects.extend(Connector::ALL.map(Subject::Peer));
    }
    for subject in &subjects {
        results.setting(&subject.name(), subject.settings(settings))?;
    }
    let case = format!("{} inserts a second", settings.rate);
    for turn in 0..settings.turns(1) {
        let mut run = Run::new(MODE, &case, STREAM_ALONE, turn);
        bench.stream_alone(&mut run).await?;
        results.run(run)?;
        for subject in &subjects {
            if matches!(subject, Subject::Peer(_)) && turn >= settings.peer_turns {
                continue;
            }
            let mut run = Run::new(MODE, &case, &subject.name(), turn);
            bench.turn(subject, &mut run).await?;
            results.run(run)?;
        }
    }
    Ok(())
}

/// The same while documents that are there already are copied to a topic of their own, beside Tailwater at rest.
///
/// # Errors
/// As those of [`run`], and when the snapshot was over before the last insert.
pub async fn beside_snapshot(
    settings: &Settings,
    documents: u64,
    results: &mut Results,
) -> Fallible {
    const MODE: &str = "snapshot-latency";
    let bench = Bench {
        settings,
        client: Client::with_uri_str(&settings.mongodb_uri).await?,
        broker: Broker::new(&settings.kafka_brokers)?,
        servers: Servers::of_environment(),
        count: if settings.short { 1_000 } else { 4_000 } + WARM_UP * u64::from(settings.rate),
    };
    let case = format!("{} inserts a second", settings.rate);
    for turn in 0..settings.turns(1) {
        let subject = Subject::Tailwater(Variant::with("no snapshot", &[]));
        let mut run = Run::new(MODE, &case, &subject.name(), turn);
        bench.turn(&subject, &mut run).await?;
        results.run(run)?;

        let rows = format!("rows.{}", subject::unique());
        bench.broker.create(&rows).await?;
        let variables = [("SNAPSHOT", "initial"), ("SNAPSHOT_TOPIC", &rows)];
        let subject = Subject::Tailwater(Variant::with("a snapshot runs", &variables));
        let mut run = Run::new(MODE, &case, &subject.name(), turn);
        bench.turn(&subject, &mut run).await?;
        run.set(value::RATE, bench.broker.end(&rows)? as f64);
        if bench.broker.end(&rows)? >= documents && !settings.short {
            return Err(
                "the snapshot was over before the last insert: give it more --events".into(),
            );
        }
        results.run(run)?;
    }
    Ok(())
}

impl Bench<'_> {
    async fn turn(&self, subject: &Subject, run: &mut Run) -> Fallible {
        let topic = match subject {
            Subject::Peer(peer) => {
                let _ = std::fs::remove_file(peer.offsets(self.settings));
                peer.topic()
            }
            _ => format!("latency.{}", subject::unique()),
        };
        self.broker.create(&topic).await?;
        let running = match subject {
            Subject::Tailwater(variant) => {
                subject::tailwater(self.settings, load::DATABASE, &topic, "now", variant)?
            }
            Subject::Peer(peer) => peer.start(self.settings, Begin::Changes)?,
            Subject::RawProduce => self.raw_produce(&topic).await?,
            Subject::Raw => return Err("not in this measurement".into()),
        };
        self.measure(running, &topic, run).await
    }

    /// What is left when nothing is done between the stream and librdkafka, which sends each record at once.
    async fn raw_produce(&self, topic: &str) -> Fallible<Measured> {
        let token = stream::token(&self.client, load::DATABASE).await?;
        let (database, events) = (load::DATABASE, u64::MAX);
        subject::raw_produce(
            self.settings,
            database,
            &token,
            events,
            1_000,
            topic,
            &["linger.ms=0"],
        )
    }

    /// Waits until the subject carries records, then sends and listens.
    async fn measure(&self, mut running: Measured, topic: &str, run: &mut Run) -> Fallible {
        subject::carries(&mut running, &self.client, &self.broker, topic).await?;
        let from = self.broker.end(topic)?;
        let listening = {
            let (address, topic) = (self.broker.address.clone(), topic.to_owned());
            let count = self.count;
            tokio::task::spawn_blocking(move || kafka::arrivals(&address, &topic, from, count))
        };
        let (began, used) = (self.servers.now()?, running.usage()?.cpu);
        let sent = load::send(&self.client, self.count, self.settings.rate).await?;
        let (ended, usage) = (self.servers.now()?, running.usage()?);
        let used = usage.cpu - used;
        let arrived = listening.await??;
        running.stop().await?;
        ended.note_since(&began, used, run);
        run.set(value::CPU_US, used.as_secs_f64() * 1e6 / self.count as f64)
            .set(value::RSS_MB, usage.peak_rss as f64 / 1e6);
        self.summarize(&sent, &arrived, run);
        Ok(())
    }

    /// The change stream by itself, read in this process.
    async fn stream_alone(&self, run: &mut Run) -> Fallible {
        let count = self.count;
        let mut cursor = stream::open(&self.client, load::DATABASE, None, 1_000, "[]").await?;
        let reading = tokio::spawn(async move {
            let mut arrived = vec![None; usize::try_from(count)?];
            let mut missing = count;
            while missing > 0 {
                let reply = cursor.next().await.ok_or("the stream ended")??;
                let now = Instant::now();
                for event in stream::events(&reply)?.map_while(Result::ok) {
                    let number = kafka::probe(event);
                    if let Some(slot) = number.and_then(|n| arrived.get_mut(n)) {
                        *slot = Some(now);
                        missing -= 1;
                    }
                }
            }
            Fallible::Ok(arrived)
        });
        let sent = load::send(&self.client, count, self.settings.rate).await?;
        self.summarize(&sent, &reading.await??, run);
        Ok(())
    }

    /// The latencies of what came after the warm-up.
    fn summarize(&self, sent: &[Option<Instant>], arrived: &[Option<Instant>], run: &mut Run) {
        let warm_up = WARM_UP as usize * self.settings.rate as usize;
        let pairs = sent.iter().zip(arrived).skip(warm_up);
        let probes = pairs.len();
        let mut sorted: Vec<f64> = pairs
            .filter_map(|(sent, arrived)| Some((*arrived)?.saturating_duration_since((*sent)?)))
            .map(|latency| latency.as_secs_f64() * 1e3)
            .collect();
        sorted.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            let index = (sorted.len() as f64 * quantile) as usize;
            sorted.get(index).copied().unwrap_or(f64::NAN)
        };
        run.set(value::P50, at(0.5))
            .set(value::P90, at(0.9))
            .set(value::P99, at(0.99))
            .set(value::HIGHEST, sorted.last().copied().unwrap_or(f64::NAN))
            .set(value::LOST, (probes - sorted.len()) as f64);
    }
}

//! Events wait in the oplog; each subject in turn brings them to Kafka.

use crate::case::Case;
use crate::connector::Begin;
use crate::connector::{Connector, free_port};
use crate::error::Fallible;
use crate::kafka::Broker;
use crate::load;
use crate::process::{Measured, Usage};
use crate::proxy::Proxy;
use crate::record::{RAW_PRODUCE, Results, Run, value};
use crate::scrape::Scraper;
use crate::servers::{Clock, Servers};
use crate::settings::Settings;
use crate::subject::{self, Subject};
use bson::doc;
use mongodb::Client;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a subject may go without a record before it is given up.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the end of the topic is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What every turn needs.
struct Bench<'a> {
    settings: &'a Settings,
    servers: Servers,
    broker: Broker,
    /// Where a subject wants its acknowledgements late.
    proxy: Option<Proxy>,
}

/// Fills the oplog for all cases, then gives each subject of each case its turns.
///
/// # Errors
/// What went wrong with a server or a subject.
pub async fn run(settings: &Settings, mode: &str, cases: &[Case]) -> Fallible {
    let client = Client::with_uri_str(&settings.mongodb_uri).await?;
    let bench = Bench {
        settings,
        servers: Servers::of_environment(),
        broker: Broker::new(&settings.kafka_brokers)?,
        proxy: match cases.iter().any(|case| case.ack_delay.is_some()) {
            true => Some(Proxy::of_environment().await?),
            false => None,
        },
    };
    let mut results = Results::open(&settings.folder)?;
    for subject in cases.iter().flat_map(|case| &case.subjects) {
        results.setting(&subject.name(), subject.settings(settings))?;
        if let Subject::Peer(peer) = subject {
            eprintln!(
                "{}: leaving an offset before the first document",
                peer.name()
            );
            bench.prime(*peer, &client).await?;
        }
    }
    let mut tokens: Vec<String> = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        // Cases may share what waits.
        let same = |other: &Case| other.waiting.database == case.waiting.database;
        let token = match cases[..index].iter().position(same) {
            Some(other) => tokens[other].clone(),
            None => load::fill(&client, &case.waiting).await?,
        };
        tokens.push(token);
        let bytes = case.waiting.document_bytes()?;
        let (name, events) = (&case.name, case.waiting.events);
        let note = format!("{name}: {events} events with documents of {bytes:.0} bytes");
        results.note(mode, note)?;
    }
    if let (Some(case), Some(token)) = (cases.first(), tokens.first()) {
        // A broker that has just started is slow: nobody shall be the first.
        eprintln!("warming up");
        let mut unheeded = Run::new(mode, &case.name, RAW_PRODUCE, 0);
        let subject = Subject::RawProduce;
        bench.turn(&subject, case, token, &mut unheeded).await?;
    }
    for turn in 0..settings.turns(if mode == "drain" { 3 } else { 1 }) {
        for (case, token) in cases.iter().zip(&tokens) {
            for subject in &case.subjects {
                if matches!(subject, Subject::Peer(_)) && turn >= settings.peer_turns {
                    continue;
                }
                let mut run = Run::new(mode, &case.name, &subject.name(), turn);
                bench.turn(subject, case, token, &mut run).await?;
                let mb = case.waiting.document_bytes()? / 1e6;
                if let (Some(rate), Some(cpu)) = (run.get(value::RATE), run.get(value::CPU_US)) {
                    run.set(value::MB_RATE, rate * mb)
                        .set(value::CPU_MS_PER_MB, cpu / 1e3 / mb);
                }
                results.run(run)?;
            }
        }
    }
    Ok(())
}

impl Bench<'_> {
    /// One drain.
    async fn turn(&self, subject: &Subject, case: &Case, token: &str, run: &mut Run) -> Fallible {
        let (settings, broker) = (&self.settings_of(case)?, &self.broker);
        let (database, events) = (&case.waiting.database, case.waiting.events);
        let (topic, before) = match subject {
            Subject::Raw => {
                let batch = batch_size(case);
                let mut raw = subject::raw(settings, database, token, events, batch)?;
                let child = raw.stdout(Stdio::piped()).spawn()?;
                let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await??;
                run.values = serde_json::from_slice::<Run>(&output.stdout)?.values;
                return Ok(());
            }
            Subject::Peer(peer) => {
                std::fs::copy(saved(*peer, settings), peer.offsets(settings))?;
                (peer.topic(), broker.end(&peer.topic())?)
            }
            Subject::RawProduce | Subject::Tailwater(_) => {
                let topic = format!("{}.{}", subject.slug(), subject::unique());
                broker.create_wide(&topic, case.partitions).await?;
                (topic, 0)
            }
        };
        let mut scraper = None;
        let running = match subject {
            Subject::Peer(peer) => peer.start(settings, Begin::Changes)?,
            Subject::Tailwater(variant) => {
                let start_at = format!("token:{token}");
                let mut variant = variant.clone();
                if let Some(period) = variant.scrape {
                    let address = format!("127.0.0.1:{}", free_port()?);
                    let listen = ("HTTP_ADDR".to_owned(), address.clone());
                    variant.variables.push(listen);
                    scraper = Some(Scraper::start(address, period));
                }
                subject::tailwater(settings, database, &topic, &start_at, &variant)?
            }
            _ => {
                let batch = batch_size(case);
                subject::raw_produce(settings, database, token, events, batch, &topic, &[])?
            }
        };
        let end = || broker.end_of_all(&topic, case.partitions);
        self.watch(running, end, before, events, run).await?;
        drop(scraper);
        if let Some(bytes) = self
            .servers
            .topic_bytes(&topic)
            .filter(|_| before == 0 && case.partitions == 1)
        {
            run.set(value::BROKER_BYTES, bytes as f64 / events as f64);
        }
        if !matches!(subject, Subject::Peer(_)) {
            broker.delete(&topic).await?;
        }
        Ok(())
    }

    /// The settings, with the proxy set up for the case and in the place of the broker where it wants
    /// its acknowledgements late.
    fn settings_of(&self, case: &Case) -> Fallible<Settings> {
        let mut settings = self.settings.clone();
        if let Some(delay) = case.ack_delay {
            let proxy = self.proxy.as_ref().ok_or("there is no proxy")?;
            proxy.set_delay(delay);
            proxy.address().clone_into(&mut settings.kafka_brokers);
        }
        Ok(settings)
    }

    /// Waits until the topic has all records, and takes the process's figures at that moment.
    async fn watch(
        &self,
        mut running: Measured,
        end: impl Fn() -> Fallible<u64>,
        before: u64,
        events: u64,
        run: &mut Run,
    ) -> Fallible {
        let mut first: Option<(Clock, u64, Usage)> = None;
        let mut last = (Instant::now(), 0);
        let ended = loop {
            let done = end()?.saturating_sub(before);
            let now = Instant::now();
            if done >= events {
                break self.servers.now()?;
            }
            if done > 0 && first.is_none() {
                first = Some((self.servers.now()?, done, running.usage()?));
            }
            if done > last.1 {
                last = (now, done);
            }
            if now - last.0 > PATIENCE {
                return Err(
                    format!("{} stopped at {done} records: see its log", run.subject).into(),
                );
            }
            tokio::time::sleep(LOOK).await;
        };
        let usage = running.usage()?;
        let began = running.began;
        running.stop().await?;
        let all = events as f64;
        run.set(
            value::RATE_FROM_START,
            all / (ended.at() - began).as_secs_f64(),
        )
        .set(
            value::CPU_US_WITH_START,
            usage.cpu.as_secs_f64() * 1e6 / all,
        )
        .set(value::RSS_MB, usage.peak_rss as f64 / 1e6);
        // None where all came between two looks: there is nothing to be told of the flow then.
        if let Some((first, seen, usage_before)) = first.filter(|(_, seen, _)| *seen < events) {
            let later = (events - seen) as f64;
            let cpu = usage.cpu - usage_before.cpu;
            run.set(value::FIRST_MS, (first.at() - began).as_secs_f64() * 1e3)
                .set(value::RATE, later / (ended.at() - first.at()).as_secs_f64())
                .set(value::CPU_US, cpu.as_secs_f64() * 1e6 / later);
            ended.note_since(&first, cpu, run);
        }
        Ok(())
    }

    /// Runs a connector until a marker has passed through it, and keeps its offsets.
    async fn prime(&self, peer: Connector, client: &Client) -> Fallible {
        let (settings, broker, topic) = (self.settings, &self.broker, peer.topic());
        broker.create(&topic).await?;
        let _ = std::fs::remove_file(peer.offsets(settings));
        let mut running = peer.start(settings, Begin::Changes)?;
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
}

/// As many events as make a reply of about 1 MiB, as `SOURCE_BATCH_BYTES` has it; no more than 1,000,
/// with which Tailwater begins.
fn batch_size(case: &Case) -> u32 {
    u32::try_from((1 << 20) / case.waiting.bytes).map_or(1, |events| events.clamp(1, 1_000))
}

fn saved(peer: Connector, settings: &Settings) -> std::path::PathBuf {
    peer.offsets(settings).with_extension("offsets-before")
}

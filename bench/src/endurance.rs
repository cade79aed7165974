//! What shows only after a while: CPU per event over time, and memory while Kafka stands still.

use crate::error::Fallible;
use crate::kafka::Broker;
use crate::load;
use crate::process::{self, Measured};
use crate::record::{Results, Run, value};
use crate::servers::Servers;
use crate::settings::Settings;
use crate::subject::{self, Subject, Variant};
use mongodb::Client;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// How far apart two looks at the process are.
const LOOK: Duration = Duration::from_secs(1);
/// How many looks make a point of the CPU's chart: time in `/proc` has a resolution of 10 ms.
const WINDOW: usize = 10;
/// Seconds of writes before Kafka is stopped, and after it goes on.
const AROUND: u64 = 10;
const PATIENCE: Duration = Duration::from_secs(120);

/// Tailwater, carrying what is inserted at a steady rate.
struct Bench {
    running: Measured,
    broker: Broker,
    topic: String,
    results: Results,
    subject: String,
    /// The end of the topic when the writing began.
    before: u64,
    began: Instant,
    inserted: u64,
    writing: tokio::task::JoinHandle<Fallible>,
}

impl Bench {
    /// Starts it, and writes for `seconds`.
    async fn start(settings: &Settings, seconds: u64) -> Fallible<Self> {
        let client = Client::with_uri_str(&settings.mongodb_uri).await?;
        let broker = Broker::new(&settings.kafka_brokers)?;
        let mut results = Results::open(&settings.folder)?;
        let variant = Variant::default();
        let subject = Subject::Tailwater(variant.clone());
        results.setting(&subject.name(), subject.settings(settings))?;
        let topic = format!("endurance.{}", subject::unique());
        broker.create(&topic).await?;
        let database = load::DATABASE;
        let mut running = subject::tailwater(settings, database, &topic, "now", &variant)?;
        subject::carries(&mut running, &client, &broker, &topic).await?;
        let before = broker.end(&topic)?;
        let (rate, inserted) = (settings.rate, seconds * u64::from(settings.rate));
        let writing = async move {
            load::send(&client, inserted, rate).await?;
            Ok(())
        };
        Ok(Self {
            running,
            broker,
            topic,
            results,
            subject: subject.name(),
            before,
            began: Instant::now(),
            inserted,
            writing: tokio::spawn(writing),
        })
    }

    /// Waits until all that was inserted is acknowledged, and ends everything.
    async fn finish(mut self, mut run: Run) -> Fallible {
        self.writing.await??;
        let end = Instant::now() + PATIENCE;
        let all = self.before + self.inserted;
        while self.broker.end(&self.topic)? < all && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let arrived = self.broker.end(&self.topic)? - self.before;
        let usage = self.running.usage()?;
        run.set(value::LOST, self.inserted.saturating_sub(arrived) as f64)
            .set(value::RSS_MB, usage.peak_rss as f64 / 1e6)
            .set(value::ALL_S, self.began.elapsed().as_secs_f64());
        self.running.stop().await?;
        self.results.run(run)
    }
}

/// A steady rate for some minutes.
///
/// # Errors
/// What went wrong with a server or the subject.
pub async fn steady(settings: &Settings) -> Fallible {
    let seconds = settings.seconds(5.0, 0.5);
    let mut bench = Bench::start(settings, seconds).await?;
    let case = format!("{} inserts/s, {seconds} s", settings.rate);
    let mut run = Run::new("steady", &case, &bench.subject, 0);
    let mut used = vec![(Instant::now(), bench.running.usage()?.cpu)];
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    while bench.began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(LOOK).await;
        let (now, usage) = (Instant::now(), bench.running.usage()?);
        used.push((now, usage.cpu));
        let at = bench.began.elapsed().as_secs_f64();
        if used.len().is_multiple_of(WINDOW) {
            let (then, before) = used[used.len() - WINDOW];
            let events = (now - then).as_secs_f64() * f64::from(settings.rate);
            cpu.push((at, (usage.cpu - before).as_secs_f64() * 1e6 / events));
        }
        memory.push((at, usage.rss as f64 / 1e6));
    }
    let mean = |points: &[(f64, f64)]| {
        points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64
    };
    // The first window holds what a start leaves behind; of what follows, a fifth at each end.
    let later = cpu.get(1..).unwrap_or_default();
    let fifth = later.len().div_ceil(5);
    run.set(value::CPU_US, mean(later))
        .set(value::CPU_US_FIRST, mean(&later[..fifth]))
        .set(value::CPU_US_LAST, mean(&later[later.len() - fifth..]));
    run.series.insert(value::CPU_US.to_owned(), cpu);
    run.series.insert(value::RSS_MB.to_owned(), memory);
    bench.finish(run).await
}

/// Kafka stopped (SIGSTOP) for some minutes while writes go on.
///
/// # Errors
/// What went wrong with a server or the subject.
pub async fn memory(settings: &Settings) -> Fallible {
    let stopped = settings.seconds(5.0, 0.25);
    let servers = Servers::of_environment();
    let mut bench = Bench::start(settings, stopped + 2 * AROUND).await?;
    let case = format!("Kafka stopped for {stopped} s, {} inserts/s", settings.rate);
    let mut run = Run::new("memory", &case, &bench.subject, 0);
    let mut points = Vec::new();
    let mut highest = [0.0_f64; 3];
    let mut kafka = None;
    let mut went_on = None;
    while bench.began.elapsed() < Duration::from_secs(stopped + 2 * AROUND) {
        let at = bench.began.elapsed().as_secs();
        let phase = usize::from(at >= AROUND) + usize::from(at >= AROUND + stopped);
        match phase {
            1 if kafka.is_none() => kafka = Some(Stopped::now(servers.kafka()?)?),
            2 if went_on.is_none() => {
                kafka = None;
                went_on = Some(Instant::now());
            }
            _ => {}
        }
        let rss = bench.running.usage()?.rss as f64 / 1e6;
        highest[phase] = highest[phase].max(rss);
        points.push((bench.began.elapsed().as_secs_f64(), rss));
        tokio::time::sleep(LOOK).await;
    }
    drop(kafka);
    run.set(value::RSS_BEFORE_MB, highest[0])
        .set(value::RSS_STOPPED_MB, highest[1])
        .set(value::RSS_AFTER_MB, highest[2]);
    run.series.insert(value::RSS_MB.to_owned(), points);
    bench.finish(run).await
}

/// A process that stands still until this is dropped.
struct Stopped(String);

impl Stopped {
    fn now(pid: &str) -> Fallible<Self> {
        process::signal(pid, Signal::STOP)?;
        Ok(Self(pid.to_owned()))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = process::signal(&self.0, Signal::CONT);
    }
}

//! Workers: jobs that wait in a topic are handed to a service that takes 1, 10 or 100 ms for each, 5, 50 and 500 at a
//! time. How many a second, beside what the service itself allows, and how long is it left alone between two jobs?

use crate::error::Fallible;
use crate::kafka::Broker;
use crate::process::{self, Measured};
use crate::receiver::Receiver;
use crate::record::{Results, Run, value};
use crate::servers::Servers;
use crate::settings::Settings;
use crate::subject;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use std::process::Command;
use std::time::{Duration, Instant};

const MODE: &str = "workers";
const SUBJECT: &str = "Tailwater";
/// What the service allows: as many jobs at a time as there may be, each as long as it has taken.
pub const CEILING: &str = "the service alone";
const PARTITIONS: i32 = 4;
const AT_A_TIME: [usize; 3] = [5, 50, 500];
const MILLIS: [u64; 3] = [1, 10, 100];
/// Of the value of each job, in bytes.
const VALUE: usize = 600;
const PATIENCE: Duration = Duration::from_secs(60);

/// # Errors
/// What went wrong with a server or the subject.
pub async fn run(settings: &Settings) -> Fallible {
    process::allow_most_files()?;
    let mut results = Results::open(&settings.folder)?;
    results.setting(
        SUBJECT,
        format!(
            "one worker; a topic of {PARTITIONS} partitions; values of {VALUE} bytes, each with a key of its own; order: key; \
             signed requests over HTTP/1.1 to a service in the measuring process"
        ),
    )?;
    for at_a_time in AT_A_TIME {
        for millis in MILLIS {
            for turn in 0..settings.turns(1) {
                for run in measure(settings, at_a_time, millis, turn).await? {
                    results.run(run)?;
                }
            }
        }
    }
    Ok(())
}

/// As many as the service could do in that time, and no more than all.
fn jobs(settings: &Settings, at_a_time: usize, millis: u64) -> usize {
    let seconds = if settings.short { 2 } else { 20 };
    let could = at_a_time as u64 * 1000 / millis * seconds;
    let jobs = settings.events(100_000, 10_000).min(could);
    usize::try_from(jobs).unwrap_or(usize::MAX)
}

async fn measure(
    settings: &Settings,
    at_a_time: usize,
    millis: u64,
    turn: usize,
) -> Fallible<Vec<Run>> {
    let jobs = jobs(settings, at_a_time, millis);
    let broker = Broker::new(&settings.kafka_brokers)?;
    let topic = format!("jobs.bench.{}", subject::unique());
    broker.create_wide(&topic, PARTITIONS).await?;
    let (address, to) = (settings.kafka_brokers.clone(), topic.clone());
    tokio::task::spawn_blocking(move || fill(&address, &to, jobs)).await??;
    let receiver = Receiver::start(Duration::from_millis(millis), jobs).await?;
    let mut running = start(settings, &topic, at_a_time, &receiver)?;
    tokio::select! {
        () = receiver.begun() => {}
        () = tokio::time::sleep(PATIENCE) => return Err("no job came: see the worker's log".into()),
    }
    let servers = Servers::of_environment();
    let (began, used) = (servers.now()?, running.usage()?.cpu);
    let mut seen = (0, Instant::now());
    loop {
        tokio::select! {
            () = receiver.enough() => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        running.usage()?;
        let calls = receiver.calls();
        if calls > seen.0 {
            seen = (calls, Instant::now());
        } else if seen.1.elapsed() > PATIENCE {
            return Err(format!("{calls} of {jobs} jobs came: see the worker's log").into());
        }
    }
    let (ended, usage) = (servers.now()?, running.usage()?);
    running.stop().await?;
    broker.delete(&topic).await?;
    let sums = receiver.sums().await;
    if sums.calls != jobs as u64 {
        return Err(format!("{} calls for {jobs} jobs", sums.calls).into());
    }

    let case = format!("{at_a_time} at a time, {millis} ms each");
    let at = |quantile: f64| {
        let index = (sums.gaps.len() as f64 * quantile) as usize;
        sums.gaps.get(index).copied().unwrap_or(f64::NAN)
    };
    let mut run = Run::new(MODE, &case, SUBJECT, turn);
    ended.note_since(&began, usage.cpu - used, &mut run);
    run.set(value::RATE, jobs as f64 / sums.all.as_secs_f64())
        .set(value::P50, at(0.5))
        .set(value::P90, at(0.9))
        .set(value::P99, at(0.99))
        .set(
            value::CPU_US,
            (usage.cpu - used).as_secs_f64() * 1e6 / jobs as f64,
        )
        .set(value::RSS_MB, usage.peak_rss as f64 / 1e6);
    let mut ceiling = Run::new(MODE, &case, CEILING, turn);
    ceiling.set(value::RATE, at_a_time as f64 / sums.own.as_secs_f64());
    Ok(vec![ceiling, run])
}

fn start(
    settings: &Settings,
    topic: &str,
    at_a_time: usize,
    receiver: &Receiver,
) -> Fallible<Measured> {
    let handlers = settings.folder.join("handlers.json");
    let url = format!("http://{}/", receiver.addr);
    let file = serde_json::json!({"handlers": {
        "bench": {"url": url, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    }});
    std::fs::write(&handlers, file.to_string())?;
    let mut command = Command::new(std::fs::canonicalize(&settings.tailwater)?);
    command
        .args(["worker", "start"])
        .env("KAFKA_BROKERS", &settings.kafka_brokers)
        .env("WORKER_TOPICS", topic)
        .env("WORKER_GROUP", topic)
        .env("WORKER_HANDLERS", &handlers)
        .env("WORKER_ALLOW_PRIVATE", "true")
        .env("WORKER_CONCURRENCY", at_a_time.to_string())
        .env("HTTP_ADDR", "off")
        .envs(settings.variables.iter().cloned())
        .current_dir(&settings.folder);
    let log = settings.folder.join("worker.log");
    Measured::start(SUBJECT, &mut command, &log)
}

/// Writes the jobs, as the records of a listener are. Blocks.
fn fill(brokers: &str, topic: &str, jobs: usize) -> Fallible {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "50")
        .create()?;
    let value = format!("{{\"payload\":\"{}\"}}", "x".repeat(VALUE - 14));
    let now = jiff::Timestamp::now().as_millisecond().to_string();
    for number in 0..jobs {
        let (id, key) = (
            format!("bench-{number:012}"),
            format!("{{\"_id\":{number}}}"),
        );
        let all = [("tw-id", &*id), ("tw-job", "bench"), ("tw-ts", &*now)];
        let headers = all
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                let value = Some(value);
                headers.insert(Header { key, value })
            });
        let mut record = BaseRecord::to(topic)
            .key(key.as_str())
            .payload(value.as_str())
            .headers(headers);
        loop {
            let full = RDKafkaErrorCode::QueueFull;
            record = match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(code), record)) if code == full => record,
                Err((error, _)) => return Err(error.into()),
            };
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

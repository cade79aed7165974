//! A cold start: from the start of the process to the first acknowledged record, with a checkpoint.

use crate::error::Fallible;
use crate::kafka::Broker;
use crate::load::{self, Waiting};
use crate::record::{Results, Run, value};
use crate::settings::Settings;
use crate::subject::{self, Subject, Variant};
use bson::doc;
use jiff::Timestamp;
use mongodb::Client;
use std::time::{Duration, Instant};

const MODE: &str = "start";
const PATIENCE: Duration = Duration::from_secs(60);

/// # Errors
/// What went wrong with a server or the subject.
pub async fn run(settings: &Settings) -> Fallible {
    let client = Client::with_uri_str(&settings.mongodb_uri).await?;
    let broker = Broker::new(&settings.kafka_brokers)?;
    let mut results = Results::open(&settings.folder)?;
    let subject = Subject::Tailwater(Variant::default());
    results.setting(&subject.name(), subject.settings(settings))?;
    let topic = format!("start.{}", subject::unique());
    broker.create(&topic).await?;
    // A first start, which leaves a checkpoint.
    let variant = Variant::default();
    let start = || subject::tailwater(settings, load::DATABASE, &topic, "now", &variant);
    let mut running = start()?;
    subject::carries(&mut running, &client, &broker, &topic).await?;
    running.stop().await?;

    let entries = settings.events(300_000, 20_000);
    let turns = settings
        .turns
        .unwrap_or(if settings.short { 3 } else { 10 });
    let long = format!("{entries} entries in the oplog");
    for (case, entries) in [("a short oplog", 0), (&long, entries)] {
        if entries > 0 {
            load::fill(&client, &Waiting::inserts("elsewhere", entries)).await?;
        }
        for turn in 0..turns {
            let before = broker.end(&topic)?;
            load::collection(&client)
                .insert_one(doc! { "probe": true })
                .await?;
            let clock = Timestamp::now();
            let mut running = start()?;
            while broker.end(&topic)? == before {
                running.usage()?;
                if running.began.elapsed() > PATIENCE {
                    return Err("no record came: see the log".into());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let (first, usage) = (Instant::now() - running.began, running.usage()?);
            running.stop().await?;
            let mut run = Run::new(MODE, case, &subject.name(), turn);
            run.set(value::FIRST_MS, first.as_secs_f64() * 1e3)
                .set(value::CPU_MS, usage.cpu.as_secs_f64() * 1e3)
                .set(value::RSS_MB, usage.peak_rss as f64 / 1e6);
            results.run(run)?;
            if turn + 1 == turns {
                let phases = phases(settings, clock, first)?;
                results.note(
                    MODE,
                    format!("{case}, what the last start logged: {phases}"),
                )?;
            }
        }
    }
    Ok(())
}

/// Lines of the log until the first record, with the time since the start.
fn phases(settings: &Settings, began: Timestamp, first: Duration) -> Fallible<String> {
    let log = std::fs::read_to_string(settings.folder.join(subject::TAILWATER_LOG))?;
    let lines = log.lines().filter_map(|line| {
        let (time, rest) = line.split_once(' ')?;
        let since = time.parse::<Timestamp>().ok()?.duration_since(began);
        let text: String = rest.trim_start().chars().take(60).collect();
        (since.as_millis() < first.as_millis() as i128)
            .then(|| format!("{} ms `{}`", since.as_millis(), text.replace('`', "'")))
    });
    let mut lines: Vec<String> = lines.collect();
    lines.push(format!("{} ms acknowledged", first.as_millis()));
    Ok(lines.join(", "))
}

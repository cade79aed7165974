//! Many streams in one process, at rest: memory, CPU, threads, and how long a start and a stop take.

use crate::error::Fallible;
use crate::process::{self, Measured};
use crate::record::{Results, Run, value};
use crate::settings::Settings;
use crate::subject::{self, Subject, Variant};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const MODE: &str = "streams";
const PATIENCE: Duration = Duration::from_secs(180);
/// After the start, before it is at rest.
const SETTLING: Duration = Duration::from_secs(30);

/// # Errors
/// What went wrong with a server or the subject.
pub async fn run(settings: &Settings) -> Fallible {
    let mut results = Results::open(&settings.folder)?;
    let subject = Subject::Tailwater(Variant::default());
    results.setting(&subject.name(), subject.settings(settings))?;
    let rest = Duration::from_secs(if settings.short { 10 } else { 60 });
    for count in [1, 10, 100] {
        let log = settings.folder.join(subject::TAILWATER_LOG);
        let mut running = start(settings, count, &log)?;
        let began = Instant::now();
        while open(&log)? < count {
            running.usage()?;
            if began.elapsed() > PATIENCE {
                return Err(format!("{count} streams are not all open: see the log").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let opened = began.elapsed();
        tokio::time::sleep(SETTLING).await;
        let (since, before) = (Instant::now(), running.usage()?);
        tokio::time::sleep(rest).await;
        let after = running.usage()?;
        let cores = (after.cpu - before.cpu).as_secs_f64() / since.elapsed().as_secs_f64();
        let threads = process::threads(running.id())?;
        let stopping = Instant::now();
        running.stop().await?;
        let mut run = Run::new(MODE, &format!("{count} streams"), &subject.name(), 0);
        run.set(value::FIRST_MS, opened.as_secs_f64() * 1e3)
            .set(value::RSS_MB, after.rss as f64 / 1e6)
            .set(value::CORES, cores)
            .set(value::THREADS, threads as f64)
            .set(value::ALL_S, stopping.elapsed().as_secs_f64());
        results.run(run)?;
    }
    Ok(())
}

fn start(settings: &Settings, count: usize, log: &Path) -> Fallible<Measured> {
    // What a topic's name may have, a database's may not.
    let unique = subject::unique().replace('.', "_");
    let names: Vec<_> = (0..count)
        .map(|index| format!("s{unique}_{index}"))
        .collect();
    let mut command = Command::new(std::fs::canonicalize(&settings.tailwater)?);
    command
        .envs(subject::tailwater_variables(
            settings,
            "streams.changes",
            "now",
            &Variant::default(),
        ))
        .env_remove("STREAM_ID")
        .env("KAFKA_CLIENT_ID", format!("streams-{unique}"))
        .env("STREAMS", names.join(","))
        .current_dir(&settings.folder);
    Measured::start("streams", &mut command, log)
}

/// How many streams were opened, by the log.
fn open(log: &Path) -> Fallible<usize> {
    let text = std::fs::read_to_string(log)?;
    Ok(text.matches("to=\"running\"").count())
}

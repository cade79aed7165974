//! A process of its own that commits as fast as it can, to be killed: this test binary again.

use super::{commit, config, open};
use crate::support::Process;
use std::process::Command;
use std::time::Duration;
use tailwater::config::{Config, ResumeBackend};

const KIND: &str = "TAILWATER_TEST_WRITER";
const PLACE: &str = "TAILWATER_TEST_WRITER_PLACE";
const STREAM: &str = "TAILWATER_TEST_WRITER_STREAM";
const FIRST: &str = "TAILWATER_TEST_WRITER_FIRST";

/// Starts a writer on the file or the broker of `config`, whose first step is `first`.
pub(super) fn spawn(config: &Config, first: u32) -> Process {
    let (kind, place) = match &config.streams[0].resume.backend {
        ResumeBackend::File { path } => ("file", path.display().to_string()),
        ResumeBackend::Kafka { topic } => ("kafka", format!("{} {topic}", config.kafka.brokers)),
        ResumeBackend::MongoDb { .. } => unreachable!("no test writes to mongodb this way"),
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "checkpoints::writer::writes_until_it_is_killed"])
        .args(["--ignored", "--nocapture"])
        .env(KIND, kind)
        .env(PLACE, place)
        .env(STREAM, &config.streams[0].id)
        .env(FIRST, first.to_string());
    Process::spawn("writer", &mut command)
}

/// The last step of which a writer has said that it is stored.
pub(super) fn last_step(output: &str) -> Option<u32> {
    let (complete, _) = output.rsplit_once('\n')?;
    complete
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("stored ")?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by other tests as a process of its own"]
async fn writes_until_it_is_killed() {
    let Ok(kind) = std::env::var(KIND) else {
        return;
    };
    let place = std::env::var(PLACE).unwrap();
    let mut config = match kind.as_str() {
        "file" => config(ResumeBackend::File { path: place.into() }),
        _ => {
            let (brokers, topic) = place.split_once(' ').unwrap();
            let mut config = config(ResumeBackend::Kafka {
                topic: topic.to_owned(),
            });
            config.kafka.brokers = brokers.to_owned();
            config
        }
    };
    config.streams[0].id = std::env::var(STREAM).unwrap();
    let first: u32 = std::env::var(FIRST).unwrap().parse().unwrap();
    let (mut store, _) = open(&config, "writer").await;
    // Ends by itself should nobody kill it.
    for step in first..first + 1_000_000 {
        commit(&mut store, step).await.unwrap();
        println!("stored {step}");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
}

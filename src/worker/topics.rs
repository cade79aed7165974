//! The topics of jobs: which there are, and the one of dead letters.

use super::dead_letters::DeadLetters;
use super::group::Member;
use crate::config::Kafka;
use crate::config::worker::is_reserved;
use crate::error::{Code, Error};
use crate::kafka::client;
use crate::kafka::topic;
use crate::source::pattern::Pattern;
use crate::status::worker::Board;
use crate::tasks;
use rdkafka::admin::AdminOptions;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often new topics are looked for.
const LOOK: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(5);
/// Before Kafka is asked again.
const BREATH: Duration = Duration::from_secs(1);

/// Whether jobs of this topic are carried out.
pub fn is_of_jobs(patterns: &[Pattern], topic: &str) -> bool {
    // Kafka's own topics are internal.
    let is_internal = topic.starts_with("__");
    !is_reserved(topic) && !is_internal && patterns.iter().any(|pattern| pattern.matches(topic))
}

/// Follows which topics there are, without an end.
pub async fn follow(patterns: &[String], asked: &DeadLetters, member: &Member, board: &Board) {
    let parsed: Vec<_> = patterns.iter().map(|text| Pattern::new(text)).collect();
    let mut before: Option<BTreeSet<String>> = None;
    loop {
        let client = asked.clone();
        let found = tasks::blocking("the topics of jobs", move || client.topics(ANSWER)).await;
        match found {
            Ok(Ok(all)) => {
                board.go_on("kafka");
                let jobs = all.into_iter().filter(|topic| is_of_jobs(&parsed, topic));
                let jobs: BTreeSet<String> = jobs.collect();
                match jobs.is_empty() {
                    true => board.wait(
                        "topics",
                        format!(
                            "there is no topic of jobs yet: none matches {}",
                            patterns.join(", ")
                        ),
                    ),
                    false => {
                        board.go_on("topics");
                    }
                }
                if before.as_ref() != Some(&jobs) {
                    tracing::info!(topics = ?jobs, "reading the topics of jobs");
                    board.change().topics = jobs.iter().cloned().collect();
                    if jobs.is_empty() {
                        // There is nothing to be a member for.
                        board.ready.set(true);
                    }
                    member.read(jobs.clone());
                    before = Some(jobs);
                }
            }
            Ok(Err(error)) => {
                let sentence = format!("kafka does not answer: {}", client::describe(&error));
                board.wait("kafka", sentence);
            }
            // A panic has been reported by the panic hook.
            Err(_) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Makes a topic where it is missing, and waits for Kafka while it does not answer.
///
/// # Errors
/// [`Code::SinkRefused`] when it is missing and may not be made.
pub async fn prepare(
    kafka: &Kafka,
    name: &'static str,
    board: &Board,
    stop: &CancellationToken,
) -> Result<(), Error> {
    loop {
        let kafka = kafka.clone();
        // The client blocks when it looks at metadata and when it is dropped.
        let prepared = tasks::blocking("the topic of dead letters", move || make(&kafka, name));
        match prepared.await? {
            Ok(()) => {
                board.go_on("kafka");
                return Ok(());
            }
            Err(error) if error.code == Code::SinkUnavailable => {
                tracing::warn!("waiting for Kafka: {error}");
                board.wait("kafka", error.to_string());
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(BREATH) => {}
        }
    }
}

fn make(kafka: &Kafka, name: &str) -> Result<(), Error> {
    let admin = topic::admin(kafka)?;
    let partitions = kafka.creation.partitions.unwrap_or(-1);
    let settings = kafka.creation.config.iter();
    let settings: Vec<_> = settings
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(topic::METADATA_TIMEOUT));
    let absent = || {
        format!(
            "the topic {name} for jobs that fail for good does not exist, and KAFKA_CREATE_TOPICS=false; create it"
        )
    };
    let wanted = (name, partitions);
    topic::make_missing(&admin, &kafka.creation, wanted, &settings, options, absent)?;
    client::end_beside(admin);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_dead_letter_becomes_a_job() {
        let patterns = [Pattern::new("*")];
        for (topic, is_so) in [
            ("jobs.mail", true),
            ("tenant.jobs.mail", true),
            ("jobs.dlq", false),
            ("jobs.dlq2", true),
            ("jobs.retry", false),
            ("jobs.retry.tailwater-workers", false),
            ("__consumer_offsets", false),
        ] {
            assert_eq!(is_of_jobs(&patterns, topic), is_so, "{topic}");
        }
        assert!(!is_of_jobs(&[Pattern::new("jobs.*")], "other.mail"));
    }
}

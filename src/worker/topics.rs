//! The topics of jobs: which there are, and the workers' own, of dead letters and of retries.

mod ids;

use super::dead_letters::DeadLetters;
use super::group::Member;
use super::parking::Parking;
use crate::config::Kafka;
use crate::config::worker::{DEAD_LETTERS, is_reserved};
use crate::error::{Code, Error};
use crate::kafka::client::{self, Kind, Logging};
use crate::kafka::rights::{self, Use};
use crate::kafka::topic;
use crate::preflight::{Finding, Severity};
use crate::source::pattern::Pattern;
use crate::status::worker::Board;
use crate::tasks;
use ids::Ids;
use rdkafka::admin::AdminOptions;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::BTreeSet;
use std::time::Duration;

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
pub async fn follow(
    (kafka, patterns): (&Kafka, &[String]),
    asked: &DeadLetters,
    (member, parking): (&Member, &Parking),
    board: &Board,
) {
    let parsed: Vec<_> = patterns.iter().map(|text| Pattern::new(text)).collect();
    let mut before: Option<(BTreeSet<String>, bool)> = None;
    let (mut seen, mut ids) = (BTreeSet::new(), Ids::default());
    loop {
        let client = asked.clone();
        let found = tasks::blocking("the topics of jobs", move || client.topics(ANSWER)).await;
        match found {
            Ok(Ok(all)) => {
                board.go_on("kafka");
                let has_retries = all.contains(&parking.topic);
                let is_read =
                    |topic: &&String| is_of_jobs(&parsed, topic) || **topic == parking.topic;
                let now: BTreeSet<String> = all.iter().filter(is_read).cloned().collect();
                member.read_anew(ids.look(asked, &now, ANSWER).await);
                forget(kafka, &mut seen, now, member).await;
                if !has_retries && parking.is_needed() {
                    match prepare(kafka, Own::Retries(parking), board).await {
                        // It is read with the others, as soon as it is seen.
                        Ok(()) => continue,
                        // Jobs wait in memory meanwhile.
                        Err(error) => board.wait("retries", error.to_string()),
                    }
                }
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
                let found = (jobs, has_retries);
                if before.as_ref() != Some(&found) {
                    let mut topics = found.0.clone();
                    tracing::info!(topics = ?topics, "reading the topics of jobs");
                    board.change().topics = topics.iter().cloned().collect();
                    topics.extend(has_retries.then(|| parking.topic.clone()));
                    if topics.is_empty() {
                        // There is nothing to be a member for.
                        board.ready.set(true);
                    }
                    member.read(topics);
                    before = Some(found);
                }
            }
            Ok(Err(error)) => {
                let (brokers, why) = (&kafka.brokers, client::describe(&error));
                let sentence = format!("kafka at {brokers} does not answer: {why}");
                board.wait("kafka", sentence);
            }
            // A panic has been reported by the panic hook.
            Err(_) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Has the member say what is lost with topics that were there and are no longer.
async fn forget(
    kafka: &Kafka,
    seen: &mut BTreeSet<String>,
    now: BTreeSet<String>,
    member: &Member,
) {
    let missing: BTreeSet<String> = seen.difference(&now).cloned().collect();
    *seen = now;
    if missing.is_empty() {
        return;
    }
    let kafka = kafka.clone();
    let looked = tasks::blocking("topics that are gone", move || look(&kafka, missing));
    // A panic has been reported by the panic hook.
    if let Ok(Looked { deleted, unknown }) = looked.await {
        seen.extend(unknown);
        member.forget(deleted);
    }
}

/// The workers' own topics.
#[derive(Debug, Clone, Copy)]
pub enum Own<'a> {
    DeadLetters,
    Retries(&'a Parking),
}

impl Own<'_> {
    fn name(self) -> String {
        match self {
            Self::DeadLetters => DEAD_LETTERS.to_owned(),
            Self::Retries(parking) => parking.topic.clone(),
        }
    }

    fn used_for(self) -> Use {
        match self {
            Self::DeadLetters => Use::Produce,
            Self::Retries(_) => Use::Retries,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::DeadLetters => "for jobs that fail for good",
            Self::Retries(_) => "in which jobs without an order wait for their next attempt",
        }
    }
}

/// Makes a topic where it is missing, looks whether it may be used, and waits for Kafka while it does not answer.
///
/// # Errors
/// [`Code::SinkRefused`] when it is missing and may not be made, or may not be used.
pub async fn prepare(kafka: &Kafka, own: Own<'_>, board: &Board) -> Result<(), Error> {
    let brokers = &kafka.brokers;
    loop {
        let kafka = kafka.clone();
        let (name, used_for, what) = (own.name(), own.used_for(), own.what());
        // The client blocks when it looks at metadata and when it is dropped.
        let prepared = tasks::blocking("a topic of the workers", move || {
            make(&kafka, &name, used_for, what)
        });
        match prepared.await? {
            Ok(()) => {
                board.go_on("kafka");
                return Ok(());
            }
            Err(error) if error.code == Code::SinkUnavailable => {
                tracing::warn!("waiting for Kafka at {brokers}: {error}");
                board.wait(
                    "kafka",
                    format!("kafka at {brokers} does not answer: {error}"),
                );
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(BREATH).await;
    }
}

fn make(kafka: &Kafka, name: &str, used_for: Use, what: &str) -> Result<(), Error> {
    let admin = topic::admin(kafka)?;
    let partitions = kafka.creation.partitions.unwrap_or(-1);
    let settings = kafka.creation.config.iter();
    let settings: Vec<_> = settings
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(topic::METADATA_TIMEOUT));
    let absent = || {
        format!("the topic {name} {what} does not exist, and KAFKA_CREATE_TOPICS=false; create it")
    };
    let wanted = (name, partitions);
    topic::make_missing(&admin, &kafka.creation, wanted, &settings, options, absent)?;
    let findings = rights::on_topics(admin.inner(), kafka, &[(name, used_for)]);
    client::end_beside(admin);
    let lacking = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    let lacking: Vec<_> = lacking.map(Finding::on_one_line).collect();
    match lacking.is_empty() {
        true => Ok(()),
        false => Err(Error::new(
            Code::SinkRefused,
            format!("{}, {what}", lacking.join("; ")),
        )),
    }
}

/// What becomes of topics that are no longer listed.
#[derive(Debug, Default)]
struct Looked {
    deleted: BTreeSet<String>,
    /// Kafka has not answered.
    unknown: BTreeSet<String>,
}

/// Looks which of these were deleted: the rest this user may no longer see, or has no leader now. Blocks.
fn look(kafka: &Kafka, topics: BTreeSet<String>) -> Looked {
    let mut looked = Looked::default();
    // Unlike a producer it makes no topic by asking for it.
    let config = client::client_config(kafka, Kind::Consumer);
    let Ok(asked) = BaseConsumer::from_config_and_context(&config, Logging::default()) else {
        looked.unknown = topics;
        return looked;
    };
    for topic in topics {
        let Ok(metadata) = asked.fetch_metadata(Some(&topic), ANSWER) else {
            looked.unknown.insert(topic);
            continue;
        };
        let found = metadata.topics().iter().find(|it| it.name() == topic);
        let error = found.and_then(|found| found.error().map(RDKafkaErrorCode::from));
        if error == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            looked.deleted.insert(topic);
        }
    }
    client::end_beside(asked);
    looked
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

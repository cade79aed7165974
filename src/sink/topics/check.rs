//! What `tailwater check` says of Kafka. Nothing is created: whether it could be is asked.

use super::cluster::{Creation, State};
use super::{MOST_AHEAD, REACH_PATIENCE, TopicInfo, TopicProblem, Topics};
use crate::change::namespace::Namespace;
use crate::config::{Kafka, StreamSpec, TopicCreation};
use crate::error::{Code, Error};
use crate::kafka::rights::{self, Use};
use crate::preflight::Finding;
use crate::route::Router;
use rdkafka::error::RDKafkaErrorCode;

const NAME: &str = "kafka.topics";

/// Looks at everything the configuration needs of Kafka: that a broker answers, takes the log-in,
/// and has, or would let us make, each topic that is known without an event, and those that templates give
/// for these collections and operations; none where they could not be listed.
pub async fn check(
    kafka: &Kafka,
    stream: &StreamSpec,
    ahead: Option<(&[Namespace], &[&str])>,
) -> Vec<Finding> {
    let refused = |error: Error| {
        let name = match error.code {
            Code::Config => "kafka.config",
            _ => "kafka.client",
        };
        vec![Finding::error(name, error.code, error.detail)]
    };
    let topics = match Topics::new(kafka) {
        Ok(topics) => topics,
        Err(error) => return refused(error),
    };
    let mut router = match Router::of(stream) {
        Ok(router) => router,
        Err(error) => return refused(error),
    };
    let findings = look_at(&topics, &mut router, kafka, ahead).await;
    // A client's end waits for its threads.
    let _ = tokio::task::spawn_blocking(move || drop(topics)).await;
    findings
}

async fn look_at(
    topics: &Topics,
    router: &mut Router,
    kafka: &Kafka,
    ahead: Option<(&[Namespace], &[&str])>,
) -> Vec<Finding> {
    if let Err(unreachable) = topics.cluster.reach(REACH_PATIENCE).await {
        return vec![unreachable.finding()];
    }
    let brokers = &kafka.brokers;
    let mut findings = vec![Finding::ok(
        "kafka.reachable",
        format!("Kafka answers at {brokers}"),
    )];
    let fixed = router.table().all();
    let names = fixed.iter().map(|topic| topic.name().to_owned()).collect();
    findings.extend(look_at_each(topics, kafka, names).await);
    let kafka_of_id = kafka.clone();
    let asked = tokio::task::spawn_blocking(move || rights::producer_id(&kafka_of_id));
    findings.extend(asked.await.unwrap_or_default());
    if let Some((collections, operations)) = ahead {
        let of_templates = router.topics_of(collections, operations, MOST_AHEAD);
        findings.extend(topics.would_make_ahead(&of_templates).await);
    }
    if router.has_templates() {
        let made = match kafka.creation.enabled {
            true => "made",
            false => "looked for",
        };
        let others = match ahead {
            Some(_) => "topics of collections that are not there yet are",
            None => "topics with placeholders are",
        };
        let sentence = format!("{others} {made} at their first event");
        findings.push(Finding::ok(NAME, sentence));
    }
    findings
}

/// Looks at topics that have a name: whether they are there or would be made, and may be written.
async fn look_at_each(topics: &Topics, kafka: &Kafka, names: Vec<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut missing, mut present) = (Vec::new(), Vec::new());
    for name in names {
        match topics.look(&name).await {
            Ok(Look::Ready(info)) => {
                findings.push(ready(&name, info));
                present.push(name);
            }
            Ok(Look::WouldBeCreated) => findings.push(Finding::ok(
                NAME,
                format!(
                    "{name} does not exist yet and will be created; whether this user may write to it shows then"
                ),
            )),
            Err(TopicProblem::Missing { name }) => missing.push(name),
            Err(problem) => findings.push(problem.finding()),
        }
    }
    if !missing.is_empty() {
        findings.push(self::missing(&missing, &kafka.creation, &kafka.brokers));
    }
    findings.extend(topics.rights(kafka, present).await);
    findings
}

/// Looks at topics of jobs that no stream has as its own. Whether the user may produce at all, [`check`] has asked.
pub async fn check_jobs(kafka: &Kafka, names: Vec<String>) -> Vec<Finding> {
    let topics = match Topics::new(kafka) {
        Ok(topics) => topics,
        Err(error) => return vec![Finding::error("kafka.client", error.code, error.detail)],
    };
    let findings = match topics.cluster.reach(REACH_PATIENCE).await {
        Ok(()) => look_at_each(&topics, kafka, names).await,
        Err(unreachable) => vec![unreachable.finding()],
    };
    // A client's end waits for its threads.
    let _ = tokio::task::spawn_blocking(move || drop(topics)).await;
    findings
}

enum Look {
    Ready(TopicInfo),
    WouldBeCreated,
}

impl Topics {
    /// What is wrong with the rights on topics that exist.
    async fn rights(&self, kafka: &Kafka, present: Vec<String>) -> Vec<Finding> {
        let (kafka, admin) = (kafka.clone(), self.cluster.admin().clone());
        let look = move || {
            let topics: Vec<_> = present
                .iter()
                .map(|name| (name.as_str(), Use::Produce))
                .collect();
            rights::on_topics(admin.inner(), &kafka, &topics)
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    /// As [`Topics::ensure_one`], without making anything.
    async fn look(&self, name: &str) -> Result<Look, TopicProblem> {
        let owned = || name.to_owned();
        match self.cluster.look(name).await {
            Ok(State::Ready { partitions }) => {
                let limits = self.cluster.limits(name).await.unwrap_or_default();
                Ok(Look::Ready(TopicInfo {
                    partitions,
                    max_message_bytes: limits.max_message_bytes,
                    times: limits.times,
                    exists: true,
                }))
            }
            Ok(State::Leaderless { partition }) => Err(TopicProblem::NoLeader {
                name: owned(),
                partition,
            }),
            Ok(State::Forbidden) => Err(TopicProblem::Forbidden { name: owned() }),
            Ok(State::Illegal) => Err(self.not_created(name, RDKafkaErrorCode::InvalidTopic).await),
            Ok(State::Missing) if !self.creation.enabled => Err(self.not_there(name).await),
            Ok(State::Missing) => {
                self.may_create(name).await?;
                Ok(Look::WouldBeCreated)
            }
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// Asks whether the topic could be made, and makes nothing.
    pub(super) async fn may_create(&self, name: &str) -> Result<(), TopicProblem> {
        let trial = self
            .cluster
            .create(name, &self.creation, Creation::Trial)
            .await;
        match trial.map_err(|error| self.unreachable(&error))? {
            Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists) => Ok(()),
            Err(code) => Err(self.not_created(name, code).await),
        }
    }
}

/// The finding of a topic that can be written to.
pub(super) fn ready(name: &str, info: TopicInfo) -> Finding {
    if !info.exists {
        let sentence = format!("{name} does not exist yet, and a dry run does not create it");
        return Finding::ok(NAME, sentence);
    }
    let partitions = match info.partitions {
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    };
    let limit = match info.max_message_bytes {
        Some(bytes) => format!("records up to {bytes} bytes"),
        None => "its record limit may not be read".into(),
    };
    Finding::ok(NAME, format!("{name} has {partitions}, {limit}"))
}

/// The finding of all topics that are missing, with the commands that make them.
pub(super) fn missing(names: &[String], wanted: &TopicCreation, brokers: &str) -> Finding {
    let mut options = String::new();
    for (option, number) in [
        ("partitions", wanted.partitions),
        ("replication-factor", wanted.replication),
    ] {
        if let Some(number) = number {
            options += &format!(" --{option} {number}");
        }
    }
    for (name, value) in &wanted.config {
        options += &format!(" --config {name}={value}");
    }
    let commands = names.iter().map(|name| {
        format!("kafka-topics.sh --bootstrap-server {brokers} --create --topic {name}{options}")
    });
    let (noun, verb) = if names.len() == 1 {
        ("topic", "does")
    } else {
        ("topics", "do")
    };
    Finding::error(
        NAME,
        Code::SinkRefused,
        format!(
            "the {noun} {} {verb} not exist, and KAFKA_CREATE_TOPICS is false",
            names.join(", ")
        ),
    )
    .remedy(format!(
        "create what is missing, or set KAFKA_CREATE_TOPICS=true:\n{}",
        commands.collect::<Vec<_>>().join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_missing_topics_are_named_with_the_commands_that_make_them() {
        let wanted = TopicCreation {
            enabled: false,
            partitions: Some(6),
            replication: None,
            config: vec![("retention.ms".into(), "1000".into())],
        };
        let finding = missing(&["a".into(), "b".into()], &wanted, "kafka:9092");
        assert_eq!(finding.code, Some(Code::SinkRefused));
        assert!(
            finding.sentence.starts_with("the topics a, b do not exist"),
            "{finding}"
        );
        assert!(finding.remedy.unwrap().ends_with(
            "kafka-topics.sh --bootstrap-server kafka:9092 --create --topic b --partitions 6 \
                 --config retention.ms=1000"
        ));
    }

    #[test]
    fn brokers_that_are_still_starting_are_waited_for_and_settings_that_are_wrong_are_not() {
        let wanted = TopicCreation {
            enabled: true,
            partitions: None,
            replication: Some(3),
            config: vec![("retention.ms".into(), "never".into())],
        };
        let of = |code| TopicProblem::not_created("a", code, &wanted).finding();
        let replication = of(RDKafkaErrorCode::InvalidReplicationFactor);
        assert!(replication.is_transient && replication.sentence.contains("(3)"));
        let setting = of(RDKafkaErrorCode::InvalidConfig);
        assert!(!setting.is_transient && setting.sentence.contains("retention.ms=never"));
        assert_eq!(setting.code, Some(Code::SinkRefused));
    }
}

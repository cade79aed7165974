//! Whether this user may do with the two topics and the group what a run will, found out without joining.

use super::group;
use super::names::Names;
use super::topics::{self, Wanted};
use crate::config::Kafka;
use crate::coordination::GroupSettings;
use crate::error::Code;
use crate::kafka::client::{self, Quiet};
use crate::kafka::rights::{self, NAME, PATIENCE};
use crate::kafka::topic;
use crate::preflight::Finding;
use crate::tasks;
use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A session that no broker allows: the coordinator says so after it has looked at the rights, and before it takes a
/// member.
const NOT_ALLOWED: Duration = Duration::from_millis(1);

/// Looks at both. Nothing is made, and nobody's streams move.
pub async fn check(settings: &GroupSettings, streams: &BTreeSet<String>) -> Vec<Finding> {
    let kafka = settings.kafka.clone();
    let names = Names::new(&settings.topic, &kafka.client_id, streams);
    let runtime = tokio::runtime::Handle::current();
    let looked = tasks::blocking("the topics of the coordination", move || {
        let admin = match topic::admin(&kafka) {
            Ok(admin) => admin,
            Err(error) => return vec![Finding::of_kafka(NAME, error)],
        };
        let mut findings = Vec::new();
        let mut found = None;
        for topic in topics::wanted(&names) {
            let (exists, of_topic) = runtime.block_on(on_topic(&admin, &kafka, &topic));
            findings.extend(of_topic);
            found = found.or(exists.then_some(topic.name));
        }
        // Whoever joins a group has to name a topic that is there.
        if let Some(topic) = found
            && findings.iter().all(|finding| !finding.is_transient)
        {
            findings.extend(on_group(&kafka, &names, &topic));
        }
        client::end_beside(admin);
        findings
    });
    looked
        .await
        .unwrap_or_else(|error| vec![Finding::of_kafka(NAME, error)])
}

/// Whether it exists, and what was found.
async fn on_topic(
    admin: &AdminClient<client::Logging>,
    kafka: &Kafka,
    topic: &Wanted,
) -> (bool, Vec<Finding>) {
    let name = topic.name.as_str();
    match topic.find(admin) {
        Ok(Some(partitions)) => {
            let mut findings = rights::on_topics(admin.inner(), kafka, &[(name, topic.needed_for)]);
            let wrong = topic.check(partitions).err();
            findings.extend(wrong.map(|error| Finding::of_kafka(NAME, error)));
            if let Some((sentence, remedy)) = topic.shortcoming(admin, kafka).await {
                findings.push(Finding::warn(NAME, sentence).remedy(remedy));
            }
            (true, findings)
        }
        Ok(None) => match topic.may_create(admin, kafka).await {
            Ok(()) => {
                let sentence = format!(
                    "the topic {name} does not exist yet and will be created; whether this user may use it \
                     shows then"
                );
                (false, vec![Finding::ok(NAME, sentence)])
            }
            Err(error) => (false, vec![Finding::of_kafka(NAME, error)]),
        },
        // Without Describe it cannot even be seen.
        Err(error) if error.code == Code::SinkRefused => {
            let needed = topic.needed_for.names();
            (false, vec![rights::denied(kafka, "topic", name, &needed)])
        }
        Err(error) => (false, vec![Finding::of_kafka(NAME, error)]),
    }
}

fn on_group(kafka: &Kafka, names: &Names, topic: &str) -> Option<Finding> {
    use RDKafkaErrorCode as E;
    let group = &names.group;
    let answer = match ask_to_join(kafka, group, topic) {
        Ok(answer) => answer,
        Err(error) => Some(error),
    };
    match answer.as_ref().map(KafkaError::rdkafka_error_code) {
        Some(Some(E::InvalidSessionTimeout)) => None,
        Some(Some(E::GroupAuthorizationFailed)) => {
            Some(rights::denied(kafka, "group", group, &["Read"]))
        }
        // It was told of.
        Some(Some(E::TopicAuthorizationFailed)) => None,
        _ => {
            let why = answer.map(|error| client::describe(&error));
            let why = why.unwrap_or_else(|| "no answer in time".to_owned());
            Some(rights::unknown(&format!("the group {group}"), &why))
        }
    }
}

/// Asks to become a member in a way that is refused: what the refusal was for.
fn ask_to_join(kafka: &Kafka, group: &str, topic: &str) -> Result<Option<KafkaError>, KafkaError> {
    let config = group::config(kafka, group, NOT_ALLOWED);
    let consumer: BaseConsumer<Quiet> = BaseConsumer::from_config_and_context(&config, Quiet)?;
    consumer.subscribe(&[topic])?;
    let deadline = Instant::now() + PATIENCE;
    let mut last = None;
    while Instant::now() < deadline {
        let Some(Err(error)) = consumer.poll(Duration::from_millis(20)) else {
            continue;
        };
        let is_answer = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::InvalidSessionTimeout
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::TopicAuthorizationFailed
            )
        );
        last = Some(error);
        if is_answer {
            break;
        }
    }
    client::end_beside(consumer);
    Ok(last)
}

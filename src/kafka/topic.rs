//! Tailwater's own topics, those that records do not go to: looked at, made, waited for.

use super::client::{self, Kind, Logging};
use crate::config::{Kafka, TopicCreation};
use crate::error::{Code, Error};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::{Duration, Instant};
use tracing::warn;

/// How long the brokers may take to describe a topic.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
const CREATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How many partitions a topic has, each with a leader; `None` where it does not exist. Blocks.
///
/// # Errors
/// When the brokers cannot say now, or will not.
pub fn partitions(client: &Client<Logging>, name: &str) -> Result<Option<i32>, KafkaError> {
    let metadata = client.fetch_metadata(Some(name), METADATA_TIMEOUT)?;
    let mut topics = metadata.topics().iter();
    let Some(topic) = topics.find(|topic| topic.name() == name) else {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic));
    };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            return Ok(None);
        }
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
    }
    let has_leaders = topic.partitions().iter().all(|it| it.leader() >= 0);
    match i32::try_from(topic.partitions().len()) {
        Ok(count) if count > 0 && has_leaders => Ok(Some(count)),
        _ => Err(KafkaError::MetadataFetch(
            RDKafkaErrorCode::LeaderNotAvailable,
        )),
    }
}

/// A client that looks at topics and makes them.
///
/// # Errors
/// When librdkafka does not take the properties.
pub fn admin(kafka: &Kafka) -> Result<AdminClient<Logging>, Error> {
    let config = client::client_config(kafka, Kind::Admin);
    AdminClient::from_config_and_context(&config, Logging::default())
        .map_err(|error| client::error("creating a Kafka client", &error))
}

/// Whether an error means that a topic was just made, or its leader just elected, which is not known everywhere at once.
pub fn is_settling(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopic
        )
    )
}

/// Makes a topic where it is missing, and waits for it; `absent` says what to do where it may not be made. Blocks.
///
/// # Errors
/// [`Code::SinkRefused`] when it is missing and may not be made, and what Kafka answers.
pub fn make_missing(
    admin: &AdminClient<Logging>,
    creation: &TopicCreation,
    (name, partitions): (&str, i32),
    settings: &[(&str, &str)],
    options: AdminOptions,
    absent: impl FnOnce() -> String,
) -> Result<(), Error> {
    let find = || {
        self::partitions(admin.inner(), name)
            .map_err(|error| client::error(format!("looking for the topic {name}"), &error))
    };
    if find()?.is_some() {
        return Ok(());
    }
    if !creation.enabled {
        return Err(Error::new(Code::SinkRefused, absent()));
    }
    let made = create(admin, creation, (name, partitions), settings, options);
    tokio::runtime::Handle::current()
        .block_on(made)
        .map_err(|error| client::error(format!("creating the topic {name}"), &error))?;
    await_new(&format!("topic {name}"), find).map(drop)
}

/// Makes a topic; whether it was made, and not by somebody who was faster.
///
/// # Errors
/// Why the brokers do not make it.
pub async fn create(
    admin: &AdminClient<Logging>,
    creation: &TopicCreation,
    (name, partitions): (&str, i32),
    settings: &[(&str, &str)],
    options: AdminOptions,
) -> Result<bool, KafkaError> {
    // -1 leaves it to the broker.
    let replication = TopicReplication::Fixed(creation.replication.unwrap_or(-1));
    let mut topic = NewTopic::new(name, partitions, replication);
    for (setting, value) in settings {
        topic = topic.set(setting, value);
    }
    let options = options.operation_timeout(Some(CREATION_TIMEOUT));
    let results = admin.create_topics([&topic], &options).await?;
    match results.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(false),
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        Some(Ok(_)) => Ok(true),
    }
}

/// Asks for a topic's `cleanup.policy`; `None` where it is not told, with a warning if this user may not see it.
///
/// # Errors
/// When the brokers cannot say now.
pub async fn cleanup_policy<C: ClientContext>(
    admin: &AdminClient<C>,
    name: &str,
) -> Result<Option<String>, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(METADATA_TIMEOUT));
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(name)], &options)
        .await?;
    match described.into_iter().next() {
        Some(Ok(resource)) => Ok(resource
            .get("cleanup.policy")
            .and_then(|entry| entry.value.clone())),
        Some(Err(code)) => {
            warn!(
                topic = name, error = %code,
                "cannot see whether the topic is compacted (cleanup.policy=compact)"
            );
            Ok(None)
        }
        None => Ok(None),
    }
}

/// The command that makes a topic compacted.
pub fn compacting(brokers: &str, name: &str) -> String {
    format!(
        "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {name} \
         --add-config cleanup.policy=compact"
    )
}

/// Waits for a new topic: it becomes known and gets its leaders a little later. Blocks.
///
/// # Errors
/// What `find` gives, and [`Code::SinkUnavailable`] where it is not found in time.
pub fn await_new<T>(what: &str, find: impl Fn() -> Result<Option<T>, Error>) -> Result<T, Error> {
    let deadline = Instant::now() + CREATION_TIMEOUT;
    loop {
        let problem = match find() {
            Ok(Some(topic)) => return Ok(topic),
            Ok(None) => {
                let sentence = format!("the new {what} does not show up");
                Error::new(Code::SinkUnavailable, sentence)
            }
            Err(error) => error,
        };
        if Instant::now() >= deadline || problem.code != Code::SinkUnavailable {
            return Err(problem);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Settings of a topic, as they are given to whoever is to make it by hand.
pub fn listed(settings: &[(&str, &str)]) -> String {
    let settings = settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    settings.collect::<Vec<_>>().join(", ")
}

//! Kafka's consumer group, which spreads the streams: a member reads nothing, and only hears which
//! partitions are assigned to it.
//!
//! What is taken back is given up at once. The registry, not the group, makes the next owner wait until
//! the stream has been drained, so that the group never waits for a stream.

use super::heard::{Failed, Heard, Listening};
use super::names::Names;
use super::pulse::Pulse;
use super::topics;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::bootstrap;
use crate::kafka::client::{self, Hearing, Kind};
use rdkafka::bindings::rd_kafka_resp_err_t as Answer;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// How long one poll waits at most: what is told to the thread is seen after that.
const POLL: Duration = client::poll_wait(200);

/// A member of the group. Dropping it leaves the group, so that the others need not wait for the end of the session.
pub type Group = Listening;

/// Joins the group.
///
/// # Errors
/// When librdkafka does not take the properties.
pub fn join(
    kafka: &Kafka,
    names: &Names,
    session: Duration,
    heard: mpsc::Sender<Heard>,
    pulse: Pulse,
) -> Result<Group, Error> {
    let assignments = Assignments {
        names: names.clone(),
        heard: heard.clone(),
    };
    let config = config(kafka, &names.group, session);
    let consumer = BaseConsumer::from_config_and_context(&config, Hearing::new(assignments))
        .map_err(|error| client::error("creating a consumer for the group of streams", &error))?;
    let failed = |error: &KafkaError| {
        client::error(format!("subscribing to the topic {}", names.group), error)
    };
    consumer
        .subscribe(&[&names.group])
        .map_err(|error| failed(&error))?;
    let (group, brokers) = (names.group.clone(), kafka.brokers.clone());
    let mut is_member = true;
    Listening::start("streams-group", heard, move |heard| {
        // Whoever says nothing for so long is dead to the others, and shall have nothing assigned.
        let is_alive = pulse.silence() < session;
        if is_alive != is_member {
            is_member = is_alive;
            follow(&consumer, &group, is_alive);
        }
        let polled = consumer.poll(POLL);
        bootstrap::keep(consumer.client(), &brokers);
        if let Some(Err(error)) = polled {
            let _ = heard.blocking_send(Heard::Failed(Failed {
                is_missing: topics::is_missing(&error),
                error: explain(&group, session, &error),
            }));
        }
    })
}

/// Joins or leaves the group as this instance is heard or not.
fn follow(consumer: &BaseConsumer<Hearing<Assignments>>, group: &str, is_alive: bool) {
    if !is_alive {
        warn!(
            group,
            "the others have not heard of this instance for a session; it leaves the group"
        );
        consumer.unsubscribe();
        return;
    }
    info!(
        group,
        "the others hear of this instance again; it joins the group"
    );
    if let Err(error) = consumer.subscribe(&[group]) {
        client::log_error(&error, "joining the group again");
    }
}

pub(super) fn config(kafka: &Kafka, group: &str, session: Duration) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Consumer);
    for name in [
        "auto.commit.enable",
        "group.instance.id",
        "group.remote.assignor",
        "statistics.interval.ms",
    ] {
        config.remove(name);
    }
    bootstrap::watch(&mut config);
    let session = session.as_millis();
    config
        .set("group.id", group)
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", session.to_string())
        .set("heartbeat.interval.ms", heartbeat(session).to_string())
        .set("max.poll.interval.ms", session.max(300_000).to_string())
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        // Nothing is read, so nothing else tells that the topic is gone.
        .set("topic.metadata.refresh.interval.ms", session.to_string())
        .set("reconnect.backoff.max.ms", topics::LONGEST_BACKOFF);
    config
}

/// In a heartbeat's answer a member learns that streams are to be moved. So they are more frequent than
/// the session needs.
fn heartbeat(session_millis: u128) -> u128 {
    (session_millis / 6).clamp(50, 1000)
}

/// What the group's refusal means, and what to do.
fn explain(group: &str, session: Duration, error: &KafkaError) -> Error {
    use RDKafkaErrorCode as E;
    let attempt = format!("being a member of the group {group}");
    let told = client::error(attempt, error);
    let (code, remedy) = match error.rdkafka_error_code() {
        Some(E::GroupAuthorizationFailed) => (
            Code::SinkRefused,
            format!("the user needs Read on the group {group}"),
        ),
        Some(E::TopicAuthorizationFailed) => (
            Code::SinkRefused,
            format!("the user needs Describe and Read on the topic {group}"),
        ),
        Some(E::InvalidSessionTimeout) => (
            Code::SinkRefused,
            format!(
                "the brokers do not allow a session of {} ms; it must be between their \
                 group.min.session.timeout.ms (6000 if it was not set) and group.max.session.timeout.ms: \
                 set KAFKA_SESSION_TIMEOUT_MS to such a time",
                session.as_millis()
            ),
        ),
        Some(E::InconsistentGroupProtocol) => (
            Code::SinkRefused,
            "another program is in the group, with another way to assign partitions; the group is for \
             Tailwater alone"
                .to_owned(),
        ),
        Some(E::UnsupportedVersion | E::UnsupportedFeature) => (
            Code::SinkRefused,
            "the brokers have no consumer groups; set COORDINATION to mongodb".to_owned(),
        ),
        _ => return told,
    };
    Error::new(code, format!("{}; {remedy}", told.detail))
}

/// Tells which streams are assigned.
struct Assignments {
    names: Names,
    heard: mpsc::Sender<Heard>,
}

impl Assignments {
    fn streams(&self, partitions: &TopicPartitionList) -> BTreeSet<String> {
        let elements = partitions.elements();
        let ours = elements.iter().filter(|it| it.topic() == self.names.group);
        let streams = ours.filter_map(|it| self.names.stream(it.partition()));
        streams.map(str::to_owned).collect()
    }

    /// An error means that the member is being closed.
    fn take(
        consumer: &BaseConsumer<Hearing<Self>>,
        partitions: &TopicPartitionList,
    ) -> Result<(), KafkaError> {
        let mut known = TopicPartitionList::with_capacity(partitions.count());
        for element in partitions.elements() {
            // A place that needs not be asked for: there are no records.
            let (topic, partition) = (element.topic(), element.partition());
            known.add_partition_offset(topic, partition, Offset::Offset(0))?;
        }
        consumer.incremental_assign(&known)?;
        if known.count() > 0 {
            consumer.pause(&known)?;
        }
        Ok(())
    }
}

impl ConsumerContext for Hearing<Assignments> {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        answer: Answer,
        partitions: &mut TopicPartitionList,
    ) {
        let streams = self.part.streams(partitions);
        let (done, said) = match answer {
            Answer::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => (
                Assignments::take(consumer, partitions),
                Heard::Assigned(streams),
            ),
            _ => (
                consumer.incremental_unassign(partitions),
                Heard::Revoked(streams),
            ),
        };
        if let Err(error) = done {
            client::log_error(&error, "answering the group");
        }
        let _ = self.part.heard.blocking_send(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_remedy() {
        for (code, remedy) in [
            (
                RDKafkaErrorCode::GroupAuthorizationFailed,
                "Read on the group g",
            ),
            (
                RDKafkaErrorCode::TopicAuthorizationFailed,
                "Read on the topic g",
            ),
            (RDKafkaErrorCode::InvalidSessionTimeout, "session of 500 ms"),
            (
                RDKafkaErrorCode::InconsistentGroupProtocol,
                "another program",
            ),
            (
                RDKafkaErrorCode::UnsupportedVersion,
                "COORDINATION to mongodb",
            ),
        ] {
            let error = KafkaError::MessageConsumption(code);
            let told = explain("g", Duration::from_millis(500), &error);
            assert_eq!(told.code, Code::SinkRefused);
            assert!(told.detail.contains(remedy), "{told}");
        }
        let error = KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure);
        let told = explain("g", Duration::from_secs(10), &error);
        assert_eq!(told.code, Code::SinkUnavailable);
    }
}

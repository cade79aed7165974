//! Kafka's consumer group, which spreads the streams: a member reads nothing, and only hears which
//! partitions are assigned to it.
//!
//! What is taken back is given up at once. The registry, not the group, makes the next owner wait until
//! the stream has been drained, so that the group never waits for a stream.

use super::agent::Heard;
use super::names::Names;
use super::topics;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Kind};
use rdkafka::bindings::rd_kafka_resp_err_t as Answer;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Span;

/// How long one poll waits at most: what is told to the thread is seen after that.
const POLL: Duration = Duration::from_millis(200);

/// Why being a member did not work.
#[derive(Debug)]
pub struct Failed {
    pub error: Error,
    /// The group's topic is not there any more.
    pub is_missing: bool,
}

/// What the group says. Partitions are given as their streams.
#[derive(Debug)]
pub enum Said {
    Assigned(BTreeSet<String>),
    Revoked(BTreeSet<String>),
    Failed(Failed),
}

/// A member of the group. Dropping it leaves the group.
#[derive(Debug)]
pub struct Group(Arc<AtomicBool>);

impl Drop for Group {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Joins the group.
///
/// # Errors
/// When librdkafka does not take the properties.
pub fn join(
    kafka: &Kafka,
    names: &Names,
    session: Duration,
    heard: mpsc::Sender<Heard>,
) -> Result<Group, Error> {
    let context = Context {
        names: names.clone(),
        heard: heard.clone(),
        span: Span::current(),
    };
    let config = config(kafka, &names.group, session);
    let consumer = BaseConsumer::from_config_and_context(&config, context)
        .map_err(|error| client::error("creating a consumer for the group of streams", &error))?;
    let failed = |error: &KafkaError| {
        client::error(format!("subscribing to the topic {}", names.group), error)
    };
    consumer
        .subscribe(&[&names.group])
        .map_err(|error| failed(&error))?;
    let stop = Arc::new(AtomicBool::new(false));
    let (told, group) = (Arc::clone(&stop), names.group.clone());
    let span = Span::current();
    let run = move || {
        span.in_scope(|| {
            while !told.load(Ordering::Relaxed) && !heard.is_closed() {
                if let Some(Err(error)) = consumer.poll(POLL) {
                    let said = Said::Failed(Failed {
                        is_missing: topics::is_missing(&error),
                        error: explain(&group, session, &error),
                    });
                    let _ = heard.blocking_send(Heard::Group(said));
                }
            }
            // Leaves the group, so that the others need not wait for the end of the session.
            drop(consumer);
        });
    };
    let thread = std::thread::Builder::new().name("streams-group".to_owned());
    thread.spawn(run).map_err(|error| {
        let code = Code::of_system(&error, Code::Internal);
        Error::new(code, "no thread for the group of streams").because(error)
    })?;
    Ok(Group(stop))
}

fn config(kafka: &Kafka, group: &str, session: Duration) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Consumer);
    for name in [
        "auto.commit.enable",
        "group.instance.id",
        "group.remote.assignor",
        "statistics.interval.ms",
    ] {
        config.remove(name);
    }
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

struct Context {
    names: Names,
    heard: mpsc::Sender<Heard>,
    span: Span,
}

impl Context {
    fn streams(&self, partitions: &TopicPartitionList) -> BTreeSet<String> {
        let elements = partitions.elements();
        let ours = elements.iter().filter(|it| it.topic() == self.names.group);
        let streams = ours.filter_map(|it| self.names.stream(it.partition()));
        streams.map(str::to_owned).collect()
    }

    /// An error means that the member is being closed.
    fn take(
        consumer: &BaseConsumer<Self>,
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

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.span.in_scope(|| client::log(level, facility, message));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.span.in_scope(|| client::log_error(&error, reason));
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        answer: Answer,
        partitions: &mut TopicPartitionList,
    ) {
        let streams = self.streams(partitions);
        let (done, said) = match answer {
            Answer::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                (Self::take(consumer, partitions), Said::Assigned(streams))
            }
            _ => (
                consumer.incremental_unassign(partitions),
                Said::Revoked(streams),
            ),
        };
        if let Err(error) = done {
            client::log_error(&error, "answering the group");
        }
        let _ = self.heard.blocking_send(Heard::Group(said));
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

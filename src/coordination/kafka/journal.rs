//! Reads and writes the registry's topic.
//!
//! What was written counts when it is read again: that is when its place among the records of the others is
//! known, and it shows that all before it have been read.

use super::heard::{Failed, Heard, Listening};
use super::names::Names;
use super::record::{self, Entry};
use super::topics;
use crate::config::Kafka;
use crate::error::Error;
use crate::kafka::bootstrap;
use crate::kafka::client::{self, Hearing, Kind, Logging};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const POLL: Duration = client::poll_wait(200);

/// Both ends of the topic.
pub struct Journal {
    producer: Option<Arc<ThreadedProducer<Hearing<Reports>>>>,
    names: Names,
    _reading: Listening,
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            client::end_beside(producer);
        }
    }
}

impl Journal {
    /// Begins to read from the beginning.
    ///
    /// # Errors
    /// When librdkafka does not take the properties.
    pub fn open(
        kafka: &Kafka,
        names: &Names,
        session: Duration,
        heard: mpsc::Sender<Heard>,
    ) -> Result<Self, Error> {
        let reports = Reports {
            topic: names.registry.clone(),
            heard: heard.clone(),
        };
        let failed = |error: &KafkaError| {
            client::error("creating a client for the registry of instances", error)
        };
        let context = Hearing::new(reports);
        let producer =
            ThreadedProducer::from_config_and_context(&producing(kafka, session), context)
                .map_err(|error| failed(&error))?;
        let producer = Arc::new(producer);
        let reader =
            BaseConsumer::from_config_and_context(&reading(kafka, names), Logging::default())
                .map_err(|error| failed(&error))?;
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&names.registry, 0, Offset::Beginning)
            .and_then(|()| reader.assign(&from))
            .map_err(|error| failed(&error))?;
        let (read, brokers) = (names.clone(), kafka.brokers.clone());
        let writing = Arc::downgrade(&producer);
        let reading = Listening::start("streams-registry", heard, move |heard| {
            read_one(&reader, &read, heard);
            bootstrap::keep(reader.client(), &brokers);
            // It is polled by a thread of its own.
            if let Some(producer) = writing.upgrade() {
                bootstrap::keep(producer.client(), &brokers);
            }
        })?;
        Ok(Self {
            producer: Some(producer),
            names: names.clone(),
            _reading: reading,
        })
    }

    /// Writes a record. Never blocks; what cannot be written is heard of.
    ///
    /// # Errors
    /// When it cannot even be queued.
    pub fn write(&self, entry: &Entry) -> Result<(), Failed> {
        let Some(producer) = &self.producer else {
            return Ok(());
        };
        let (key, value) = (entry.key(&self.names.client_id), entry.value());
        let record = BaseRecord::to(&self.names.registry).partition(0).key(&key);
        let record = match &value {
            Some(value) => record.payload(value),
            None => record,
        };
        let sent = producer.send::<String, Vec<u8>>(record);
        sent.map_err(|(error, _)| failed(&self.names.registry, &error, true))
    }
}

fn read_one(reader: &BaseConsumer<Logging>, names: &Names, heard: &mpsc::Sender<Heard>) {
    let heard = |it| {
        let _ = heard.blocking_send(it);
    };
    match reader.poll(POLL) {
        Some(Ok(message)) => {
            let key = message.key().unwrap_or_default();
            if let Some(entry) = record::read(&names.client_id, key, message.payload()) {
                heard(Heard::Read(entry));
            }
        }
        // It is in no group.
        Some(Err(error))
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {}
        Some(Err(error)) => heard(Heard::Failed(failed(&names.registry, &error, false))),
        None => {}
    }
}

fn failed(topic: &str, error: &KafkaError, is_write: bool) -> Failed {
    let (attempt, right) = match is_write {
        true => ("writing to", "Write"),
        false => ("reading", "Read"),
    };
    let code = error.rdkafka_error_code();
    let mut told = client::error(format!("{attempt} the topic {topic}"), error);
    if code == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
        told.detail += &format!("; the user needs {right} on {topic}");
    }
    Failed {
        error: told,
        is_missing: topics::is_missing(error),
    }
}

fn producing(kafka: &Kafka, session: Duration) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Producer);
    // The user's settings are for records by the million. Of two names for one property it is open which
    // wins: none of them stays.
    for name in [
        "delivery.timeout.ms",
        "request.required.acks",
        "queue.buffering.max.ms",
        "enable.idempotence",
        "enable.gapless.guarantee",
        "transactional.id",
        "statistics.interval.ms",
        "max.in.flight",
    ] {
        config.remove(name);
    }
    config
        .set("acks", "all")
        .set("linger.ms", "0")
        // In order, also where one has to be repeated.
        .set("max.in.flight.requests.per.connection", "1")
        .set("reconnect.backoff.max.ms", topics::LONGEST_BACKOFF)
        // Old news are no news.
        .set("message.timeout.ms", session.as_millis().to_string());
    bootstrap::watch(&mut config);
    config
}

fn reading(kafka: &Kafka, names: &Names) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Consumer);
    for name in [
        "auto.commit.enable",
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "statistics.interval.ms",
    ] {
        config.remove(name);
    }
    config
        // Nothing is assigned to a consumer without a name for its group; it does not join it.
        .set("group.id", &names.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "false")
        .set("fetch.min.bytes", "1")
        // A record is told at once; without one, a question every two seconds is enough.
        .set("fetch.wait.max.ms", "2000")
        .set("reconnect.backoff.max.ms", topics::LONGEST_BACKOFF);
    bootstrap::watch(&mut config);
    config
}

/// Tells what could not be written; what could be is read again.
struct Reports {
    topic: String,
    heard: mpsc::Sender<Heard>,
}

impl ProducerContext for Hearing<Reports> {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = report {
            let failed = failed(&self.part.topic, error, true);
            // Where there is no room the member finds it out by time.
            let _ = self.part.heard.try_send(Heard::Unwritten(failed));
        }
    }
}

//! Jobs that failed for good, in a topic of their own: key and value as they were, and why.

use super::job::{Failure, Job};
use crate::config::Kafka;
use crate::config::worker::DEAD_LETTERS;
use crate::error::Error;
use crate::kafka::client::{self, Hearing, Kind};
use crate::kafka::described::{self, Id};
use crate::sink::parts::{ATTEMPTS, DETAIL, FROM, GROUP, PREFIX, REASON, STATUS};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

/// Whether the record was taken.
pub type Taken = oneshot::Receiver<Result<(), KafkaError>>;

/// Writes them.
#[derive(Clone)]
pub struct DeadLetters {
    producer: ThreadedProducer<Hearing<Reports>>,
    group: String,
    alone: Arc<Mutex<()>>,
}

impl DeadLetters {
    /// # Errors
    /// When librdkafka does not take the properties.
    pub fn new(kafka: &Kafka, group: &str) -> Result<Self, Error> {
        let mut config = client::client_config(kafka, Kind::Producer);
        config.remove("transactional.id");
        config.remove("max.in.flight");
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", "1000000000")
            // Nothing is on the wire behind a first batch that is refused: see `sink::first`.
            .set("max.in.flight.requests.per.connection", "1")
            .set("linger.ms", "5");
        let reports = Hearing::new(Reports);
        let producer = ThreadedProducer::from_config_and_context(&config, reports)
            .map_err(|error| client::error("starting the producer of dead letters", &error))?;
        Ok(Self {
            producer,
            group: group.to_owned(),
            alone: Arc::default(),
        })
    }

    /// Which topics these are, by their names. Blocks.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn ids(
        &self,
        topics: &[&str],
        patience: Duration,
    ) -> Result<HashMap<String, Id>, RDKafkaErrorCode> {
        described::ids(self.producer.client(), topics, patience)
    }

    /// For one that was refused for its size: Kafka refuses a batch as a whole, so each of them is written by itself, and
    /// the one that is too large takes no other with it for ever.
    pub async fn alone(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.alone).lock_owned().await
    }

    /// Asks for all topics' names. Blocks.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn topics(&self, patience: Duration) -> Result<Vec<String>, KafkaError> {
        let metadata = self.producer.client().fetch_metadata(None, patience)?;
        let known = metadata.topics().iter().filter(|it| it.error().is_none());
        Ok(known.map(|topic| topic.name().to_owned()).collect())
    }

    /// Hands a job over; in the order of the calls. What comes of it is told later.
    pub fn write(&self, job: &Job, failure: &Failure) -> Taken {
        let (told, taken) = oneshot::channel();
        let mut headers = OwnedHeaders::new_with_capacity(job.record.headers.len() + 6);
        let own = job.record.headers.iter();
        for (key, value) in own.filter(|(name, _)| !name.starts_with(PREFIX)) {
            let value = value.as_deref();
            headers = headers.insert(Header { key, value });
        }
        let attempts = job.attempts.to_string();
        let status = failure.status.map(|status| status.to_string());
        let more = [
            (REASON, Some(failure.reason.name())),
            (DETAIL, Some(failure.detail.as_str())),
            (ATTEMPTS, Some(attempts.as_str())),
            (FROM, Some(&*job.record.topic)),
            (GROUP, Some(self.group.as_str())),
            (STATUS, status.as_deref()),
        ];
        for (key, value) in more {
            if let Some(value) = value {
                let value = Some(value);
                headers = headers.insert(Header { key, value });
            }
        }
        let mut record: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(DEAD_LETTERS, Box::new(told)).headers(headers);
        record.key = job.record.key.as_deref();
        record.payload = job.record.value.as_deref();
        if let Err((error, record)) = self.producer.send(record) {
            let _ = record.delivery_opaque.send(Err(error));
        }
        taken
    }
}

/// Whether another attempt to write it can end otherwise without anybody doing something.
pub fn may_pass(error: &KafkaError) -> bool {
    error.rdkafka_error_code() != Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// Tells whoever waits what became of a record.
pub struct Reports;

impl ProducerContext for Hearing<Reports> {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), KafkaError>>>;

    fn delivery(&self, report: &DeliveryResult<'_>, told: Self::DeliveryOpaque) {
        let report = match report {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever asked may have gone.
        let _ = told.send(report);
    }
}

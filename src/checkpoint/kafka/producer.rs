//! The small transactional producer of checkpoints: one checkpoint per transaction.

use super::topic::CheckpointRecord;
use super::transactional_id;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Kind};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig,
};
use std::fmt;
use std::time::{Duration, Instant};

/// After this Kafka ends the transaction of an instance that was killed within one. Short, since it
/// hides newer checkpoints of other streams on its partition that long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Before Kafka gives the transaction up, we do.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(12);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a transaction.
pub(super) enum Outcome {
    Committed,
    /// Not committed; the producer can continue.
    Aborted(Error),
    /// Committed or not; the producer cannot continue.
    Broken(Error),
    /// Somebody, or Kafka itself, has taken the right to write from this producer.
    Fenced,
}

/// How finely the wait for a delivery is cut. The client's own flush looks every 100 ms only.
const DELIVERY_POLL: Duration = Duration::from_millis(2);

/// A client that connects already, but has fenced nobody.
pub(super) struct Prepared {
    producer: BaseProducer<Context>,
    id: String,
}

impl Prepared {
    pub(super) fn new(kafka: &Kafka, stream: &str) -> Result<Self, Error> {
        let producer = configuration(kafka, stream)
            .create_with_context(Context)
            .map_err(|error| client::error("creating the producer of checkpoints", &error))?;
        Ok(Self {
            producer,
            id: transactional_id(stream),
        })
    }

    /// Waits for a connection, from which the look for the transaction coordinator starts at once.
    pub(super) fn settle(&self, topic: &str, patience: Duration) {
        client::settle(self.producer.client(), topic, patience);
    }

    /// Blocks until the stream's former producer is fenced and its open transaction ended.
    pub(super) fn take_over(self) -> Result<Producer, Error> {
        match client::initialise(&self.producer, INIT_TIMEOUT) {
            Ok(()) => Ok(Producer(self.producer)),
            Err(error) => {
                let attempt = format!("initialising the transactions of {}", self.id);
                let mut error = client::error(attempt, &error);
                if error.code == Code::SinkRefused {
                    error.detail += "; the user needs Write and Describe on this transactional id";
                }
                Err(error)
            }
        }
    }
}

/// A producer whose transactions are initialised: whoever held the stream's id before is fenced.
pub(super) struct Producer(BaseProducer<Context>);

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

impl Producer {
    /// Writes a checkpoint's records in a transaction of their own. Blocks until its fate is known, or for
    /// [`COMMIT_TIMEOUT`] and what aborting takes.
    pub(super) fn transaction(&self, records: &[CheckpointRecord]) -> Outcome {
        match self.try_transaction(records) {
            Ok(()) => Outcome::Committed,
            Err(error) => self.give_up(&error),
        }
    }

    fn try_transaction(&self, records: &[CheckpointRecord]) -> Result<(), KafkaError> {
        self.0.begin_transaction()?;
        for record in records {
            let mut sent = BaseRecord::<Vec<u8>, Vec<u8>>::to(&record.topic)
                .partition(record.partition)
                .key(&record.key);
            sent.payload = record.value.as_ref();
            self.0.send(sent).map_err(|(error, _)| error)?;
        }
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        self.await_delivery(deadline);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.0.commit_transaction(left) {
                // Asking again continues the same commit.
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {}
                other => return other,
            }
        }
    }

    /// Serves delivery reports until there is none to come.
    fn await_delivery(&self, deadline: Instant) {
        while self.0.in_flight_count() > 0 && Instant::now() < deadline {
            self.0.poll(DELIVERY_POLL);
        }
    }

    fn give_up(&self, error: &KafkaError) -> Outcome {
        if self.is_fenced(error) {
            return Outcome::Fenced;
        }
        let told = client::error("storing the checkpoint", error);
        let abortable = match error {
            KafkaError::Transaction(error) => error.txn_requires_abort(),
            // Not all was delivered in time, or not even taken.
            KafkaError::Flush(_) | KafkaError::MessageProduction(_) => {
                self.0.client().fatal_error().is_none()
            }
            _ => false,
        };
        if !abortable {
            return Outcome::Broken(told);
        }
        // Aborting waits for the reports of what it throws away, and serves none itself.
        self.0.purge(PurgeConfig::default().queue().inflight());
        self.await_delivery(Instant::now() + ABORT_TIMEOUT);
        match self.0.abort_transaction(ABORT_TIMEOUT) {
            Ok(()) => Outcome::Aborted(told),
            Err(error) if self.is_fenced(&error) => Outcome::Fenced,
            Err(_) => Outcome::Broken(told),
        }
    }

    fn is_fenced(&self, error: &KafkaError) -> bool {
        let told = error.rdkafka_error_code();
        let fatal = self.0.client().fatal_error().map(|(code, _)| code);
        [told, fatal].into_iter().flatten().any(|code| {
            matches!(
                code,
                RDKafkaErrorCode::Fenced
                    | RDKafkaErrorCode::ProducerFenced
                    | RDKafkaErrorCode::InvalidProducerEpoch
            )
        })
    }
}

pub(super) fn configuration(kafka: &Kafka, stream: &str) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Producer);
    // The user's settings are for records by the million. Of two names for one property it is open
    // which wins: none of them stays.
    for name in [
        "delivery.timeout.ms",
        "message.timeout.ms",
        "request.required.acks",
        "retries",
        "message.send.max.retries",
        "queue.buffering.max.ms",
        "enable.gapless.guarantee",
        "statistics.interval.ms",
    ] {
        config.remove(name);
    }
    let millis = |duration: Duration| duration.as_millis().to_string();
    config
        .set("transactional.id", transactional_id(stream))
        .set("transaction.timeout.ms", millis(TRANSACTION_TIMEOUT))
        .set("message.timeout.ms", millis(DELIVERY_TIMEOUT))
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0");
    config
}

/// Only logs: whether the record was delivered is part of the transaction's fate.
struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}

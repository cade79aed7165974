//! A small transactional producer: a few records in each transaction, and whoever makes the next one under the same id
//! fences it.

use super::client::{self, Kind};
use crate::config::Kafka;
use crate::error::{Code, Error};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig,
};
use rdkafka::{ClientContext, TopicPartitionList};
use std::fmt;
use std::time::{Duration, Instant};

/// After this Kafka ends the transaction of an instance that was killed within one. Short, since it
/// hides what others have written to the same partitions that long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Before Kafka gives the transaction up, we do.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(12);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The id under which the producer of a stream, or of the schedules, fences its predecessors: one for each, for ever.
pub fn transactional_id(of: &str) -> String {
    format!("tailwater-{of}")
}

/// What became of a transaction.
pub enum Outcome {
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
pub struct Prepared {
    producer: BaseProducer<Context>,
    id: String,
    what: &'static str,
}

impl Prepared {
    /// A producer with this transactional id; `what` it stores is said where that fails.
    ///
    /// # Errors
    /// [`Code::Config`] when librdkafka refuses a property.
    pub fn new(kafka: &Kafka, id: String, what: &'static str) -> Result<Self, Error> {
        let producer = configuration(kafka, &id).create_with_context(Context);
        let producer = producer
            .map_err(|error| client::error(format!("creating the producer of {what}"), &error))?;
        Ok(Self { producer, id, what })
    }

    /// Waits for a connection, from which the look for the transaction coordinator starts at once.
    pub fn settle(&self, topic: &str, patience: Duration) {
        client::settle(self.producer.client(), topic, patience);
    }

    /// Blocks until the former producer with this id is fenced and its open transaction ended.
    ///
    /// # Errors
    /// What Kafka answers; [`Code::SinkRefused`] names the rights.
    pub fn take_over(self) -> Result<Producer, Error> {
        match client::initialise(&self.producer, INIT_TIMEOUT) {
            Ok(()) => Ok(Producer {
                producer: self.producer,
                what: self.what,
            }),
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

/// A producer whose transactions are initialised: whoever held the id before is fenced.
pub struct Producer {
    producer: BaseProducer<Context>,
    what: &'static str,
}

/// Hands one record to the producer.
pub type Produce<'a> = &'a dyn Fn(BaseRecord<'_, Vec<u8>, Vec<u8>>) -> Result<(), KafkaError>;

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

impl Producer {
    /// Writes the records that `produce` hands over in a transaction of their own. Blocks until its fate is known, or
    /// for [`COMMIT_TIMEOUT`] and what aborting takes.
    pub fn transaction(
        &self,
        produce: impl FnOnce(Produce<'_>) -> Result<(), KafkaError>,
    ) -> Outcome {
        self.outcome(self.try_transaction(produce, None))
    }

    /// The same, with how far a consumer group is in the transaction.
    pub fn transaction_with(
        &self,
        produce: impl FnOnce(Produce<'_>) -> Result<(), KafkaError>,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Outcome {
        self.outcome(self.try_transaction(produce, Some((offsets, group))))
    }

    fn outcome(&self, result: Result<(), KafkaError>) -> Outcome {
        match result {
            Ok(()) => Outcome::Committed,
            Err(error) => self.give_up(&error),
        }
    }

    fn try_transaction(
        &self,
        produce: impl FnOnce(Produce<'_>) -> Result<(), KafkaError>,
        offsets: Option<(&TopicPartitionList, &ConsumerGroupMetadata)>,
    ) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        produce(&|record| self.producer.send(record).map_err(|(error, _)| error))?;
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        self.await_delivery(deadline);
        if let Some((offsets, group)) = offsets {
            let left = deadline.saturating_duration_since(Instant::now());
            self.producer
                .send_offsets_to_transaction(offsets, group, left)?;
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.producer.commit_transaction(left) {
                // Asking again continues the same commit.
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {}
                other => return other,
            }
        }
    }

    /// Serves delivery reports until there is none to come.
    fn await_delivery(&self, deadline: Instant) {
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(DELIVERY_POLL);
        }
    }

    fn give_up(&self, error: &KafkaError) -> Outcome {
        if self.is_fenced(error) {
            return Outcome::Fenced;
        }
        let told = client::error(format!("storing {}", self.what), error).because(error.clone());
        let abortable = match error {
            KafkaError::Transaction(error) => error.txn_requires_abort(),
            // Not all was delivered in time, or not even taken.
            KafkaError::Flush(_) | KafkaError::MessageProduction(_) => {
                self.producer.client().fatal_error().is_none()
            }
            _ => false,
        };
        if !abortable {
            return Outcome::Broken(told);
        }
        // Aborting waits for the reports of what it throws away, and serves none itself.
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
        self.await_delivery(Instant::now() + ABORT_TIMEOUT);
        match self.producer.abort_transaction(ABORT_TIMEOUT) {
            Ok(()) => Outcome::Aborted(told),
            Err(error) if self.is_fenced(&error) => Outcome::Fenced,
            Err(_) => Outcome::Broken(told),
        }
    }

    fn is_fenced(&self, error: &KafkaError) -> bool {
        let told = error.rdkafka_error_code();
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
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

/// The settings of such a producer.
pub fn configuration(kafka: &Kafka, id: &str) -> ClientConfig {
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
        "max.in.flight",
    ] {
        config.remove(name);
    }
    let millis = |duration: Duration| duration.as_millis().to_string();
    config
        .set("transactional.id", id)
        .set("transaction.timeout.ms", millis(TRANSACTION_TIMEOUT))
        .set("message.timeout.ms", millis(DELIVERY_TIMEOUT))
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // The topic's own limit decides.
        .set("message.max.bytes", "1000000000")
        // Nothing is on the wire behind a first batch that is refused: see `sink::first`.
        .set("max.in.flight.requests.per.connection", "1")
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

//! The practical limit: the stream read raw, and each event's BSON produced untouched.
//!
//! No envelope, key or header is made, nothing is encoded, no position is kept. What is left is the work
//! of the server, the broker and librdkafka on this machine.

use crate::error::Fallible;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, producer::Producer as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What Tailwater's producer has by default (`src/sink/producer.rs`).
pub const PROPERTIES: [(&str, &str); 8] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "100"),
    ("batch.size", "1000000"),
    ("message.max.bytes", "1000000000"),
    ("message.timeout.ms", "0"),
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "65536"),
];

/// Counts delivery reports.
#[derive(Default)]
struct Reports {
    acked: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, _: usize) {
        let count = match result {
            Ok(_) => &self.acked,
            Err(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct Producer {
    inner: ThreadedProducer<Reports>,
    topic: String,
}

impl Producer {
    /// # Errors
    /// librdkafka's, for a property it refuses.
    pub fn new(brokers: &str, topic: &str, properties: &[String]) -> Fallible<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        for (name, value) in PROPERTIES {
            config.set(name, value);
        }
        for property in properties {
            let (name, value) = property.split_once('=').ok_or("not name=value")?;
            config.set(name, value);
        }
        Ok(Self {
            inner: config.create_with_context(Reports::default())?,
            topic: topic.to_owned(),
        })
    }

    /// Hands over one event, waiting while the queue is full.
    ///
    /// # Errors
    /// librdkafka's.
    pub async fn send(&self, event: &[u8], number: usize) -> Fallible {
        let mut record =
            BaseRecord::<(), [u8], usize>::with_opaque_to(&self.topic, number).payload(event);
        loop {
            let full = RDKafkaErrorCode::QueueFull;
            record = match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(code), record)) if code == full => record,
                Err((error, _)) => return Err(error.into()),
            };
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until all is acknowledged.
    ///
    /// # Errors
    /// When a record was refused.
    pub fn finish(&self, events: u64) -> Fallible {
        self.inner.flush(Duration::from_secs(60))?;
        let reports = self.inner.context();
        let acked = reports.acked.load(Ordering::Relaxed);
        if acked < events {
            let failed = reports.failed.load(Ordering::Relaxed);
            return Err(format!("{acked} of {events} acknowledged, {failed} refused").into());
        }
        Ok(())
    }
}

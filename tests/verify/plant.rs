//! Puts damaged records into a topic, beside those of the stream.

use crate::support::{Kafka, Record};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::time::Duration;

/// A record that is like another, but for what was changed.
#[derive(Clone)]
pub(super) struct Plant {
    record: Record,
}

impl Plant {
    /// The same record once more.
    pub(super) fn like(record: &Record) -> Self {
        Self {
            record: record.clone(),
        }
    }

    /// With another number.
    pub(super) fn seq(mut self, seq: u64) -> Self {
        self.record.headers.insert("tw-seq".into(), seq.to_string());
        self
    }

    /// Of another operation.
    pub(super) fn operation(mut self, name: &str) -> Self {
        self.record.headers.insert("tw-op".into(), name.into());
        let was = format!("\"operationType\":{}", self.record.value["operationType"]);
        self.edit(&was, &format!("\"operationType\":\"{name}\""))
    }

    /// With `to` where its value has `from`.
    pub(super) fn edit(mut self, from: &str, to: &str) -> Self {
        let text = self.record.text().to_owned();
        assert!(text.contains(from), "no {from} in {text}");
        self.record.bytes = Some(text.replace(from, to).into_bytes());
        self
    }

    /// Of another document.
    pub(super) fn id(mut self, from: &str, to: &str) -> Self {
        let key = String::from_utf8(self.record.key_bytes.clone().unwrap()).unwrap();
        assert!(key.contains(from), "no {from} in {key}");
        self.record.key_bytes = Some(key.replace(from, to).into_bytes());
        self.edit(from, to)
    }

    /// Writes it to the partition that the other is in, and waits until it is there.
    pub(super) async fn produce(self, kafka: &Kafka) {
        let topic = self.record.topic.clone();
        self.produce_to(kafka, &topic).await;
    }

    async fn produce_to(self, kafka: &Kafka, topic: &str) {
        let partition = self.record.partition;
        let producer = producer(kafka);
        self.send(&producer, topic, partition);
        flush(producer).await;
    }

    /// Writes all of them, in this order, to the first partition of a topic.
    pub(super) async fn produce_all(all: Vec<Self>, kafka: &Kafka, topic: &str) {
        let producer = producer(kafka);
        for plant in all {
            plant.send(&producer, topic, 0);
        }
        flush(producer).await;
    }

    fn send(self, producer: &Plain, topic: &str, partition: i32) {
        let Record {
            key_bytes,
            bytes,
            headers,
            timestamp,
            ..
        } = self.record;
        let key = key_bytes.unwrap_or_default();
        let all = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| {
                let value = Some(value);
                all.insert(Header { key, value })
            });
        let mut record = BaseRecord::to(topic)
            .key(&key)
            .partition(partition)
            .headers(all);
        if let Some(bytes) = &bytes {
            record = record.payload(bytes);
        }
        if let Some(timestamp) = timestamp {
            record = record.timestamp(timestamp);
        }
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
}

type Plain = ThreadedProducer<DefaultProducerContext>;

fn producer(kafka: &Kafka) -> Plain {
    kafka.client_config().create().unwrap()
}

async fn flush(producer: Plain) {
    let flushed = move || producer.flush(Duration::from_secs(30));
    tokio::task::spawn_blocking(flushed).await.unwrap().unwrap();
}

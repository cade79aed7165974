//! Reading topics back.

use super::PATIENCE;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The key as JSON; null where there is none or it is no JSON.
    pub key: Value,
    /// The value as JSON; null for a tombstone or where it is no JSON. Its text is in `bytes`.
    pub value: Value,
    pub key_bytes: Option<Vec<u8>>,
    /// The value as it came; `None` is a tombstone.
    pub bytes: Option<Vec<u8>>,
    pub headers: BTreeMap<String, String>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

impl Record {
    /// The value's exact text: order of fields, digits of numbers.
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.bytes.as_deref().unwrap_or_default()).expect("UTF-8")
    }

    /// A header's value.
    ///
    /// # Panics
    /// When the record has no such header.
    pub fn header(&self, name: &str) -> &str {
        match self.headers.get(name) {
            Some(value) => value,
            None => panic!("no header {name} among {:?}", self.headers),
        }
    }

    /// The `tw-seq` header.
    pub fn seq(&self) -> u64 {
        self.header("tw-seq").parse().expect("a number")
    }

    fn read(message: &BorrowedMessage<'_>) -> Self {
        let json = |bytes: Option<&[u8]>| {
            bytes
                .and_then(|bytes| serde_json::from_slice(bytes).ok())
                .unwrap_or(Value::Null)
        };
        let headers = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter());
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: json(message.key()),
            value: json(message.payload()),
            key_bytes: message.key().map(<[u8]>::to_vec),
            bytes: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| {
                    let value = String::from_utf8_lossy(header.value.unwrap_or_default());
                    (header.key.to_owned(), value.into_owned())
                })
                .collect(),
            timestamp: message.timestamp().to_millis(),
        }
    }
}

/// Which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// How long a broker may take for one answer; a slow one is asked again.
const ANSWER: Duration = Duration::from_secs(5);

/// Reads each topic up to where it ends now.
pub(super) async fn read_to_end(
    brokers: &str,
    topics: &[&str],
    isolation: Isolation,
) -> Vec<Record> {
    let (consumer, topics) = (consumer(brokers, isolation), owned(topics));
    blocking(move || {
        let mut records = Vec::new();
        // One after the other: librdkafka's end-of-partition names no topic.
        for topic in &topics {
            let partitions = patiently(|| partitions_of(&consumer, topic)).unwrap_or(0);
            let mut open: BTreeSet<i32> = (0..partitions).collect();
            let list = from_the_beginning(topic, 0..partitions);
            consumer.assign(&list).expect("the assignment is valid");
            let end = Instant::now() + PATIENCE;
            while !open.is_empty() {
                assert!(
                    Instant::now() < end,
                    "{topic}: no end of partitions {open:?}"
                );
                match consumer.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => records.push(Record::read(&message)),
                    Some(Err(KafkaError::PartitionEOF(partition))) => {
                        open.remove(&partition);
                    }
                    // Lost connections heal by themselves; the deadline judges.
                    Some(Err(_)) | None => {}
                }
            }
        }
        records
    })
    .await
}

/// Reads topics, also ones created meanwhile, until `enough`.
pub(super) async fn read_until(
    brokers: &str,
    topics: &[&str],
    isolation: Isolation,
    what: &str,
    mut enough: impl FnMut(&[Record]) -> bool,
) -> Vec<Record> {
    let mut tail = tail(brokers, topics, isolation);
    let mut records = Vec::new();
    let end = tokio::time::Instant::now() + PATIENCE;
    while !enough(&records) {
        match tokio::time::timeout_at(end, tail.recv()).await {
            Ok(Some(record)) => records.push(record),
            Ok(None) => panic!("the reader of {topics:?} has ended"),
            Err(_) => panic!(
                "still waiting for {what} in {topics:?} after {PATIENCE:?}; {} came, the last: {:?}",
                records.len(),
                records.last()
            ),
        }
    }
    records
}

/// Records of `topics` as they come, from a thread that ends when the receiver is dropped.
pub(super) fn tail(brokers: &str, topics: &[&str], isolation: Isolation) -> mpsc::Receiver<Record> {
    let (consumer, topics) = (consumer(brokers, isolation), owned(topics));
    let (sender, receiver) = mpsc::channel(1024);
    std::thread::spawn(move || {
        let mut assigned: BTreeMap<&str, i32> = BTreeMap::new();
        let mut look_again = Instant::now();
        while !sender.is_closed() {
            if Instant::now() >= look_again {
                for topic in &topics {
                    let known = assigned.entry(topic).or_default();
                    if let Ok(Some(now)) = partitions_of(&consumer, topic)
                        && now > *known
                    {
                        let list = from_the_beginning(topic, *known..now);
                        consumer
                            .incremental_assign(&list)
                            .expect("the assignment is valid");
                        *known = now;
                    }
                }
                look_again = Instant::now() + Duration::from_millis(200);
            }
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50))
                && sender.blocking_send(Record::read(&message)).is_err()
            {
                return;
            }
        }
    });
    receiver
}

/// How many partitions `topic` has; `None` when it does not exist.
pub(super) async fn partitions(brokers: &str, topic: &str) -> Option<usize> {
    let (consumer, topic) = (
        consumer(brokers, Isolation::ReadUncommitted),
        topic.to_owned(),
    );
    let count = blocking(move || patiently(|| partitions_of(&consumer, &topic))).await;
    count.map(|count| usize::try_from(count).expect("a count"))
}

/// Whether the broker tells who leads the cluster.
pub(super) async fn answers(brokers: &str) -> bool {
    let consumer = consumer(brokers, Isolation::ReadUncommitted);
    blocking(move || {
        consumer
            .fetch_metadata(None, Duration::from_secs(1))
            .is_ok_and(|metadata| !metadata.brokers().is_empty())
    })
    .await
}

fn consumer(brokers: &str, isolation: Isolation) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        // Assigned by hand, nothing committed: the name is only asked for by the client.
        .set("group.id", "tailwater-test")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "50")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        // 15 MB documents are part of the tests.
        .set("fetch.message.max.bytes", "33554432")
        .set("fetch.max.bytes", "67108864")
        .set("receive.message.max.bytes", "134217728")
        .set(
            "isolation.level",
            match isolation {
                Isolation::ReadUncommitted => "read_uncommitted",
                Isolation::ReadCommitted => "read_committed",
            },
        )
        .set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg)
        .create()
        .expect("the configuration is valid")
}

fn partitions_of(consumer: &BaseConsumer, topic: &str) -> KafkaResult<Option<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let topic = metadata.topics().first();
    Ok(topic
        .map(|topic| topic.partitions().len())
        .filter(|count| *count > 0)
        .map(|count| i32::try_from(count).expect("a count")))
}

fn from_the_beginning(topic: &str, partitions: std::ops::Range<i32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a valid offset");
    }
    list
}

/// Asks again while the broker does not answer.
fn patiently<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < end, "kafka does not answer: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn owned(topics: &[&str]) -> Vec<String> {
    topics.iter().map(|topic| (*topic).to_owned()).collect()
}

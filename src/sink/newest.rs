//! Reading the newest records of a topic, to look at.

use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Logging};
use crate::kafka::reader;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashSet;
use std::time::{Duration, Instant};

const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// How long the reading may take in all.
const PATIENCE: Duration = Duration::from_secs(15);
/// What is kept of the records at most, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub partition: i32,
    pub offset: i64,
    pub time_millis: Option<i64>,
    /// None for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// The newest records of a topic, at most `count`, the newest first. Blocks.
///
/// # Errors
/// [`Code::SinkRefused`] for a topic that is not there, else what Kafka says.
pub fn newest(kafka: &Kafka, topic: &str, count: usize) -> Result<Vec<StoredRecord>, Error> {
    let failed = |error: &KafkaError| client::error(format!("reading the topic {topic}"), error);
    let consumer = reader::reader(kafka, "tailwater-newest", true)?;
    let each = i64::try_from(count).unwrap_or(i64::MAX);
    let mut list = TopicPartitionList::new();
    let mut open = HashSet::new();
    for partition in partitions(&consumer, topic)? {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition, QUERY_TIMEOUT)
            .map_err(|error| failed(&error))?;
        if high <= low {
            continue;
        }
        let begin = Offset::Offset(low.max(high.saturating_sub(each)));
        list.add_partition_offset(topic, partition, begin)
            .map_err(|error| failed(&error))?;
        open.insert(partition);
    }
    consumer.assign(&list).map_err(|error| failed(&error))?;
    let mut found: Vec<StoredRecord> = Vec::new();
    let mut bytes = 0;
    let end = Instant::now() + PATIENCE;
    while !open.is_empty() && bytes < MOST_BYTES {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let value = message.payload().map(<[u8]>::to_vec);
                bytes += value.as_ref().map_or(0, Vec::len);
                found.push(StoredRecord {
                    partition: message.partition(),
                    offset: message.offset(),
                    time_millis: message.timestamp().to_millis(),
                    value,
                });
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) if client::ends_reading(&error) => return Err(failed(&error)),
            // The client tries again by itself.
            Some(Err(_)) | None if Instant::now() < end => {}
            Some(Err(_)) | None => {
                let detail = format!("reading the topic {topic}: kafka does not answer");
                return Err(Error::new(Code::SinkUnavailable, detail));
            }
        }
    }
    found.sort_by_key(|record| std::cmp::Reverse((record.time_millis, record.offset)));
    found.truncate(count);
    Ok(found)
}

fn partitions(consumer: &BaseConsumer<Logging>, topic: &str) -> Result<Vec<i32>, Error> {
    let metadata = consumer
        .fetch_metadata(Some(topic), QUERY_TIMEOUT)
        .map_err(|error| client::error(format!("looking for the topic {topic}"), &error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found: Vec<_> = found.map_or_else(Vec::new, |found| {
        found.partitions().iter().map(|part| part.id()).collect()
    });
    match found.is_empty() {
        false => Ok(found),
        true => Err(Error::new(
            Code::SinkRefused,
            format!("the topic {topic} does not exist, or may not be read"),
        )),
    }
}

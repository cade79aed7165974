//! Consumers that read partitions they are given, and where those begin and end.

use super::client::{self, Kind, Logging};
use crate::config::Kafka;
use crate::error::Error;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long the brokers may take to say where a partition begins and ends.
pub const ANSWER: Duration = Duration::from_secs(10);

/// How long one poll waits for a record.
const POLL: Duration = Duration::from_millis(100);

/// Before they are asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// The settings of a consumer that reads what is committed of the partitions it is given, from their beginning where
/// it is not told otherwise. It commits nothing: its group is only a name.
pub fn config(kafka: &Kafka, group: &str, tells_ends: bool) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Consumer);
    config
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    if tells_ends {
        config.set("enable.partition.eof", "true");
    }
    config
}

/// A consumer with these settings.
///
/// # Errors
/// When librdkafka does not take the properties.
pub fn of(config: &ClientConfig) -> Result<BaseConsumer<Logging>, Error> {
    BaseConsumer::from_config_and_context(config, Logging::default())
        .map_err(|failed| client::error("creating a Kafka consumer", &failed))
}

/// Both at once.
///
/// # Errors
/// When librdkafka does not take the properties.
pub fn reader(
    kafka: &Kafka,
    group: &str,
    tells_ends: bool,
) -> Result<BaseConsumer<Logging>, Error> {
    of(&config(kafka, group, tells_ends))
}

/// Where a partition begins and ends now: asked again, for a while, after an error that may pass. A leader becomes known
/// a little later than its topic. Blocks.
///
/// # Errors
/// When the brokers cannot say now.
pub fn watermarks(
    consumer: &BaseConsumer<Logging>,
    topic: &str,
    partition: i32,
    may_pass: impl Fn(&KafkaError) -> bool,
) -> Result<(i64, i64), Error> {
    let deadline = Instant::now() + ANSWER;
    loop {
        match consumer.fetch_watermarks(topic, partition, ANSWER) {
            Ok(range) => return Ok(range),
            Err(error) if may_pass(&error) && Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            Err(error) => {
                let attempt = format!("asking for the end of {topic}/{partition}");
                return Err(client::error(attempt, &error));
            }
        }
    }
}

/// A stretch of one partition, from the first offset to before the last.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    pub partition: i32,
    pub from: i64,
    pub until: i64,
}

/// Visits all records of these stretches of a topic, in order within each. The consumer has to tell the ends of
/// partitions, and `idle` is asked whether to go on while none comes. Blocks.
///
/// # Errors
/// What Kafka says where it will not give more, and what `each` and `idle` give.
pub fn visit(
    consumer: &BaseConsumer<Logging>,
    topic: &str,
    stretches: &[Stretch],
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
    idle: impl Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |error: &KafkaError| client::error(format!("reading the topic {topic}"), error);
    if stretches.is_empty() {
        return Ok(());
    }
    let mut assignment = TopicPartitionList::new();
    for stretch in stretches {
        assignment
            .add_partition_offset(topic, stretch.partition, Offset::Offset(stretch.from))
            .map_err(|error| failed(&error))?;
    }
    consumer
        .assign(&assignment)
        .map_err(|error| failed(&error))?;
    let ends: HashMap<i32, i64> = stretches
        .iter()
        .map(|stretch| (stretch.partition, stretch.until))
        .collect();
    let mut open: HashSet<i32> = ends.keys().copied().collect();
    while !open.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let end = ends.get(&partition).copied().unwrap_or(0);
                if offset < end && open.contains(&partition) {
                    each(&message)?;
                }
                if offset + 1 >= end {
                    open.remove(&partition);
                }
            }
            // The stable part reached at least to the end of the stretch before we began: its end lies behind all
            // that is looked for, also where the last records do not show.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) if client::ends_reading(&error) => return Err(failed(&error)),
            // The client continues by itself.
            Some(Err(_)) | None => idle()?,
        }
    }
    consumer.unassign().map_err(|error| failed(&error))
}

//! Consumers that read partitions they are given, and where those begin and end.

use super::client::{self, Kind, Logging};
use crate::config::Kafka;
use crate::error::Error;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use std::time::{Duration, Instant};

/// How long the brokers may take to say where a partition begins and ends.
pub const ANSWER: Duration = Duration::from_secs(10);

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

//! The broker's side: topics of one partition, how far they are, and a consumer that notes arrivals.

use crate::error::Fallible;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the broker, and creates and deletes topics.
pub struct Broker {
    pub address: String,
    consumer: BaseConsumer,
    admin: AdminClient<DefaultClientContext>,
}

impl Broker {
    /// # Errors
    /// librdkafka's, for a wrong address.
    pub fn new(address: &str) -> Fallible<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address);
        Ok(Self {
            address: address.to_owned(),
            admin: config.create()?,
            consumer: config.set("group.id", "bench").create()?,
        })
    }

    /// Creates a topic of one partition; one that is there stays.
    ///
    /// # Errors
    /// The broker's.
    pub async fn create(&self, topic: &str) -> Fallible {
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        for result in self
            .admin
            .create_topics([&new], &AdminOptions::new())
            .await?
        {
            match result {
                Ok(_) | Err((_, rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(code.into()),
            }
        }
        self.end(topic)?;
        Ok(())
    }

    /// Deletes a topic, to free its space.
    ///
    /// # Errors
    /// The broker's.
    pub async fn delete(&self, topic: &str) -> Fallible {
        self.admin
            .delete_topics(&[topic], &AdminOptions::new())
            .await?;
        Ok(())
    }

    /// How many records the topic has had: all that is acknowledged, and committed. Blocks; a topic that
    /// the broker does not know yet is asked for again.
    ///
    /// # Errors
    /// When the topic stays unknown.
    pub fn end(&self, topic: &str) -> Fallible<u64> {
        let began = Instant::now();
        loop {
            match self.consumer.fetch_watermarks(topic, 0, PATIENCE) {
                Ok((_, high)) => return Ok(u64::try_from(high)?),
                Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
                // What the client remembers of a topic that was not there is only forgotten so.
                Err(_) => drop(self.consumer.fetch_metadata(Some(topic), PATIENCE)?),
            }
        }
    }
}

/// Reads a topic from `from` on and notes when each probe arrives first, until `count` of them did or
/// nothing has come for ten seconds. Blocks.
///
/// # Errors
/// The broker's.
pub fn arrivals(
    broker: &str,
    topic: &str,
    from: u64,
    count: u64,
) -> Fallible<Vec<Option<Instant>>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "bench-latency")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Offset(i64::try_from(from)?))?;
    consumer.assign(&partitions)?;
    let mut arrived = vec![None; usize::try_from(count)?];
    let mut missing = count;
    while missing > 0 {
        let Some(message) = consumer.poll(PATIENCE) else {
            break;
        };
        let now = Instant::now();
        let message = message?;
        let probe = message.payload().and_then(probe);
        if let Some(slot) = probe.and_then(|n| arrived.get_mut(n))
            && slot.is_none()
        {
            *slot = Some(now);
            missing -= 1;
        }
    }
    Ok(arrived)
}

/// The number in the document's field `probe`, whatever the format around it.
pub fn probe(bytes: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(bytes, b"probe=")? + 6;
    std::str::from_utf8(bytes.get(at..at + 12)?)
        .ok()?
        .parse()
        .ok()
}

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
        self.create_wide(topic, 1).await
    }

    /// Creates a topic of so many partitions; one that is there stays.
    ///
    /// # Errors
    /// The broker's.
    pub async fn create_wide(&self, topic: &str, partitions: i32) -> Fallible {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
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
        self.end_of_all(topic, partitions)?;
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

impl Broker {
    /// As [`end`](Self::end), for a topic of so many partitions: asked for in one request.
    ///
    /// # Errors
    /// When the topic stays unknown.
    pub fn end_of_all(&self, topic: &str, partitions: i32) -> Fallible<u64> {
        if partitions == 1 {
            return self.end(topic);
        }
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        asked.set_all_offsets(Offset::End)?;
        let began = Instant::now();
        loop {
            let answer = self.consumer.offsets_for_times(asked.clone(), PATIENCE);
            let ends = answer.map(|list| {
                let ends = list.elements();
                let ends = ends.iter().map(|one| match (one.error(), one.offset()) {
                    (Ok(()), Offset::Offset(end)) => u64::try_from(end).ok(),
                    _ => None,
                });
                ends.sum::<Option<u64>>()
            });
            match ends {
                Ok(Some(end)) => return Ok(end),
                // A topic that was just created may have no leaders yet.
                _ if began.elapsed() <= PATIENCE * 6 => {
                    drop(self.consumer.fetch_metadata(Some(topic), PATIENCE));
                }
                Ok(None) => return Err(format!("{topic} does not say where it ends").into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Reads a topic from `from` on, until `each` says that it is enough or nothing has come for ten seconds. Blocks.
///
/// # Errors
/// The broker's.
pub fn read(broker: &str, topic: &str, from: u64, mut each: impl FnMut(&[u8]) -> bool) -> Fallible {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "bench-latency")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Offset(i64::try_from(from)?))?;
    consumer.assign(&partitions)?;
    while let Some(message) = consumer.poll(PATIENCE) {
        if !each(message?.payload().unwrap_or_default()) {
            break;
        }
    }
    Ok(())
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
    let mut arrived = vec![None; usize::try_from(count)?];
    let mut missing = count;
    read(broker, topic, from, |value| {
        let now = Instant::now();
        if let Some(slot) = probe(value).and_then(|n| arrived.get_mut(n))
            && slot.is_none()
        {
            *slot = Some(now);
            missing -= 1;
        }
        missing > 0
    })?;
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

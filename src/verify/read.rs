//! Reads partitions to their ends, and single records by their offsets.
//!
//! Each pass has a client of its own: the end that is reported is then one that the broker has said since the pass
//! began, and what is between two offsets can be read again.

use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Logging};
use crate::kafka::reader::{self, ANSWER};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long nothing may come before the end of a partition.
const SILENCE: Duration = Duration::from_secs(30);
/// Before queues that were empty are looked at again.
const BREATH: Duration = Duration::from_millis(2);
/// How many records of a partition are taken in a row.
const TURN: usize = 1_000;
/// What lies further ahead than so many records is gone to, and not read up to.
const NEAR: i64 = 2_000;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
}

impl Place {
    /// Where a record is, with its offset.
    pub fn of(message: &impl Message) -> (Self, i64) {
        let place = Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
        };
        (place, message.offset())
    }

    /// The place of an offset that is kept.
    pub fn at(topic: &str, partition: i32, offset: u64) -> (Self, i64) {
        let place = Self {
            topic: topic.to_owned(),
            partition,
        };
        (place, i64::try_from(offset).unwrap_or(i64::MAX))
    }
}

/// Where each partition is read from next.
pub type Offsets = BTreeMap<Place, i64>;

/// How Kafka is read: by whom, and with how much memory.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    pub kafka: &'a Kafka,
    pub memory: usize,
}

impl Reader<'_> {
    fn consumer(&self, partitions: usize) -> Result<Arc<BaseConsumer<Logging>>, Error> {
        let mut config = reader::config(self.kafka, "tailwater-verify", true);
        let each = (self.memory / 1024 / partitions.max(1)).clamp(64, 16 << 10);
        config
            .set("queued.max.messages.kbytes", each.to_string())
            .set("fetch.wait.max.ms", "100");
        reader::of(&config).map(Arc::new)
    }

    /// The topics that `is_meant` chooses, with how many partitions each has. Blocks.
    ///
    /// # Errors
    /// When the brokers cannot say now.
    pub fn topics(
        &self,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, usize>, Error> {
        let consumer = self.consumer(1)?;
        let metadata = consumer
            .fetch_metadata(None, ANSWER)
            .map_err(|error| client::error("looking for the stream's topics", &error))?;
        let topics = metadata.topics().iter();
        let topics = topics.filter(|topic| topic.error().is_none() && is_meant(topic.name()));
        Ok(topics
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect())
    }

    /// Where these partitions begin and end now. Blocks.
    ///
    /// # Errors
    /// When the brokers cannot say now.
    pub fn ranges(
        &self,
        topics: &BTreeMap<String, usize>,
    ) -> Result<BTreeMap<Place, (i64, i64)>, Error> {
        let consumer = self.consumer(1)?;
        let mut ranges = BTreeMap::new();
        for (topic, partitions) in topics {
            for partition in 0..i32::try_from(*partitions).unwrap_or(i32::MAX) {
                let range = range(&consumer, topic, partition)?;
                let topic = topic.clone();
                ranges.insert(Place { topic, partition }, range);
            }
        }
        Ok(ranges)
    }

    /// Reads each partition from its offset to where it ended when this began, and hands every record to `each`. What
    /// is written meanwhile does not prolong it. Gives how far each was read. Blocks.
    ///
    /// # Errors
    /// What Kafka says, or when it says nothing for long; what `each` gives.
    pub fn read_to_ends(
        &self,
        from: &Offsets,
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
    ) -> Result<Offsets, Error> {
        let mut ends = from.clone();
        if from.is_empty() {
            return Ok(ends);
        }
        let consumer = self.consumer(from.len())?;
        let mut lanes = Vec::with_capacity(from.len());
        for (place, start) in from {
            let (_, end) = range(&consumer, &place.topic, place.partition)?;
            if end <= *start {
                continue;
            }
            // Before it is assigned, so that nothing of it gets into another queue.
            let queue = consumer.split_partition_queue(&place.topic, place.partition);
            let none = || {
                let detail = format!(
                    "partition {} of {} has no queue",
                    place.partition, place.topic
                );
                Error::new(Code::SinkUnavailable, detail)
            };
            lanes.push((place.clone(), queue.ok_or_else(none)?, end));
        }
        let wanted = lanes.iter().map(|(place, ..)| place);
        let wanted = wanted.filter_map(|place| Some((place.clone(), *from.get(place)?)));
        consumer
            .assign(&list(&wanted.collect())?)
            .map_err(|error| failed(&error))?;
        let mut heard = Instant::now();
        while !lanes.is_empty() {
            if let Some(Err(error)) = consumer.poll(Duration::ZERO)
                && client::ends_reading(&error)
            {
                return Err(failed(&error));
            }
            let mut has_come = false;
            let mut open = Vec::with_capacity(lanes.len());
            for (place, queue, end) in lanes {
                let (is_open, came) = turn(&queue, end, &mut |message| {
                    ends.insert(place.clone(), message.offset() + 1);
                    each(message)
                })?;
                has_come |= came;
                if is_open {
                    open.push((place, queue, end));
                }
            }
            lanes = open;
            if has_come {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE {
                return Err(silent());
            } else if !lanes.is_empty() {
                std::thread::sleep(BREATH);
            }
        }
        client::end_beside(consumer);
        Ok(ends)
    }

    /// Reads single records; those that are gone are left out. Blocks.
    ///
    /// # Errors
    /// As [`read_to_ends`](Self::read_to_ends).
    pub fn records(
        &self,
        wanted: &BTreeMap<Place, BTreeSet<i64>>,
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let consumer = self.consumer(1)?;
        for (place, offsets) in wanted {
            let mut left = offsets.iter().copied().peekable();
            let mut at = None;
            let mut heard = Instant::now();
            while let Some(next) = left.peek().copied() {
                if at.is_none_or(|at| next - at > NEAR) {
                    let from = Offsets::from([(place.clone(), next)]);
                    consumer
                        .assign(&list(&from)?)
                        .map_err(|error| failed(&error))?;
                    at = Some(next);
                }
                match consumer.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => {
                        // Of what was assigned before, some may still be on its way.
                        if message.topic() != place.topic || message.partition() != place.partition
                        {
                            continue;
                        }
                        heard = Instant::now();
                        at = Some(message.offset());
                        while left.next_if(|next| *next < message.offset()).is_some() {}
                        if left.next_if_eq(&message.offset()).is_some() {
                            each(&message)?;
                        }
                    }
                    // What is wanted is not there any more.
                    Some(Err(KafkaError::PartitionEOF(partition)))
                        if partition == place.partition =>
                    {
                        break;
                    }
                    Some(Err(error)) if client::ends_reading(&error) => return Err(failed(&error)),
                    Some(Err(_)) | None if heard.elapsed() < SILENCE => {}
                    Some(Err(_)) | None => return Err(silent()),
                }
            }
        }
        client::end_beside(consumer);
        Ok(())
    }
}

/// Takes what has come of a partition up to `end`; whether more may follow, and whether anything came.
fn turn(
    queue: &PartitionQueue<Logging>,
    end: i64,
    each: &mut impl FnMut(&BorrowedMessage<'_>) -> Result<(), Error>,
) -> Result<(bool, bool), Error> {
    let mut has_come = false;
    for _ in 0..TURN {
        match queue.poll(Duration::ZERO) {
            None => break,
            Some(Ok(message)) => {
                has_come = true;
                let is_last = message.offset() + 1 >= end;
                each(&message)?;
                if is_last {
                    return Ok((false, true));
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok((false, true)),
            Some(Err(error)) if client::ends_reading(&error) => return Err(failed(&error)),
            // The client continues by itself.
            Some(Err(_)) => break,
        }
    }
    Ok((true, has_come))
}

fn range(
    consumer: &BaseConsumer<Logging>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), Error> {
    reader::watermarks(consumer, topic, partition, |error| {
        !client::ends_reading(error)
    })
}

fn list(offsets: &Offsets) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::new();
    for (place, offset) in offsets {
        list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*offset))
            .map_err(|error| failed(&error))?;
    }
    Ok(list)
}

fn failed(error: &KafkaError) -> Error {
    client::error("reading topics", error)
}

fn silent() -> Error {
    Error::new(
        Code::SinkUnavailable,
        "reading topics: kafka does not answer",
    )
}

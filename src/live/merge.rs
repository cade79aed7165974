//! Reads partitions from given offsets to given ones, as one sequence: the record with the earliest time first. Each
//! partition has a queue of its own, so that its end is known for sure.

use super::change::{self, Change, Read};
use super::position::{Place, Position};
use super::redact::Excluded;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Kind, Logging};
use crate::kafka::reader;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long nothing may come before the end of a partition.
const SILENCE: Duration = Duration::from_secs(30);
/// Before queues that were empty are looked at again.
const BREATH: Duration = Duration::from_millis(2);

/// The configuration of all readers: no group, only what is committed.
pub fn configuration(kafka: &Kafka) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Consumer);
    config
        .set("group.id", "tailwater-live")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error");
    config
}

/// A client that reads.
///
/// # Errors
/// When there can be none.
pub fn consumer(config: &ClientConfig) -> Result<Arc<BaseConsumer<Logging>>, Error> {
    let made = BaseConsumer::from_config_and_context(config, Logging::default());
    made.map(Arc::new)
        .map_err(|error| client::error("creating a Kafka consumer", &error))
}

/// Where a partition begins and ends now. Blocks.
///
/// # Errors
/// When the brokers cannot say now.
pub fn watermarks(
    consumer: &BaseConsumer<Logging>,
    topic: &str,
    place: Place,
) -> Result<(i64, i64), Error> {
    reader::watermarks(consumer, topic, number(place), |_| true)
}

pub fn number(place: Place) -> i32 {
    i32::try_from(place.partition).unwrap_or(i32::MAX)
}

/// One partition that is read.
struct Lane {
    place: Place,
    queue: PartitionQueue<Logging>,
    /// Read, and not handed out yet: the next offset behind it, and the change in it if there is one.
    head: Option<(i64, Option<Box<Change>>)>,
    is_at_end: bool,
}

/// Partitions that are read.
pub struct Merge<'a> {
    consumer: Arc<BaseConsumer<Logging>>,
    lanes: Vec<Lane>,
    excluded: &'a Excluded,
    heard: Instant,
}

impl<'a> Merge<'a> {
    /// Begins to read at these offsets. The client must report the ends of partitions.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn begin(
        consumer: Arc<BaseConsumer<Logging>>,
        starts: &[(&str, Place, i64)],
        excluded: &'a Excluded,
    ) -> Result<Self, Error> {
        let failed = |error: KafkaError| client::error("reading topics for live changes", &error);
        let mut list = TopicPartitionList::new();
        let mut lanes = Vec::with_capacity(starts.len());
        for (topic, place, offset) in starts {
            // Before it is assigned, so that nothing of it gets into another queue.
            let queue = consumer.split_partition_queue(topic, number(*place));
            let queue = queue.ok_or_else(|| {
                Error::new(Code::SinkUnavailable, format!("{topic} has no queue"))
            })?;
            list.add_partition_offset(topic, number(*place), Offset::Offset(*offset))
                .map_err(failed)?;
            lanes.push(Lane {
                place: *place,
                queue,
                head: None,
                is_at_end: false,
            });
        }
        consumer.assign(&list).map_err(failed)?;
        Ok(Self {
            consumer,
            lanes,
            excluded,
            heard: Instant::now(),
        })
    }

    /// The next change before `until`; none when everything before it was handed out. `position` moves along, to `until`
    /// where a partition ends without a record there. Blocks.
    ///
    /// # Errors
    /// What Kafka says, or when it says nothing for long.
    pub fn next(
        &mut self,
        position: &mut Position,
        until: &Position,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<Box<Change>>, Error> {
        loop {
            if !is_wanted() {
                return Ok(None);
            }
            if let Some(Err(error)) = self.consumer.poll(Duration::ZERO)
                && client::ends_reading(&error)
            {
                return Err(client::error("reading topics for live changes", &error));
            }
            let mut is_waiting = false;
            for lane in &mut self.lanes {
                if lane.head.is_some()
                    || lane.is_at_end
                    || position.next(lane.place) >= until.next(lane.place)
                {
                    continue;
                }
                match lane.queue.poll(Duration::ZERO) {
                    None => is_waiting = true,
                    Some(Ok(message)) => {
                        self.heard = Instant::now();
                        let change = match change::read(&message, lane.place, self.excluded) {
                            Read::Change(change) => Some(change),
                            Read::Nothing | Read::Foreign => None,
                        };
                        lane.head = Some((message.offset() + 1, change));
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) => {
                        self.heard = Instant::now();
                        lane.is_at_end = true;
                    }
                    Some(Err(error)) => {
                        return Err(client::error("reading topics for live changes", &error));
                    }
                }
            }
            if is_waiting {
                if self.heard.elapsed() > SILENCE {
                    return Err(Error::new(
                        Code::SinkUnavailable,
                        "reading topics for live changes: kafka does not answer",
                    ));
                }
                std::thread::sleep(BREATH);
                continue;
            }
            match self.take_first(position, until) {
                Some(Some(change)) => return Ok(Some(change)),
                Some(None) => {}
                None => return Ok(None),
            }
        }
    }

    /// Goes on to a later end.
    pub fn extend(&mut self, position: &Position, until: &Position) {
        for lane in &mut self.lanes {
            if position.next(lane.place) < until.next(lane.place) {
                lane.is_at_end = false;
            }
        }
        self.heard = Instant::now();
    }

    /// Takes the earliest record before `until`; none where there is none.
    fn take_first(
        &mut self,
        position: &mut Position,
        until: &Position,
    ) -> Option<Option<Box<Change>>> {
        for lane in &self.lanes {
            let is_behind = |next: i64| next > until.next(lane.place);
            if lane.is_at_end || lane.head.as_ref().is_some_and(|(next, _)| is_behind(*next)) {
                position.raise(lane.place, until.next(lane.place));
            }
        }
        let due = self.lanes.iter_mut().filter(|lane| {
            let head = lane.head.as_ref();
            head.is_some_and(|(next, _)| *next <= until.next(lane.place))
        });
        let first = due.min_by_key(|lane| {
            let change = lane.head.as_ref().and_then(|(_, change)| change.as_ref());
            change.map_or(i64::MIN, |change| change.timestamp)
        })?;
        let (next, change) = first.head.take()?;
        position.raise(first.place, next);
        Some(change)
    }
}

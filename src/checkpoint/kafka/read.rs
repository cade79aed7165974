//! Reading checkpoints: the newest committed one of a stream, or all.
//!
//! A consumer that reads committed stops at the first transaction that is still open, of whichever
//! stream, and what lies behind it is hidden. So the end of the partition is asked of a client that
//! reads uncommitted, and it counts as read only when the stable part reaches that far.

use super::listeners::{self, Gathering, is_of};
use super::topic::Topic;
use crate::change::position::Seq;
use crate::checkpoint::{Record, codec};
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Kind, Logging};
use crate::kafka::reader::{self, Stretch};
use crate::kafka::topic;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How long a read may take. A transaction of another stream that is open on the same partition hides
/// what comes after it until it ends: for an instance that was killed, by Kafka's own time-out
/// (`transaction.timeout.ms`, by default a minute).
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// How many offsets before the end are looked at first; then eight times as many, and so on. With a
/// commit a second of one stream it is the newest one or two, with a hundred streams on the partition
/// still far within.
const FIRST_WINDOW: i64 = 1_000;

/// What to do about transactions that are open before the partition's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenTransactions {
    /// Wait for their end: what they hide is part of the answer.
    Await,
    /// Read what is stable now.
    Ignore,
}

/// Values by partition and key.
type Values = HashMap<(i32, Vec<u8>), Vec<u8>>;

/// Two clients, of which one sees what transactions that are still open have written.
pub(super) struct Consumers {
    pub(super) committed: BaseConsumer<Logging>,
    pub(super) uncommitted: BaseConsumer<Logging>,
}

impl Consumers {
    pub(super) fn new(kafka: &Kafka) -> Result<Self, Error> {
        Ok(Self {
            committed: committed(kafka)?,
            uncommitted: uncommitted(kafka)?,
        })
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.topic).finish()
    }
}

/// Reads the checkpoint topic. Methods that read block.
pub(super) struct Reader {
    topic: Topic,
    committed: BaseConsumer<Logging>,
    uncommitted: BaseConsumer<Logging>,
}

impl Reader {
    pub(super) fn open(kafka: &Kafka, topic: &Topic) -> Result<Self, Error> {
        Ok(Self::with(Consumers::new(kafka)?, topic))
    }

    /// Reads through clients that may be connected already.
    pub(super) fn with(consumers: Consumers, topic: &Topic) -> Self {
        Self {
            topic: topic.clone(),
            committed: consumers.committed,
            uncommitted: consumers.uncommitted,
        }
    }

    /// A reader of the topic of that name; `None` when it does not exist.
    pub(super) fn find(kafka: &Kafka, topic: &str) -> Result<Option<Self>, Error> {
        let uncommitted = uncommitted(kafka)?;
        let Some(topic) = Topic::find(uncommitted.client(), topic)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            topic,
            committed: committed(kafka)?,
            uncommitted,
        }))
    }

    /// The name of the topic.
    pub(super) fn topic(&self) -> &str {
        self.topic.name()
    }

    /// The stream's newest record.
    pub(super) fn latest(
        &self,
        stream: &str,
        open: OpenTransactions,
    ) -> Result<Option<Record>, Error> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let partition = self.topic.partition_of(stream);
        let (low, end) = self.stable_range(partition, open, deadline)?;
        let mut until = end;
        let mut window = FIRST_WINDOW;
        let (mut found, mut gathering) = (None, None);
        while until > low {
            let from = end.saturating_sub(window).max(low);
            let mut newest: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
            self.visit(
                &[Stretch {
                    partition,
                    from,
                    until,
                }],
                deadline,
                |message| {
                    if let Some(key) = message.key().filter(|key| is_of(stream, key)) {
                        newest.insert(key.to_vec(), message.payload().map(<[u8]>::to_vec));
                    }
                },
            )?;
            if let (None, Some(value)) = (&found, newest.remove(stream.as_bytes())) {
                // Removed by somebody: that is the newest fact about this stream.
                let Some(value) = value else {
                    return Ok(None);
                };
                let record = self.decode(partition, &value)?;
                gathering = Gathering::of(&record);
                found = Some(record);
            }
            // A listener is written in the transaction of a position, before it.
            for (key, value) in newest {
                gathering
                    .iter_mut()
                    .for_each(|it| it.take(&key, value.as_deref()));
            }
            if found.is_some() && gathering.as_ref().is_none_or(Gathering::is_complete) {
                break;
            }
            until = from;
            window = window.saturating_mul(8);
        }
        if let Some(record) = found {
            return self.gathered(record, gathering, partition).map(Some);
        }
        let found = self.misplaced(stream, partition)?;
        // Asked without waiting, it is asked again.
        if found.is_none() && low > 0 && open == OpenTransactions::Await {
            warn!(
                stream,
                topic = self.topic.name(),
                partition,
                log_start_offset = low,
                "the checkpoint topic holds no checkpoint of this stream, and earlier records of its partition \
                 were deleted: if this stream has run before, its position was deleted with them, and changes \
                 since then may never be delivered; `tailwater token set` or START_AT says from where to read"
            );
        }
        Ok(found)
    }

    /// The record with its listeners.
    fn gathered(
        &self,
        mut record: Record,
        gathering: Option<Gathering>,
        partition: i32,
    ) -> Result<Record, Error> {
        if let Some(gathering) = gathering {
            gathering.finish(&mut record, &self.place(partition))?;
        }
        Ok(record)
    }

    /// The number of partitions may have been changed since the stream was last seen: then its
    /// checkpoint is where it was. Asked only of a stream that has none where it belongs.
    fn misplaced(&self, stream: &str, home: i32) -> Result<Option<Record>, Error> {
        let mut found: Option<(i32, Record)> = None;
        let values = self.newest_values(|partition| partition != home)?;
        for ((partition, key), value) in &values {
            if key == stream.as_bytes() {
                let record = self.decode(*partition, value)?;
                found = found
                    .filter(|(_, found)| age(found) > age(&record))
                    .or(Some((*partition, record)));
            }
        }
        let found = match found {
            None => None,
            Some((partition, record)) => {
                let mut gathering = Gathering::of(&record);
                for ((of, key), value) in &values {
                    if *of == partition {
                        gathering
                            .iter_mut()
                            .for_each(|it| it.take(key, Some(value)));
                    }
                }
                let mut record = self.gathered(record, gathering, partition)?;
                // On the partition that it moves to, none of its listeners is stored.
                listeners::forget_generation(&mut record);
                Some(record)
            }
        };
        if let Some(found) = &found {
            warn!(
                stream,
                epoch = found.epoch,
                topic = self.topic.name(),
                partitions = self.topic.partitions(),
                "the checkpoint is on another partition than its own: the checkpoint topic's number of \
                 partitions was changed; it moves to its new place"
            );
        }
        Ok(found)
    }

    /// The newest record of each stream. One that cannot be decoded is left out, with a warning.
    pub(super) fn all(&self) -> Result<Vec<Record>, Error> {
        let mut newest: HashMap<String, Record> = HashMap::new();
        for ((partition, key), value) in self.newest_values(|_| true)? {
            if listeners::is_of_listener(&key) {
                continue;
            }
            match self.decode(partition, &value) {
                Ok(record) => {
                    // One stream can be on two partitions: see `misplaced`.
                    let known = newest.get(&record.stream);
                    if known.is_none_or(|known| age(known) < age(&record)) {
                        newest.insert(record.stream.clone(), record);
                    }
                }
                Err(error) => warn!(error = %error, "left out a checkpoint"),
            }
        }
        Ok(newest.into_values().collect())
    }

    /// The newest value of each key on each of these partitions, as far as they are stable.
    fn newest_values(&self, wanted: impl Fn(i32) -> bool) -> Result<Values, Error> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let mut stretches = Vec::new();
        for partition in (0..self.topic.partitions()).filter(|partition| wanted(*partition)) {
            let (from, until) = self.watermarks(&self.committed, partition)?;
            if until > from {
                stretches.push(Stretch {
                    partition,
                    from,
                    until,
                });
            }
        }
        let mut values = Values::new();
        self.visit(&stretches, deadline, |message| {
            let Some(key) = message.key() else { return };
            let place = (message.partition(), key.to_vec());
            match message.payload() {
                Some(value) => values.insert(place, value.to_vec()),
                None => values.remove(&place),
            };
        })?;
        Ok(values)
    }

    fn decode(&self, partition: i32, value: &[u8]) -> Result<Record, Error> {
        codec::decode(value, &self.place(partition))
    }

    fn place(&self, partition: i32) -> String {
        format!("Kafka topic {}, partition {partition}", self.topic.name())
    }

    /// The first offset of a partition and the end of what is to be read of it.
    fn stable_range(
        &self,
        partition: i32,
        open: OpenTransactions,
        deadline: Instant,
    ) -> Result<(i64, i64), Error> {
        if open == OpenTransactions::Ignore {
            return self.watermarks(&self.committed, partition);
        }
        let (_, end) = self.watermarks(&self.uncommitted, partition)?;
        let begun = Instant::now();
        let mut told = false;
        loop {
            let (low, stable) = self.watermarks(&self.committed, partition)?;
            if stable >= end {
                // It is never within a transaction, as the end may have been.
                return Ok((low, stable));
            }
            self.check(deadline, "an open transaction hides the newest checkpoints")?;
            if !told && begun.elapsed() > Duration::from_secs(1) {
                told = true;
                info!(
                    topic = self.topic.name(),
                    partition,
                    "waiting for the end of a transaction that is open on the checkpoint's partition"
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn watermarks(
        &self,
        consumer: &BaseConsumer<Logging>,
        partition: i32,
    ) -> Result<(i64, i64), Error> {
        reader::watermarks(consumer, self.topic.name(), partition, topic::is_settling)
    }

    /// Visits all committed records of these stretches, in order within each.
    fn visit(
        &self,
        stretches: &[Stretch],
        deadline: Instant,
        mut each: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), Error> {
        let each = |message: &BorrowedMessage<'_>| {
            each(message);
            Ok(())
        };
        let idle = || self.check(deadline, "it takes too long");
        reader::visit(&self.committed, self.topic.name(), stretches, each, idle)
    }

    fn check(&self, deadline: Instant, why: &str) -> Result<(), Error> {
        if Instant::now() < deadline {
            return Ok(());
        }
        Err(Error::new(
            Code::SinkUnavailable,
            format!("reading the checkpoint topic {}: {why}", self.topic.name()),
        ))
    }
}

/// What tells the newest of several records of one stream: also of one claim, whose producer may have been
/// made anew after the number of partitions was changed.
fn age(record: &Record) -> (u64, Option<Seq>, i64) {
    let seq = record.position.as_ref().map(|position| position.seq);
    (record.epoch, seq, record.updated_at_millis)
}

/// Reads records.
fn committed(kafka: &Kafka) -> Result<BaseConsumer<Logging>, Error> {
    let mut config = consumer_config(kafka);
    config
        .set("isolation.level", "read_committed")
        .set("group.id", "tailwater-checkpoint-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // For an offset that is compacted away meanwhile.
        .set("auto.offset.reset", "earliest")
        // The end of a partition is told by an empty reply: it should not be held back.
        .set("fetch.wait.max.ms", "5")
        .set("fetch.min.bytes", "1");
    create(&config)
}

/// Only asks where partitions end: it has no group, and reads no record.
fn uncommitted(kafka: &Kafka) -> Result<BaseConsumer<Logging>, Error> {
    let mut config = consumer_config(kafka);
    config
        .remove("group.id")
        .set("isolation.level", "read_uncommitted");
    create(&config)
}

fn consumer_config(kafka: &Kafka) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Consumer);
    for name in [
        "auto.commit.enable",
        "group.instance.id",
        "group.protocol",
        "statistics.interval.ms",
    ] {
        config.remove(name);
    }
    config
}

fn create(config: &ClientConfig) -> Result<BaseConsumer<Logging>, Error> {
    BaseConsumer::from_config_and_context(config, Logging::default())
        .map_err(|error| client::error("creating a Kafka consumer", &error))
}

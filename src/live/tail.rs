//! The one reader of the topics' ends, for all clients that are current.

use super::catch_up::CatchUps;
use super::change::{self, Read};
use super::merge::{self, Merge};
use super::position::Place;
use super::topics::Found;
use crate::error::{Code, Error};
use crate::kafka::bootstrap;
use crate::kafka::client::{self, Logging};
use crate::log::event_id;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How many offsets before the end are read at the start, of each partition: for those who come back from another
/// instance.
const BEFORE: i64 = 1_000;
/// How often topics and partitions are looked for that are new.
const LOOK: Duration = Duration::from_secs(5);
/// How often whoever looks sees that the end has come.
const LOOK_FOR_END: Duration = Duration::from_millis(200);
/// Between attempts to begin.
const BREATH: Duration = Duration::from_secs(1);
/// Below this it is not slept, since the client sleeps whole milliseconds.
const SOON: Duration = Duration::from_micros(200);

/// Reads until `done`. Blocks.
///
/// # Errors
/// [`Code::Config`] where there are too many partitions at the start; whatever else goes wrong is tried again.
pub fn run(parts: &CatchUps, done: &CancellationToken) -> Result<(), Error> {
    let (mut is_told, mut has_begun) = (false, false);
    while !done.is_cancelled() {
        let read = Tail::begin(parts, done).and_then(|mut tail| {
            has_begun = true;
            if std::mem::take(&mut is_told) {
                tracing::info!("live changes are served again");
            }
            tail.read(done)
        });
        parts.hub.set_ready(false);
        parts.hub.counts.ready.set(false);
        let Err(error) = read else { break };
        if error.code == Code::Config && !has_begun {
            return Err(error);
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!(event_id = event_id::LIVE_INTERRUPTED, %error, "live changes are not served; it is tried again");
        }
        parts.hub.reset();
        std::thread::sleep(BREATH);
    }
    Ok(())
}

struct Tail<'a> {
    parts: &'a CatchUps,
    consumer: Arc<BaseConsumer<Logging>>,
    /// The places of topics, and how many partitions of each are read.
    known: HashMap<String, (usize, usize)>,
    is_foreign_told: bool,
}

impl<'a> Tail<'a> {
    /// Takes up the topics that are there, with what was written to them last.
    fn begin(parts: &'a CatchUps, done: &CancellationToken) -> Result<Self, Error> {
        let mut config = merge::configuration(&parts.kafka);
        bootstrap::watch(&mut config);
        config
            .set("fetch.wait.max.ms", "250")
            .set("fetch.min.bytes", "1");
        let consumer = merge::consumer(&config)?;
        let found = parts.topics.find(consumer.client())?;
        let mut tail = Self {
            parts,
            consumer,
            known: HashMap::new(),
            is_foreign_told: false,
        };
        let mut list = TopicPartitionList::new();
        let mut before = Vec::new();
        for (name, partitions) in &found {
            let topic = tail.take_up(name, *partitions);
            for partition in 0..*partitions {
                let place = Place { topic, partition };
                let (low, end) = merge::watermarks(&tail.consumer, name, place)?;
                let from = low.max(end - BEFORE);
                parts.hub.begin(place, from, end);
                before.push((name.as_str(), place, from));
                add(&mut list, name, place, Offset::Offset(end))?;
            }
        }
        tail.prefill(&before, done)?;
        let assigned = tail.consumer.assign(&list);
        assigned.map_err(|error| client::error("reading topics for live changes", &error))?;
        parts.hub.set_ready(true);
        parts.hub.counts.ready.set(true);
        Ok(tail)
    }

    fn take_up(&mut self, name: &str, partitions: usize) -> usize {
        let topic = self.parts.hub.grow(name, partitions);
        let mut names = self
            .parts
            .names
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if names.len() <= topic {
            names.resize(topic + 1, String::new());
        }
        name.clone_into(&mut names[topic]);
        drop(names);
        self.known.insert(name.to_owned(), (topic, partitions));
        topic
    }

    /// Reads what was written last before this server began.
    fn prefill(
        &self,
        starts: &[(&str, Place, i64)],
        done: &CancellationToken,
    ) -> Result<(), Error> {
        let (until, mut position, _) = self.parts.hub.positions();
        let is_behind = |place: Place| position.next(place) < until.next(place);
        let starts: Vec<_> = starts
            .iter()
            .filter(|(_, place, _)| is_behind(*place))
            .copied()
            .collect();
        if starts.is_empty() {
            return Ok(());
        }
        let mut config = merge::configuration(&self.parts.kafka);
        config
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "16384");
        let mut merge = Merge::begin(merge::consumer(&config)?, &starts, &self.parts.excluded)?;
        while let Some(change) = merge.next(&mut position, &until, || !done.is_cancelled())? {
            if self.parts.topics.hold(&change) {
                self.parts.hub.prefill(Arc::from(change));
            }
        }
        Ok(())
    }

    fn read(&mut self, done: &CancellationToken) -> Result<(), Error> {
        let consumer = Arc::clone(&self.consumer);
        let news = self.look_for_more(done);
        let mut next: Option<Instant> = None;
        while !done.is_cancelled() {
            if let Ok(found) = news.try_recv() {
                self.grow(&found)?;
            }
            let wait = client::poll_wait(200);
            let wait = next.map_or(wait, |at| wait.min(until(at)));
            let polled = consumer.poll(wait);
            bootstrap::keep(consumer.client(), &self.parts.kafka.brokers);
            match polled {
                Some(Ok(message)) => self.take(&message),
                Some(Err(error)) => judge(&error)?,
                None => {}
            }
            next = self.parts.hub.flush(Instant::now());
        }
        Ok(())
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let Some((topic, _)) = self.known.get(message.topic()) else {
            return;
        };
        let partition = usize::try_from(message.partition()).unwrap_or(0);
        let place = Place {
            topic: *topic,
            partition,
        };
        self.parts.hub.counts.read.add(1);
        match change::read(message, place, &self.parts.excluded) {
            Read::Change(change) if self.parts.topics.hold(&change) => {
                self.parts.hub.take(Arc::from(change));
                return;
            }
            Read::Change(_) | Read::Nothing => {}
            Read::Foreign => {
                self.parts.hub.counts.foreign.add(1);
                if !std::mem::replace(&mut self.is_foreign_told, true) {
                    let topic = message.topic();
                    tracing::warn!(
                        event_id = event_id::LIVE_FOREIGN,
                        topic,
                        "a topic that is served live has records that are not in Tailwater's format; they are left out"
                    );
                }
            }
        }
        self.parts.hub.pass(place, message.offset());
    }

    /// Looks for topics and partitions again and again, beside the reader.
    fn look_for_more(&self, done: &CancellationToken) -> Receiver<Vec<Found>> {
        let (sender, receiver) = sync_channel(1);
        let (consumer, topics) = (Arc::clone(&self.consumer), self.parts.topics.clone());
        let done = done.clone();
        let mut last = Vec::new();
        std::thread::spawn(move || {
            let mut looked = Instant::now();
            while !done.is_cancelled() {
                if looked.elapsed() < LOOK {
                    std::thread::sleep(LOOK_FOR_END);
                    continue;
                }
                looked = Instant::now();
                match topics.find(consumer.client()) {
                    Ok(found) if found != last => {
                        last.clone_from(&found);
                        // The reader has ended, and so does this.
                        if sender.send(found).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(error) if error.code == Code::Config => {
                        tracing::error!(event_id = event_id::LIVE_INTERRUPTED, %error, "new partitions are not served live");
                    }
                    Err(error) => tracing::debug!(%error, "cannot look for new topics"),
                }
            }
        });
        receiver
    }

    /// Reads what is new from its beginning.
    fn grow(&mut self, found: &[Found]) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        for (name, partitions) in found {
            let known = self.known.get(name).map_or(0, |(_, known)| *known);
            if *partitions <= known {
                continue;
            }
            let topic = self.take_up(name, *partitions);
            for partition in known..*partitions {
                let place = Place { topic, partition };
                add(&mut list, name, place, Offset::Beginning)?;
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let assigned = self.consumer.incremental_assign(&list);
        assigned.map_err(|error| client::error("reading topics for live changes", &error))
    }
}

/// How long until then.
fn until(at: Instant) -> Duration {
    let left = at.saturating_duration_since(Instant::now());
    match left < SOON {
        true => Duration::ZERO,
        false => client::poll_wait(u64::try_from(left.as_millis()).unwrap_or(0) + 1),
    }
}

fn add(
    list: &mut TopicPartitionList,
    topic: &str,
    place: Place,
    offset: Offset,
) -> Result<(), Error> {
    let added = list.add_partition_offset(topic, merge::number(place), offset);
    added.map_err(|error| client::error("reading topics for live changes", &error))
}

/// The client repairs most faults by itself. Where it has lost its place, or may not read, everything begins anew.
fn judge(error: &KafkaError) -> Result<(), Error> {
    let is_lost = matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)
    );
    match is_lost || client::ends_reading(error) {
        true => Err(client::error("reading topics for live changes", error)),
        false => Ok(()),
    }
}

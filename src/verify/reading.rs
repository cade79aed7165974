//! Reads the topics from their beginning to where they end now.

use super::entry::{Entry, Sample};
use super::names::Names;
use super::progress::Progress;
use super::read::{Offsets, Reader};
use super::record::{self, Read};
use super::sorter::Sorter;
use super::source::no_room;
use super::topics::Topics;
use crate::config::Kafka;
use crate::encode::json::scan;
use crate::error::{Code, Error};
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What is read, and how.
pub struct Reading {
    pub kafka: Kafka,
    pub memory: usize,
    pub sample: Sample,
    pub stream: String,
    pub sorter: Sorter<Entry>,
    pub topics: Topics,
    pub names: Names,
    pub progress: Arc<Progress>,
}

/// What was read of the topics.
pub struct ReadTopics {
    pub sorter: Sorter<Entry>,
    pub topics: Topics,
    pub names: Names,
    /// Where they ended.
    pub from: Offsets,
    pub cut: BTreeMap<(u32, i32), u64>,
    /// Topics that do not begin at offset 0, with how many of their partitions.
    pub cut_topics: BTreeMap<String, usize>,
    /// Namespaces that have rows of a snapshot, and by the snapshot's id the number of the last one.
    pub snapshots: HashMap<u32, BTreeMap<String, u64>>,
    /// The least number.
    pub first: Option<u64>,
    /// From when to when history was lost.
    pub gaps: BTreeSet<(String, String)>,
    pub of_other_streams: u64,
    pub foreign: u64,
}

impl Reading {
    /// Reads all of it. Blocks.
    ///
    /// # Errors
    /// What Kafka says, and [`Code::SinkRefused`] where there is no topic; the system, of the temporary files.
    pub fn run(self) -> Result<ReadTopics, Error> {
        let reader = Reader {
            kafka: &self.kafka,
            memory: self.memory,
        };
        let found = reader.topics(|name| self.topics.are_meant(name))?;
        if found.is_empty() {
            return Err(Error::new(
                Code::SinkRefused,
                format!(
                    "no topic of the stream {} exists, or may be read: {}",
                    self.stream,
                    self.topics.looked_for()
                ),
            ));
        }
        let ranges = reader.ranges(&found)?;
        let mut read = ReadTopics {
            sorter: self.sorter,
            topics: self.topics,
            names: self.names,
            from: Offsets::new(),
            cut: BTreeMap::new(),
            cut_topics: BTreeMap::new(),
            snapshots: HashMap::new(),
            first: None,
            gaps: BTreeSet::new(),
            of_other_streams: 0,
            foreign: 0,
        };
        let mut starts = Offsets::new();
        let mut all = 0;
        for (place, (low, high)) in ranges {
            if low > 0 {
                // Until a record says more, all of it was about anything.
                let number = read.topics.number(&place.topic);
                read.cut.insert((number, place.partition), u64::MAX);
                *read.cut_topics.entry(place.topic.clone()).or_default() += 1;
            }
            all += u64::try_from(high - low).unwrap_or_default();
            starts.insert(place, low);
        }
        self.progress.expect(all);
        read.from = reader.read_to_ends(&starts, |message| {
            self.progress.record();
            read.take(message, &self.stream, self.sample)
        })?;
        Ok(read)
    }
}

impl ReadTopics {
    fn take(
        &mut self,
        message: &BorrowedMessage<'_>,
        stream: &str,
        sample: Sample,
    ) -> Result<(), Error> {
        match record::read(message, stream) {
            Read::Document(change) => {
                let topic = self.topics.number(message.topic());
                let Some(namespace) = self.names.number(change.namespace) else {
                    return Ok(());
                };
                self.first = Some(self.first.map_or(change.seq, |first| first.min(change.seq)));
                if let Some(first) = self.cut.get_mut(&(topic, message.partition())) {
                    *first = change.seq.min(*first);
                }
                if let Some(id) = change.snapshot {
                    let known = self.snapshots.entry(namespace).or_default();
                    match known.get_mut(id) {
                        Some(last) => *last = change.seq.max(*last),
                        None => drop(known.insert(id.to_owned(), change.seq)),
                    }
                }
                if !sample.holds(&change.id) {
                    return Ok(());
                }
                let entry = change.entry(namespace, topic, message);
                let pushed = self.sorter.push(entry);
                pushed.map_err(|error| no_room(&error))?;
            }
            Read::Definition { seq, definition } => {
                self.first = Some(self.first.map_or(seq, |first| first.min(seq)));
                self.names.define(seq, definition);
            }
            Read::Gap => {
                let value = message.payload().unwrap_or_default();
                let description = scan::member(value, "operationDescription").unwrap_or_default();
                let text = |name| {
                    let text = scan::member(description, name).unwrap_or(b"?");
                    String::from_utf8_lossy(text).trim_matches('"').to_owned()
                };
                self.gaps.insert((text("from"), text("to")));
            }
            Read::Nothing => {}
            Read::OfAnotherStream => self.of_other_streams += 1,
            Read::Foreign => self.foreign += 1,
        }
        Ok(())
    }
}

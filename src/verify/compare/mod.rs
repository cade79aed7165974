//! What two watchers of one source have written over the same time: by document, and in order.

mod align;
mod format;
mod loose;
mod report;

pub use format::{Format, Map};
pub use report::{Comparison, Kind, Listed, Tally};

use super::entry::{Hash, hash, take};
use super::fold::{Disorder, Order};
use super::names::Names;
use super::paths;
use super::progress::Progress;
use super::read::{Offsets, Place, Reader};
use super::sorter::{Folder, Merged, Row, Sorter};
use super::source::no_room;
use crate::config::Kafka;
use crate::error::{Code, Error};
use align::{Told, align};
use format::{Action, Change, Seen};
use rdkafka::message::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// What one watcher writes.
#[derive(Debug, Clone)]
pub struct Side {
    pub topics: Vec<String>,
    pub format: Format,
}

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    pub a: Side,
    pub b: Side,
    /// What happened before is left out, in milliseconds since the Unix epoch.
    pub since: Option<i64>,
    pub memory: usize,
    pub work_dir: Option<PathBuf>,
    /// How many changes of a collection are named.
    pub limit: usize,
}

/// How far apart the clocks and roundings of two watchers may be, in ms: at the ends of the time that both cover, a
/// change may be within for one and without for the other.
const EDGE: i64 = 2_000;

/// A change of one side. Sorted, all of a document come together, those of a side in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Of the namespace and the `_id`.
    id: Hash,
    is_second: bool,
    /// What orders topics: `tw-seq` or the time where there are several, otherwise nothing.
    order: u64,
    topic: u32,
    partition: i32,
    offset: u64,
    namespace: u32,
    time: i64,
    /// `tw-seq`, otherwise 0.
    seq: u64,
    action: Action,
    content: Option<Hash>,
}

impl Row for Entry {
    const LEN: usize = 16 + 1 + 8 + 4 + 4 + 8 + 4 + 8 + 8 + 1 + 1 + 16;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.push(u8::from(self.is_second));
        out.extend_from_slice(&self.order.to_le_bytes());
        out.extend_from_slice(&self.topic.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.namespace.to_le_bytes());
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.push(self.action as u8);
        out.push(u8::from(self.content.is_some()));
        out.extend_from_slice(&self.content.unwrap_or_default());
    }

    fn read(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let is_second = |byte: [u8; 1]| byte == [1];
        let mut told = Self {
            id: take(&mut rest),
            is_second: is_second(take(&mut rest)),
            order: u64::from_le_bytes(take(&mut rest)),
            topic: u32::from_le_bytes(take(&mut rest)),
            partition: i32::from_le_bytes(take(&mut rest)),
            offset: u64::from_le_bytes(take(&mut rest)),
            namespace: u32::from_le_bytes(take(&mut rest)),
            time: i64::from_le_bytes(take(&mut rest)),
            seq: u64::from_le_bytes(take(&mut rest)),
            action: Action::of_byte(take::<1>(&mut rest)[0]),
            content: None,
        };
        let has_content = take::<1>(&mut rest) == [1];
        let content = take(&mut rest);
        told.content = has_content.then_some(content);
        told
    }
}

/// Compares two watchers. Blocks.
///
/// # Errors
/// What Kafka says; the system, of the temporary files.
pub fn run(
    settings: &Settings,
    kafka: &Kafka,
    progress: &Arc<Progress>,
) -> Result<Comparison, Error> {
    let folder = Folder::new(settings.work_dir.as_deref());
    let reader = Reader {
        kafka,
        memory: settings.memory / 2,
    };
    let mut reading = Reading {
        reader,
        sorter: Sorter::new(&folder, settings.memory / 4),
        names: Names::default(),
        topics: Vec::new(),
        comparison: Comparison::default(),
        progress,
    };
    progress.step("reading a");
    let a = reading.side(&settings.a, false)?;
    progress.step("reading b");
    let b = reading.side(&settings.b, true)?;
    let Reading {
        sorter,
        names,
        topics,
        mut comparison,
        ..
    } = reading;
    // What both had the time to write: from the later beginning to the earlier end.
    let begin = settings
        .since
        .into_iter()
        .chain(a.map(|it| it.0))
        .chain(b.map(|it| it.0))
        .max();
    let end = a.map(|it| it.1).into_iter().chain(b.map(|it| it.1)).min();
    comparison.window = begin.zip(end).filter(|_| a.is_some() && b.is_some());
    progress.step("comparing");
    let merged = Merged::of(vec![sorter], settings.memory / 4);
    let mut merged = merged.map_err(|error| no_room(&error))?;
    let mut wanted = Vec::new();
    while let Some(first) = merged.peek().copied() {
        let mut sides = [Vec::new(), Vec::new()];
        let mut orders = <[Order; 2]>::default();
        let tally = comparison
            .collections
            .entry(names.get(first.namespace).clone())
            .or_default();
        while let Some(next) = merged.peek().copied().filter(|it| it.id == first.id) {
            merged.next().map_err(|error| no_room(&error))?;
            let side = usize::from(next.is_second);
            let mut disorder = Disorder::default();
            let is_repeated = match next.seq {
                // Without numbers only a change that is the same as the last can be known for a repetition, and may
                // be none.
                0 => false,
                seq => orders[side].take(seq, &mut disorder),
            };
            match is_repeated {
                true => tally.repeated[side] += 1,
                false => sides[side].push(next),
            }
        }
        let [a, b] = &sides;
        let told = |side: &[Entry]| -> Vec<Told> {
            let told = side.iter().map(|it| Told {
                action: it.action,
                content: it.content,
            });
            told.collect()
        };
        let found = align(&told(a), &told(b));
        tally.same += found.same;
        tally.looked_up += found.looked_up.len() as u64;
        let window = comparison.window;
        let is_within = |it: &Entry| {
            window.is_none_or(|(begin, end)| it.time >= begin + EDGE && it.time <= end - EDGE)
        };
        let single = [(Kind::Lost, a, found.lost), (Kind::Extra, b, found.extra)];
        let single = single.into_iter().flat_map(|(kind, side, list)| {
            list.into_iter()
                .map(move |index| (kind, Some(side[index]), None))
        });
        let single = single.map(|(kind, one, other)| match kind {
            Kind::Extra => (kind, other, one),
            _ => (kind, one, other),
        });
        let reordered = found
            .reordered
            .into_iter()
            .map(|pair| (Kind::Reordered, pair));
        let different = found
            .different
            .into_iter()
            .map(|pair| (Kind::Different, pair));
        let pairs = reordered.chain(different);
        let pairs = pairs.map(|(kind, (i, j))| (kind, Some(a[i]), Some(b[j])));
        for (kind, one, other) in single.chain(pairs) {
            if !one.iter().chain(&other).all(is_within) {
                tally.at_the_edge += 1;
                continue;
            }
            tally.count(kind);
            if tally.listed.len() < settings.limit {
                let of = |it: Option<Entry>| {
                    it.map(|it| {
                        let (_, topic) = &topics[it.topic as usize];
                        (topic.clone(), it.partition, it.offset)
                    })
                };
                let action = one.or(other).map_or(Action::Change, |it| it.action);
                tally.listed.push(Listed {
                    kind,
                    action: action.name(),
                    id: String::new(),
                    a: of(one),
                    b: of(other),
                    paths: Vec::new(),
                });
                wanted.push((names.get(first.namespace).clone(), tally.listed.len() - 1));
            }
        }
    }
    name(&mut comparison, &wanted, settings, reader)?;
    comparison.records = progress.records();
    comparison.seconds = progress.elapsed().as_secs_f64();
    Ok(comparison)
}

struct Reading<'a> {
    reader: Reader<'a>,
    sorter: Sorter<Entry>,
    names: Names,
    /// With the side that reads it.
    topics: Vec<(bool, String)>,
    comparison: Comparison,
    progress: &'a Progress,
}

impl Reading<'_> {
    /// Reads the topics of a side; the times of its first and last change.
    fn side(&mut self, side: &Side, is_second: bool) -> Result<Option<(i64, i64)>, Error> {
        let found = self
            .reader
            .topics(|name| side.topics.iter().any(|it| it == name))?;
        if let Some(missing) = side.topics.iter().find(|name| !found.contains_key(*name)) {
            let detail = format!("the topic {missing} does not exist, or may not be read");
            return Err(Error::new(Code::SinkRefused, detail));
        }
        let ranges = self.reader.ranges(&found)?;
        let all = ranges.values().map(|(low, high)| high - low).sum::<i64>();
        self.progress
            .expect(self.progress.records() + u64::try_from(all).unwrap_or_default());
        let starts: Offsets = ranges
            .into_iter()
            .map(|(place, (low, _))| (place, low))
            .collect();
        let base = self.topics.len();
        self.topics
            .extend(found.keys().map(|name| (is_second, name.clone())));
        let is_several = found.len() > 1;
        let index = usize::from(is_second);
        let mut times: Option<(i64, i64)> = None;
        let Self {
            reader,
            sorter,
            names,
            topics,
            comparison,
            progress,
        } = self;
        reader.read_to_ends(&starts, |message| {
            progress.record();
            let change = match side.format.read(message) {
                Seen::Change(change) => change,
                Seen::LeftOut => {
                    comparison.left_out[index] += 1;
                    return Ok(());
                }
                Seen::Foreign => {
                    comparison.foreign[index] += 1;
                    return Ok(());
                }
            };
            progress.document(change.document.as_ref().map_or(0, Vec::len));
            let (first, last) = times.unwrap_or((change.time, change.time));
            times = Some((first.min(change.time), last.max(change.time)));
            let topic = topics[base..]
                .iter()
                .position(|(_, name)| name == message.topic());
            let topic = u32::try_from(base + topic.unwrap_or_default()).unwrap_or(u32::MAX);
            let name = format!("{}.{}", change.database, change.collection);
            let Some(namespace) = names.number(&name) else {
                return Ok(());
            };
            let order = match (is_several, change.seq) {
                (false, _) => 0,
                (true, Some(seq)) => seq,
                (true, None) => u64::try_from(change.time).unwrap_or_default(),
            };
            let told = Entry {
                id: of_document(&change),
                is_second,
                order,
                topic,
                partition: message.partition(),
                offset: u64::try_from(message.offset()).unwrap_or_default(),
                namespace,
                time: change.time,
                seq: change.seq.unwrap_or_default(),
                action: change.action,
                content: change.document.as_deref().map(hash),
            };
            sorter.push(told).map_err(|error| no_room(&error))
        })?;
        Ok(times)
    }
}

fn of_document(change: &Change) -> Hash {
    let (database, collection) = (change.database.as_bytes(), change.collection.as_bytes());
    hash(&[database, b".", collection, b"\0", &change.id].concat())
}

/// Reads what is named once more: its `_id`, and where two documents differ.
fn name(
    comparison: &mut Comparison,
    wanted: &[(crate::change::namespace::Namespace, usize)],
    settings: &Settings,
    reader: Reader<'_>,
) -> Result<(), Error> {
    let mut read: [HashMap<(Place, i64), Change>; 2] = Default::default();
    for (index, side) in [&settings.a, &settings.b].into_iter().enumerate() {
        let mut records: BTreeMap<Place, BTreeSet<i64>> = BTreeMap::new();
        for (of, at) in wanted {
            let listed = &comparison.collections[of].listed[*at];
            if let Some(place) = [&listed.a, &listed.b][index] {
                let (place, offset) = place_of(place);
                records.entry(place).or_default().insert(offset);
            }
        }
        reader.records(&records, |message| {
            if let Seen::Change(change) = side.format.read(message) {
                read[index].insert(Place::of(message), change);
            }
            Ok(())
        })?;
    }
    for (of, at) in wanted {
        let Some(listed) = comparison
            .collections
            .get_mut(of)
            .map(|it| &mut it.listed[*at])
        else {
            continue;
        };
        let [a, b] = [(&listed.a, 0), (&listed.b, 1)]
            .map(|(place, side)| read[side].get(&place_of(place.as_ref()?)));
        let one = a.or(b);
        listed.id = one.map_or_else(
            || "?".into(),
            |it| String::from_utf8_lossy(&it.id).into_owned(),
        );
        if let (Kind::Different, Some(a), Some(b)) = (listed.kind, a, b)
            && let (Some(a), Some(b)) = (&a.document, &b.document)
        {
            listed.paths = paths::differences(a, b);
        }
    }
    Ok(())
}

fn place_of((topic, partition, offset): &(String, i32, u64)) -> (Place, i64) {
    Place::at(topic, *partition, *offset)
}

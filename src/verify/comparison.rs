//! Compares document by document, and keeps what differs to be looked at again.

use super::entry::{Entry, Hash, Kind};
use super::fold::{Group, State};
use super::knowledge::Unknown;
use super::names::Names;
use super::read::Place;
use super::report::{Collection, Finding, Listed, Report};
use super::settle::{Settling, Suspect, Verdict};
use super::sorter::Merged;
use super::source::{Ids, no_room};
use super::topics::Topics;
use super::{REPAIRED, Repairs, Settings, record};
use crate::change::namespace::Namespace;
use crate::config::{JsonMode, covers};
use crate::encode::json;
use crate::error::Error;
use crate::source::Filter;
use bson::{Bson, Document, RawDocumentBuf};
use rdkafka::message::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The collections that are meant.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    pub filter: &'a Filter,
    pub patterns: &'a [String],
}

impl Selection<'_> {
    pub fn holds(&self, of: &Namespace) -> bool {
        let whole = of.to_string();
        let is_meant =
            |pattern: &String| covers(pattern, &whole) || covers(pattern, &of.collection);
        self.filter.watches(&of.database, &of.collection)
            && (self.patterns.is_empty() || self.patterns.iter().any(is_meant))
    }
}

/// The comparison of all documents.
pub struct Comparison<'a> {
    pub settings: &'a Settings,
    pub selection: Selection<'a>,
    /// What was found by namespace; none for those that are not meant.
    pub tallies: HashMap<u32, Option<Collection>>,
    pub repairs: Repairs,
    pub repaired: usize,
    pub ids: &'a mut Ids,
    pub updates_hold_none: bool,
}

impl Comparison<'_> {
    /// What was found in a namespace; none where it is not meant.
    fn tally(&mut self, number: u32, names: &Names) -> Option<&mut Collection> {
        let tally = self.tallies.entry(number);
        let new = || {
            self.selection
                .holds(names.get(number))
                .then(Collection::default)
        };
        tally.or_insert_with(new).as_mut()
    }

    /// Moves what was found into the report.
    pub fn report(&mut self, report: &mut Report, names: &Names) {
        for (number, tally) in self.tallies.drain() {
            if let Some(tally) = tally {
                report.collections.insert(names.get(number).clone(), tally);
            }
        }
    }

    /// The next documents that differ, at most about `most`; none when all are compared.
    ///
    /// # Errors
    /// The system's; what Kafka says.
    pub fn next(
        &mut self,
        merged: &mut Merged<Entry>,
        settling: &Settling<'_>,
        most: usize,
    ) -> Result<Vec<Suspect>, Error> {
        let mut suspects = Vec::new();
        let mut group = Group::default();
        while suspects.len() < most {
            let is_more = group.next(merged, settling.names);
            if !is_more.map_err(|error| no_room(&error))? {
                break;
            }
            for (number, disorder) in &group.disorder {
                if let Some(tally) = self.tally(*number, settling.names) {
                    tally.disorder.repeated += disorder.repeated;
                    tally.disorder.out_of_order += disorder.out_of_order;
                }
            }
            for (number, state) in &group.states {
                let suspect = self.compare(group.id, *number, *state, settling)?;
                suspects.extend(suspect);
            }
        }
        self.find_ids(&mut suspects, settling)?;
        Ok(suspects)
    }

    fn compare(
        &mut self,
        id: Hash,
        number: u32,
        state: State,
        settling: &Settling<'_>,
    ) -> Result<Option<Suspect>, Error> {
        let updates_hold_none = self.updates_hold_none;
        let is_filtered = self.settings.filter.is_some();
        let Some(tally) = self.tally(number, settling.names) else {
            return Ok(None);
        };
        let State { folded, source } = state;
        match (&folded, &source) {
            (Some(record), Some(document)) => match record.kind {
                Kind::Whole | Kind::Replayed if record.content == document.content => {
                    tally.equal += 1;
                    return Ok(None);
                }
                Kind::Partial if updates_hold_none => {
                    tally.unknown(Unknown::NoDocument);
                    return Ok(None);
                }
                _ => {}
            },
            (Some(record), None) => match record.kind {
                Kind::Gone | Kind::Tombstone => return Ok(None),
                // It may be there, and not be meant.
                _ if is_filtered => return Ok(None),
                // Its `_id` is known when its record is read again.
                _ => {}
            },
            (None, _) => {}
        }
        let value = match source {
            None => None,
            Some(document) => self
                .ids
                .get(document.offset)
                .map_err(|error| no_room(&error))?,
        };
        if folded.is_none() {
            // What has no record and is not provably new is not looked at again: there may be millions.
            let knowledge = settling.knowledge;
            let why = knowledge.without_record(settling.names, number, value.as_ref());
            if let (Some(why), Some(tally)) = (why, self.tally(number, settling.names)) {
                tally.unknown(why);
                return Ok(None);
            }
        }
        Ok(Some(Suspect::new(number, id, value, folded)))
    }

    /// Reads the records of those that only Kafka has: their keys hold their `_id`s.
    fn find_ids(&self, suspects: &mut [Suspect], settling: &Settling<'_>) -> Result<(), Error> {
        let mut wanted: BTreeMap<Place, BTreeSet<i64>> = BTreeMap::new();
        let mut places = HashMap::new();
        for (index, suspect) in suspects.iter().enumerate() {
            if let (None, Some(record)) = (&suspect.value, &suspect.folded) {
                let (place, offset) = place_of(record, settling.topics);
                places.insert((place.clone(), offset), index);
                wanted.entry(place).or_default().insert(offset);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        tokio::task::block_in_place(|| {
            settling.reader.records(&wanted, |message| {
                let topic = message.topic().to_owned();
                let partition = message.partition();
                let at = (Place { topic, partition }, message.offset());
                if let Some(index) = places.get(&at) {
                    suspects[*index].value = message.key().and_then(record::id_of);
                }
                Ok(())
            })
        })
    }

    /// Counts what was looked at again.
    pub fn take(&mut self, settled: Vec<(Suspect, Verdict)>, settling: &Settling<'_>) {
        for (suspect, verdict) in settled {
            let limit = self.settings.limit;
            let of = settling.names.get(suspect.namespace);
            let Some(collection) = self.tally(suspect.namespace, settling.names) else {
                continue;
            };
            let finding = match verdict {
                // What neither has is nothing to be counted.
                Verdict::Equal => {
                    let folded = suspect.folded.map(|it| it.kind);
                    let is_there = !matches!(folded, None | Some(Kind::Gone | Kind::Tombstone));
                    collection.equal += u64::from(is_there);
                    continue;
                }
                Verdict::Unknown(why) => {
                    collection.unknown(why);
                    continue;
                }
                Verdict::Found(finding) => finding,
            };
            collection.count(finding);
            if collection.listed.len() < limit {
                let place = suspect.folded.as_ref().map(|record| {
                    let topic = settling.topics.name(record.topic).to_owned();
                    (topic, record.partition, record.offset)
                });
                collection.listed.push(Listed {
                    finding,
                    id: suspect.value.as_ref().map_or_else(|| "?".into(), text_of),
                    place,
                    paths: Vec::new(),
                });
            }
            if finding != Finding::Extra
                && self.repaired < REPAIRED
                && let Some(id) = suspect.value
            {
                self.repaired += 1;
                self.repairs.entry(of.clone()).or_default().push(id);
            }
        }
    }
}

fn place_of(record: &Entry, topics: &Topics) -> (Place, i64) {
    Place::at(topics.name(record.topic), record.partition, record.offset)
}

/// An `_id` as relaxed Extended JSON, as keys have it.
fn text_of(id: &Bson) -> String {
    let mut document = Document::new();
    document.insert("_id", id.clone());
    let mut text = Vec::new();
    if let Ok(raw) = RawDocumentBuf::try_from(&document)
        && let Ok(Some(element)) = crate::change::raw::find(raw.as_bytes(), "_id")
    {
        // What cannot be written has no record either.
        let _ = json::write_value(&mut text, JsonMode::Relaxed, element);
    }
    String::from_utf8_lossy(&text).into_owned()
}

//! Looks again at documents that differ, until each is equal or is known to be different.
//!
//! A system that is in use differs all the time, by what is on its way. A document is different only if its newest
//! record was the same before it was read from MongoDB and after the stream had passed that time: then nothing of it
//! was on its way.

use super::entry::{Entry, Hash, Kind};
use super::fold::is_newer;
use super::gate::{Gate, Passed};
use super::knowledge::{Knowledge, Unknown};
use super::names::{Definition, Names};
use super::read::{Offsets, Place, Reader};
use super::record::{self, Read};
use super::report::Finding;
use super::source::{self, Source};
use super::topics::Topics;
use crate::change::namespace::Namespace;
use crate::error::Error;
use bson::Bson;
use rdkafka::message::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// Without a checkpoint to be seen, how long a document must stay different.
const REST: Duration = Duration::from_secs(30);
/// How many states that a document had meanwhile are remembered.
const REMEMBERED: usize = 1_000;

/// A document that differs.
#[derive(Debug, Clone)]
pub struct Suspect {
    pub namespace: u32,
    pub id: Hash,
    /// None where the key of its record cannot be read.
    pub value: Option<Bson>,
    pub folded: Option<Entry>,
    /// What newer records made of it meanwhile; none where they deleted it.
    passed: Vec<Option<Hash>>,
}

impl Suspect {
    pub fn new(namespace: u32, id: Hash, value: Option<Bson>, folded: Option<Entry>) -> Self {
        Self {
            namespace,
            id,
            value,
            folded,
            passed: Vec::new(),
        }
    }

    /// Whether the topics have the document, or had it meanwhile, as MongoDB does.
    fn is_equal(&self, found: Option<Hash>) -> bool {
        let folded = match &self.folded {
            None => None,
            Some(entry) => match entry.kind {
                Kind::Whole | Kind::Replayed | Kind::Source => Some(entry.content),
                Kind::Gone | Kind::Tombstone => None,
                Kind::Partial => return self.passed.contains(&found),
            },
        };
        folded == found || self.passed.contains(&found)
    }

    fn take(&mut self, entry: Entry) {
        if is_newer(&entry, self.folded.as_ref()) {
            self.folded = Some(entry);
            if self.passed.len() < REMEMBERED {
                match entry.kind {
                    Kind::Partial => {}
                    Kind::Gone | Kind::Tombstone => self.passed.push(None),
                    _ => self.passed.push(Some(entry.content)),
                }
            }
        }
    }
}

/// What a suspect turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Equal,
    Found(Finding),
    Unknown(Unknown),
}

/// As MongoDB has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Document(Hash),
    Unencodable,
}

/// What is needed to look again.
#[derive(Debug)]
pub struct Settling<'a> {
    pub reader: Reader<'a>,
    pub source: &'a Source<'a>,
    pub gate: &'a Gate<'a>,
    pub stream: &'a str,
    pub topics: &'a mut Topics,
    pub names: &'a mut Names,
    pub knowledge: &'a Knowledge,
    /// Where the topics ended when they were read.
    pub from: &'a Offsets,
    /// How long is waited for the stream.
    pub patience: Duration,
    /// Collections that were dropped or renamed meanwhile.
    pub disturbed: HashSet<u32>,
    /// What the reader of the report has to know.
    pub notes: BTreeSet<String>,
}

impl Settling<'_> {
    /// What becomes of these documents.
    ///
    /// # Errors
    /// What MongoDB or Kafka says.
    pub async fn settle(
        &mut self,
        suspects: Vec<Suspect>,
    ) -> Result<Vec<(Suspect, Verdict)>, Error> {
        let end = Instant::now() + self.patience;
        let mut settled = Vec::new();
        let mut open = suspects;
        let mut at = self.from.clone();
        self.catch_up(&mut open, &mut at)?;
        loop {
            let begin = source::now(self.source.client).await?;
            let before: Vec<_> = open.iter().map(|it| it.folded.map(|it| it.seq)).collect();
            let found = self.look(&open, begin).await?;
            // Read before this time.
            let time = source::now(self.source.client).await?;
            let is_all_equal = open
                .iter()
                .zip(&found)
                .all(|(it, found)| self.judge(it, *found) == Verdict::Equal);
            let passed = match is_all_equal {
                true => Passed::Yes,
                false => self.gate.wait(time, end).await?,
            };
            if passed == Passed::NoCheckpoint {
                tokio::time::sleep(REST.min(self.patience)).await;
                self.notes.insert(
                    "no checkpoint of the stream can be seen from here: what stayed different for 30 s counts as \
                     different"
                        .into(),
                );
            }
            self.catch_up(&mut open, &mut at)?;
            let is_late = Instant::now() >= end;
            let mut still = Vec::new();
            for ((suspect, before), found) in open.into_iter().zip(before).zip(found) {
                let has_changed = suspect.folded.map(|it| it.seq) != before;
                match self.judge(&suspect, found) {
                    Verdict::Found(_) if matches!(passed, Passed::No(_)) => {
                        settled.push((suspect, Verdict::Unknown(Unknown::Unsettled)));
                    }
                    Verdict::Found(_) if has_changed && is_late => {
                        settled.push((suspect, Verdict::Unknown(Unknown::Unsettled)));
                    }
                    Verdict::Found(_) if has_changed => still.push(suspect),
                    verdict => settled.push((suspect, verdict)),
                }
            }
            if let Passed::No(stands) = passed {
                self.notes.insert(behind(stands));
            }
            if still.is_empty() {
                return Ok(settled);
            }
            open = still;
        }
    }

    /// Takes what was written to the topics since.
    fn catch_up(&mut self, open: &mut [Suspect], at: &mut Offsets) -> Result<(), Error> {
        let places = open.iter().enumerate();
        let places: HashMap<(u32, Hash), usize> = places
            .map(|(index, it)| ((it.namespace, it.id), index))
            .collect();
        block_in_place(|| {
            for (topic, partitions) in self.reader.topics(|name| self.topics.are_meant(name))? {
                for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
                    let topic = topic.clone();
                    at.entry(Place { topic, partition }).or_insert(0);
                }
            }
            let (reader, stream) = (self.reader, self.stream);
            let ends = reader.read_to_ends(at, |message| {
                match record::read(message, stream) {
                    Read::Document(change) => {
                        let Some(namespace) = self.names.number(change.namespace) else {
                            return Ok(());
                        };
                        if let Some(index) = places.get(&(namespace, change.id)) {
                            let topic = self.topics.number(message.topic());
                            open[*index].take(change.entry(namespace, topic, message));
                        }
                    }
                    Read::Definition { definition, .. } => self.disturb(&definition),
                    Read::Gap | Read::Nothing | Read::OfAnotherStream | Read::Foreign => {}
                }
                Ok(())
            })?;
            *at = ends;
            Ok(())
        })
    }

    fn disturb(&mut self, definition: &Definition) {
        let mut names = Vec::new();
        match definition {
            Definition::Drop(name) => names.extend(self.names.number_of(name)),
            Definition::Rename(from, to) => {
                names.extend(self.names.number_of(from));
                names.extend(self.names.number_of(to));
            }
            Definition::DropDatabase(database) => {
                let all = self.names.numbers();
                names.extend(all.filter(|it| self.names.get(*it).database == *database));
            }
            Definition::Create(_) => {}
        }
        self.disturbed.extend(names);
    }

    /// The documents as MongoDB has them at `time` or later.
    async fn look(
        &self,
        open: &[Suspect],
        time: crate::change::position::ClusterTime,
    ) -> Result<Vec<Found>, Error> {
        let mut by_namespace: BTreeMap<u32, Vec<Bson>> = BTreeMap::new();
        for suspect in open {
            let ids = by_namespace.entry(suspect.namespace).or_default();
            ids.extend(suspect.value.clone());
        }
        let mut documents = HashMap::new();
        for (number, ids) in by_namespace {
            let of: Namespace = self.names.get(number).clone();
            let mut encoder = self.source.encoder(&of);
            self.source
                .by_ids(&of, &ids, time, |document| {
                    let hashes = encoder.hashes(document);
                    match (hashes, encoder.id(document)) {
                        (Some((id, content)), _) => {
                            documents.insert((number, id), Found::Document(content));
                        }
                        (None, Some(id)) => {
                            documents.insert((number, id), Found::Unencodable);
                        }
                        (None, None) => {}
                    }
                })
                .await?;
        }
        let found = |it: &Suspect| documents.get(&(it.namespace, it.id)).copied();
        Ok(open
            .iter()
            .map(|it| found(it).unwrap_or(Found::Nothing))
            .collect())
    }

    fn judge(&self, suspect: &Suspect, found: Found) -> Verdict {
        let namespace = suspect.namespace;
        if suspect.value.is_none() {
            return Verdict::Unknown(Unknown::KeyUnreadable);
        }
        let content = match found {
            Found::Unencodable => return Verdict::Unknown(Unknown::NotEncodable),
            Found::Nothing => None,
            Found::Document(content) => Some(content),
        };
        if suspect.is_equal(content) {
            return Verdict::Equal;
        }
        if self.disturbed.contains(&namespace) {
            return Verdict::Unknown(Unknown::Disturbed);
        }
        let knowledge = self.knowledge;
        let (why, finding) = match (&suspect.folded, content) {
            (None, _) => {
                let id = suspect.value.as_ref();
                let why = knowledge.without_record(self.names, namespace, id);
                (why, Finding::Missing)
            }
            (Some(folded), None) => (knowledge.absent(namespace, folded), Finding::Extra),
            (Some(folded), Some(_)) => match folded.kind {
                Kind::Gone | Kind::Tombstone => {
                    (knowledge.deleted(namespace, folded), Finding::Missing)
                }
                _ => (knowledge.other(namespace, folded), Finding::Different),
            },
        };
        why.map_or(Verdict::Found(finding), Verdict::Unknown)
    }
}

fn behind(stands: Option<i64>) -> String {
    let stands = stands.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    let stands = stands.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string());
    format!(
        "the stream stands at {stands} and did not get as far as MongoDB in time: does it run? What differs may still \
         be on its way (--wait)"
    )
}

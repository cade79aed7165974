//! The listeners of a checkpoint in Kafka: a record for each, beside that of the position and in the same
//! transaction. A change of one writes one; a thousand of them are never in one record, which might be too large.
//!
//! The position's own record says how many there are, and of which *generation*. A generation begins where all are
//! written anew, since what is stored is not known. So what an older one has left behind on the partition is never
//! taken for a listener.

use crate::change::extended_json::Extended;
use crate::change::extra::Extra;
use crate::checkpoint::Record;
use crate::error::{Code, Error};
use bson::{Bson, Document, doc};
use std::collections::BTreeMap;

/// What stands between the stream's id and a listener's in a key: a stream's id holds no space.
const SEPARATOR: &str = " listener ";

const COUNT: &str = "count";
const GENERATION: &str = "generation";
const SET: &str = "set";

/// A key of the topic, and what it holds from now on: none is a tombstone.
pub(super) type Entry = (Vec<u8>, Option<Vec<u8>>);

/// The listeners that are known to be stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    generation: String,
    extra: Extra,
}

impl Stored {
    /// What a record that was read holds.
    pub(super) fn of(record: Option<&Record>) -> Option<Self> {
        let extra = &record?.position.as_ref()?.extra;
        let part = extra.get(Extra::LISTENERS)?.as_document()?;
        Some(Self {
            generation: part.get_str(GENERATION).ok()?.to_owned(),
            extra: extra.clone(),
        })
    }
}

/// What is to be written for a record: the entries of listeners that are not stored as they are, and the record
/// without them.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) record: Record,
    pub(super) entries: Vec<Entry>,
    /// What is stored once that is written.
    pub(super) stored: Option<Stored>,
}

/// Splits the listeners off a record.
pub(super) fn pack(record: &Record, stored: Option<&Stored>) -> Packed {
    let extra = record.position.as_ref().map(|position| &position.extra);
    let part = extra.and_then(|extra| extra.get(Extra::LISTENERS)?.as_document());
    let stream = record.stream.as_str();
    let known = stored.map(|stored| documents(stream, &stored.extra));
    let Some((extra, part)) = extra.zip(part) else {
        // Of a stream without listeners nothing is left.
        let left = known.into_iter().flatten();
        return Packed {
            record: record.clone(),
            entries: left.map(|(key, _)| (key, None)).collect(),
            stored: None,
        };
    };
    let generation = match stored {
        Some(stored) => stored.generation.clone(),
        None => format!("{:x}", crate::change::position::Seq::renewed(None).0),
    };
    let is_stored = stored.is_some_and(|stored| stored.extra.is_but_for_snapshot(extra));
    let entries = match is_stored {
        true => Vec::new(),
        false => entries(&generation, &documents(stream, extra), known),
    };
    let mut manifest = Document::new();
    manifest.extend(
        part.iter()
            .filter(|(name, _)| *name != SET)
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let count = part.get_array(SET).map_or(0, Vec::len);
    manifest.insert(COUNT, i64::try_from(count).unwrap_or(i64::MAX));
    manifest.insert(GENERATION, &generation);
    let mut record = record.clone();
    if let Some(position) = &mut record.position {
        position.extra = extra.with(Extra::LISTENERS, Some(manifest.into()));
    }
    Packed {
        record,
        entries,
        stored: Some(Stored {
            generation,
            extra: extra.clone(),
        }),
    }
}

/// Listeners by their keys.
fn documents<'a>(stream: &str, extra: &'a Extra) -> BTreeMap<Vec<u8>, &'a Document> {
    let part = extra.get(Extra::LISTENERS).and_then(Bson::as_document);
    let set = part.and_then(|part| part.get_array(SET).ok());
    let documents = set.into_iter().flatten().filter_map(Bson::as_document);
    let key = |document: &'a Document| {
        let id = document.get("_id").cloned().unwrap_or(Bson::Null);
        let key = format!("{stream}{SEPARATOR}{}", Extended::canonical(&id).line());
        (key.into_bytes(), document)
    };
    documents.map(key).collect()
}

fn entries(
    generation: &str,
    wanted: &BTreeMap<Vec<u8>, &Document>,
    known: Option<BTreeMap<Vec<u8>, &Document>>,
) -> Vec<Entry> {
    let known = known.unwrap_or_default();
    let gone = known.keys().filter(|key| !wanted.contains_key(*key));
    let mut entries: Vec<Entry> = gone.map(|key| (key.clone(), None)).collect();
    for (key, document) in wanted {
        // As bytes: documents are equal in whatever order their fields are, and filters are not.
        let bytes = |document: &Document| document.to_vec().ok();
        if known.get(key).map(|known| bytes(known)) != Some(bytes(document)) {
            let value = doc! {GENERATION: generation, "listener": (*document).clone()};
            let value = Extended::canonical(&value.into()).line();
            entries.push((key.clone(), Some(value.into_bytes())));
        }
    }
    entries
}

/// Whether a key is that of a stream, or of one of its listeners.
pub(super) fn is_of(stream: &str, key: &[u8]) -> bool {
    match key.strip_prefix(stream.as_bytes()) {
        Some(rest) => rest.is_empty() || rest.starts_with(SEPARATOR.as_bytes()),
        None => false,
    }
}

/// Makes a record one whose listeners are not stored where it goes.
pub(super) fn forget_generation(record: &mut Record) {
    if let Some(position) = &mut record.position
        && let Some(Bson::Document(part)) = position.extra.get(Extra::LISTENERS)
    {
        let mut part = part.clone();
        part.remove(GENERATION);
        position.extra = position.extra.with(Extra::LISTENERS, Some(part.into()));
    }
}

/// Whether a key is that of a listener, of whichever stream.
pub(super) fn is_of_listener(key: &[u8]) -> bool {
    let separator = SEPARATOR.as_bytes();
    key.windows(separator.len()).any(|part| part == separator)
}

/// Gathers the listeners of one record, from the newest of the topic's records to the oldest.
#[derive(Debug)]
pub(super) struct Gathering {
    prefix: Vec<u8>,
    count: usize,
    generation: String,
    /// By key: what it holds, where that is a listener of the generation.
    found: BTreeMap<Vec<u8>, Option<Document>>,
    live: usize,
}

impl Gathering {
    /// For a record that was read; none for one without listeners.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let extra = &record.position.as_ref()?.extra;
        let part = extra.get(Extra::LISTENERS)?.as_document()?;
        Some(Self {
            prefix: format!("{}{SEPARATOR}", record.stream).into_bytes(),
            count: usize::try_from(part.get_i64(COUNT).ok()?).ok()?,
            generation: part.get_str(GENERATION).ok()?.to_owned(),
            found: BTreeMap::new(),
            live: 0,
        })
    }

    /// Whether all are there.
    pub(super) fn is_complete(&self) -> bool {
        self.live >= self.count
    }

    /// Takes the newest value of a key, unless a newer one was taken.
    pub(super) fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        if !key.starts_with(&self.prefix) || self.found.contains_key(key) {
            return;
        }
        let listener = value.and_then(|value| self.listener(value));
        self.live += usize::from(listener.is_some());
        self.found.insert(key.to_vec(), listener);
    }

    fn listener(&self, value: &[u8]) -> Option<Document> {
        let Ok(Bson::Document(mut entry)) = serde_json::from_slice(value) else {
            return None;
        };
        let is_of_it = entry.get_str(GENERATION).ok() == Some(&self.generation);
        match entry.remove("listener") {
            Some(Bson::Document(listener)) if is_of_it => Some(listener),
            _ => None,
        }
    }

    /// Puts the listeners into their record.
    ///
    /// # Errors
    /// [`Code::CheckpointFailed`] where some are missing. `place` says where, for the sentence.
    pub(super) fn finish(self, record: &mut Record, place: &str) -> Result<(), Error> {
        if self.live != self.count {
            return Err(Error::new(
                Code::CheckpointFailed,
                format!(
                    "the checkpoint in {place} has {} listeners, and {} of them are there: somebody has removed \
                     records; restore them, or remove the checkpoint to make this a first start",
                    self.count, self.live
                ),
            ));
        }
        if let Some(position) = &mut record.position
            && let Some(Bson::Document(part)) = position.extra.get(Extra::LISTENERS)
        {
            let mut part = part.clone();
            part.remove(COUNT);
            let set = self.found.into_values().flatten().map(Bson::from);
            part.insert(SET, set.collect::<Vec<_>>());
            position.extra = position.extra.with(Extra::LISTENERS, Some(part.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
